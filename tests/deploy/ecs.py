"""The task definitions and policies: ECS' and IAM's rules as moto and botocore know them, kinetail's settings, and whether PutRecords suffices."""

import difflib
import json
import urllib.request

import boto3
from botocore.config import Config

from common import DEPLOY, REGION, Failed, Process, check_config, clean_environment, free_port, wait_for

ECS = DEPLOY / "ecs"
# How far a task definition of Fluent Bit's may be from one of kinetail's: changed lines.
MAX_CHANGED_LINES = 5
# What the ECS agent generates for Fluent Bit, in short.
GENERATED = "[INPUT]\n    Name forward\n    unix_path /var/run/fluent.sock\n[OUTPUT]\n    Name kinesis_streams\n    Match web-firelens*\n    region eu-west-1\n    stream service-logs\n"


def moto(tools, name):
    port = free_port()
    return Process([tools.need("moto_server"), "-H", "127.0.0.1", "-p", port], tools.folder(name) / "moto.log", port)


def client(server, service, **more):
    options = {"aws_access_key_id": "any", "aws_secret_access_key": "any", **more}
    return boto3.client(service, endpoint_url=f"http://127.0.0.1:{server.port}", region_name=REGION, config=Config(retries={"max_attempts": 1}), **options)


def task_definitions(tools):
    files = sorted(ECS.glob("*/*.json"))
    files = [f for f in files if f.parent.name != "iam"]
    if len(files) != 8:
        raise Failed(f"{len(files)} task definitions, not 8")
    with moto(tools, "ecs") as server:
        ecs = client(server, "ecs")
        for file in files:
            definition = json.loads(file.read_text())
            taken = ecs.register_task_definition(**definition)["taskDefinition"]
            if taken["containerDefinitions"][0]["image"] != definition["containerDefinitions"][0]["image"]:
                raise Failed(f"{file}: registered as something else")
            check_definition(tools, f"{file.parent.name}/{file.name}", definition)
    changed_lines()


def changed_lines():
    before, after = ((ECS / "firelens" / f).read_text().splitlines() for f in ("aws-for-fluent-bit.json", "fargate.json"))
    changed = [line for line in difflib.ndiff(before, after) if line[:2] in ("- ", "+ ")]
    if not 0 < len(changed) <= MAX_CHANGED_LINES:
        raise Failed(f"{len(changed)} lines between Fluent Bit's task definition and kinetail's:\n" + "\n".join(changed))


def check_definition(tools, name, definition):
    containers = {c["name"]: c for c in definition["containerDefinitions"]}
    volumes = {v["name"] for v in definition.get("volumes", [])}
    mounted = {m["sourceVolume"] for c in containers.values() for m in c.get("mountPoints", [])}
    if volumes != mounted:
        raise Failed(f"{name}: volumes that are mounted or declared, but not both: {volumes ^ mounted}")
    fargate = definition["requiresCompatibilities"] == ["FARGATE"]
    if fargate and not {"cpu", "memory"} <= definition.keys():
        raise Failed(f"{name}: Fargate needs cpu and memory of the task")
    for c in containers.values():
        if not c["essential"] or c.get("stopTimeout", 30) > 120 or (not fargate and "memory" not in c):
            raise Failed(f"{name}/{c['name']}: essential, stopTimeout or memory is wrong")
        if unknown := {d["containerName"] for d in c.get("dependsOn", [])} - containers.keys():
            raise Failed(f"{name}/{c['name']} depends on {unknown}")
        if "kinetail:" in c["image"] or c.get("entryPoint", [""])[0] == "kinetail":
            check_agent(tools, f"{name}/{c['name']}", c)


def check_agent(tools, name, c):
    env = {e["name"]: e["value"] for e in c.get("environment", []) if e["name"].startswith("KINETAIL_")}
    if c["logConfiguration"]["logDriver"] == "awsfirelens":
        raise Failed(f"{name}: its own messages would go through itself")
    if "firelensConfiguration" in c:
        file = tools.folder("firelens") / "fluent-bit.conf"
        file.write_text(GENERATED)
        env["KINETAIL_FIRELENS"] = str(file)
    elif "entryPoint" in c:
        env["KINETAIL_PATHS"] = "-"
    # What ECS sets in every container.
    check_config(tools, name, env=env | {"ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/x"})


def policies(tools):
    """That AWS takes them for policies, and that the agent delivers with PutRecords alone, where signatures and actions are enforced."""
    with moto(tools, "iam") as server:
        iam = client(server, "iam")
        role = iam.create_role(RoleName="web-logs", AssumeRolePolicyDocument=(ECS / "iam/task-trust.json").read_text())["Role"]["RoleName"]
        for name in ("agent", "agent-full"):
            document = (ECS / f"iam/{name}.json").read_text()
            arn = iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
            iam.attach_role_policy(RoleName=role, PolicyArn=arn)
            wide = [s for s in json.loads(document)["Statement"] if "*" in json.dumps([s["Action"], s["Resource"]])]
            if wide:
                raise Failed(f"{name}.json: wider than it has to be: {wide}")
        deliver(tools, server, iam)


def deliver(tools, server, iam):
    folder = tools.folder("put-records-alone")
    client(server, "kinesis").create_stream(StreamName="service-logs", ShardCount=1)
    document = json.loads((ECS / "iam/agent.json").read_text())
    # moto knows actions, but no resources.
    document["Statement"][0]["Resource"] = "*"
    iam.create_user(UserName="agent")
    iam.put_user_policy(UserName="agent", PolicyName="agent", PolicyDocument=json.dumps(document))
    key = iam.create_access_key(UserName="agent")["AccessKey"]
    iam.create_user(UserName="reader")
    iam.put_user_policy(UserName="reader", PolicyName="all", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}))
    all_ = iam.create_access_key(UserName="reader")["AccessKey"]
    urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{server.port}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"})).read()
    reader = client(server, "kinesis", aws_access_key_id=all_["AccessKeyId"], aws_secret_access_key=all_["SecretAccessKey"])
    shard = reader.list_shards(StreamName="service-logs")["Shards"][0]["ShardId"]
    (folder / "app.log").write_text("one\ntwo\n")
    env = clean_environment(
        AWS_ACCESS_KEY_ID=key["AccessKeyId"], AWS_SECRET_ACCESS_KEY=key["SecretAccessKey"], KINETAIL_STREAM="service-logs", KINETAIL_REGION=REGION,
        KINETAIL_ENDPOINT=f"http://127.0.0.1:{server.port}", KINETAIL_PATHS=folder / "app.log", KINETAIL_STATE_DIR=folder / "state", KINETAIL_ADMIN_LISTEN="off",
    )

    def stored():
        start = reader.get_shard_iterator(StreamName="service-logs", ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        return b"".join(r["Data"] for r in reader.get_records(ShardIterator=start)["Records"])

    with Process([tools.binary, "run"], folder / "agent.log", env=env) as agent:
        wait_for(lambda: agent.alive() and all(w in stored() for w in (b"one", b"two")), "events with PutRecords alone")
        if agent.stop() != 0:
            raise Failed(f"the agent did not stop in order: {(folder / 'agent.log').read_text()[-2000:]}")
