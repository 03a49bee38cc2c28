"""The modules: formatted, valid, tested with a provider that is made up, and the example `minimal` applied to moto twice and destroyed."""

import json
import shutil

from common import DEPLOY, REGION, Failed, Process, clean_environment, free_port, run

EXAMPLES = ("minimal", "complete", "ecs-fargate-firelens", "eks")
# What sends everything to moto; a file of this name is merged into the example's own provider.
OVERRIDE = """
provider "aws" {{
  access_key                  = "any"
  secret_key                  = "any"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  endpoints {{
    kinesis = "{url}"
    iam     = "{url}"
    sts     = "{url}"
  }}
}}
"""


def environment():
    return clean_environment(TF_CLI_CONFIG_FILE="/dev/null", CHECKPOINT_DISABLE="1", TF_IN_AUTOMATION="1")


def init(tools, folder):
    terraform = tools.need("terraform")
    plugins = tools.need("terraform plugins", "no folder with the aws provider; KINETAIL_TF_PLUGINS names one")
    run([terraform, "init", "-input=false", "-no-color", f"-plugin-dir={plugins}"], f"init of {folder.name}", cwd=folder, env=environment())
    return terraform


def copy(tools, name):
    tree = tools.folder(name) / "terraform"
    # Nothing that somebody has applied by hand may come along.
    shutil.copytree(DEPLOY / "terraform", tree, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    return tree / "examples"


def tested(tools):
    run([tools.need("terraform"), "fmt", "-check", "-recursive", DEPLOY / "terraform"], "terraform fmt", env=environment())
    examples = copy(tools, "terraform")
    if {e.name for e in examples.iterdir()} != set(EXAMPLES):
        raise Failed(f"the examples are {sorted(e.name for e in examples.iterdir())}")
    modules = {m.name for m in (examples.parent / "modules").iterdir()}
    used = "".join(f.read_text() for f in examples.glob("*/*.tf"))
    if unused := [m for m in modules if f'"../../modules/{m}"' not in used]:
        raise Failed(f"no example uses {unused}")
    for name in EXAMPLES:
        terraform = init(tools, examples / name)
        for command in ("validate", "test"):
            run([terraform, command, "-no-color"], f"{command} of {name}", cwd=examples / name, env=environment())


def applied(tools):
    folder = copy(tools, "terraform-apply") / "minimal"
    port = free_port()
    (folder / "moto_override.tf").write_text(OVERRIDE.format(url=f"http://127.0.0.1:{port}"))
    terraform = init(tools, folder)

    def do(*command, accept=(0,)):
        return run([terraform, *command, "-no-color"], f"{command[0]} of minimal", accept, cwd=folder, env=environment())

    with Process([tools.need("moto_server"), "-H", "127.0.0.1", "-p", port], folder / "moto.log", port):
        do("apply", "-auto-approve", "-input=false")
        found = {k: v["value"] for k, v in json.loads(do("output", "-json")).items()}
        do("plan", "-detailed-exitcode", "-input=false")
        import boto3

        clients = {s: boto3.client(s, endpoint_url=f"http://127.0.0.1:{port}", region_name=REGION, aws_access_key_id="any", aws_secret_access_key="any") for s in ("kinesis", "iam")}
        stream = clients["kinesis"].describe_stream_summary(StreamName=found["stream"])["StreamDescriptionSummary"]
        if (stream["RetentionPeriodHours"], stream["EncryptionType"], stream["StreamModeDetails"]["StreamMode"]) != (48, "KMS", "ON_DEMAND"):
            raise Failed(f"the stream is {stream}")
        policy = clients["iam"].get_policy_version(PolicyArn=found["policy_arn"], VersionId="v1")["PolicyVersion"]["Document"]
        allowed = {s["Sid"]: (s["Action"], s["Resource"]) for s in policy["Statement"]}
        if allowed.pop("Send") != ("kinesis:PutRecords", stream["StreamARN"]) or {r for _, r in allowed.values()} != {stream["StreamARN"]}:
            raise Failed(f"the policy is {policy}")
        do("destroy", "-auto-approve", "-input=false")
