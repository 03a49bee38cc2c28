"""The consumers: events that the agent sends to the embedded stream, through a split, read by the Python ones."""

import base64
import importlib.util
import json
import sys

import boto3
from botocore.config import Config

from common import DEPLOY, REGION, Failed, Process, clean_environment, free_port, run, wait_for

CONSUMERS = DEPLOY / "consumers"
STREAM = "service-logs"
EVENTS = 400


def check(tools):
    folder, port = tools.folder("consumers"), free_port()
    endpoint = f"http://127.0.0.1:{port}"
    log = folder / "app.log"
    server = [tools.binary, "local", "--listen", f"127.0.0.1:{port}", "--stream", f"{STREAM}:2"]
    env = clean_environment(
        KINETAIL_STREAM=STREAM, KINETAIL_REGION=REGION, KINETAIL_ENDPOINT=endpoint, KINETAIL_PATHS=log, KINETAIL_PARSE="json", KINETAIL_STATE_DIR=folder / "state",
        KINETAIL_ADMIN_LISTEN="off",
    )
    kinesis = boto3.client(
        "kinesis", endpoint_url=endpoint, region_name=REGION, aws_access_key_id="any", aws_secret_access_key="any", config=Config(retries={"max_attempts": 3})
    )

    def write(numbers):
        with log.open("a") as f:
            f.writelines(json.dumps({"n": n, "level": "error" if n % 10 == 0 else "info"}) + "\n" for n in numbers)

    def consume():
        said = run([sys.executable, CONSUMERS / "consumer.py", "--stream", STREAM, "--region", REGION, "--endpoint", endpoint, "--from-start", "--until-caught-up"], "consumer.py")
        return [json.loads(line)["n"] for line in said.splitlines()]

    with Process(server, folder / "local.log", port):
        with Process([tools.binary, "run"], folder / "agent.log", env=env) as agent:
            write(range(EVENTS // 2))
            wait_for(lambda: agent.alive() and len(consume()) >= EVENTS // 2, "the first half")
            parent = kinesis.list_shards(StreamName=STREAM)["Shards"][0]
            middle = (int(parent["HashKeyRange"]["StartingHashKey"]) + int(parent["HashKeyRange"]["EndingHashKey"])) // 2
            kinesis.split_shard(StreamName=STREAM, ShardToSplit=parent["ShardId"], NewStartingHashKey=str(middle))
            wait_for(lambda: kinesis.describe_stream_summary(StreamName=STREAM)["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE", "the split")
            write(range(EVENTS // 2, EVENTS))
            wait_for(lambda: agent.alive() and len(consume()) >= EVENTS, "the second half, from the shards after the split")
            if agent.stop() != 0:
                raise Failed("the agent did not stop in order")
        if sorted(consume()) != list(range(EVENTS)):
            raise Failed("consumer.py does not give every event once")
        function(batches(kinesis))


def batches(kinesis):
    """Records as an event source mapping hands them over, by shard."""
    found = []
    for shard in kinesis.list_shards(StreamName=STREAM)["Shards"]:
        iterator = kinesis.get_shard_iterator(StreamName=STREAM, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        records = kinesis.get_records(ShardIterator=iterator)["Records"]
        form = [
            {
                "eventSource": "aws:kinesis", "eventID": f"{shard['ShardId']}:{r['SequenceNumber']}", "eventVersion": "1.0",
                "kinesis": {
                    "data": base64.b64encode(r["Data"]).decode(), "partitionKey": r["PartitionKey"], "sequenceNumber": r["SequenceNumber"],
                    "approximateArrivalTimestamp": r["ApproximateArrivalTimestamp"].timestamp(), "kinesisSchemaVersion": "1.0",
                },
            }
            for r in records
        ]
        if form:
            found.append({"Records": form})
    if not found or sum(len(b["Records"]) for b in found) >= EVENTS:
        raise Failed("there are no aggregates, so that nothing of de-aggregation would be tested")
    return found


def function(found):
    spec = importlib.util.spec_from_file_location("function", CONSUMERS / "lambda/function.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.log.disabled = True
    seen = []
    module.handle = lambda event: seen.append(event["n"])
    for batch in found:
        if module.handler(batch, None) != {"batchItemFailures": []}:
            raise Failed("the function fails without a reason")
    if sorted(seen) != list(range(EVENTS)):
        raise Failed("the function does not get every event once")

    # All batches as one, of which the event in the middle fails once: what is reported is its record, and nothing after it was begun.
    whole = {"Records": [r for batch in found for r in batch["Records"]]}
    order, bad = list(seen), seen[len(seen) // 2]
    seen.clear()

    def fails(event):
        if event["n"] == bad:
            raise ValueError("on purpose")
        seen.append(event["n"])

    module.handle = fails
    reported = module.handler(whole, None)["batchItemFailures"]
    if len(reported) != 1 or seen != order[: order.index(bad)]:
        raise Failed(f"after a failure it went on, or reported {reported}")
    numbers = [r["kinesis"]["sequenceNumber"] for r in whole["Records"]]
    rest = whole["Records"][numbers.index(reported[0]["itemIdentifier"]) :]
    module.handle = lambda event: seen.append(event["n"])
    if module.handler({"Records": rest}, None) != {"batchItemFailures": []} or set(seen) != set(order):
        raise Failed("repeated from what was reported, events are missing")

    other = base64.b64encode(b"not json\n{\"n\": 1}\n").decode()
    seen.clear()
    module.handle = seen.append
    module.handler({"Records": [{"kinesis": {"data": other, "sequenceNumber": "1", "partitionKey": "k"}}]}, None)
    if seen != [{"message": "not json"}, {"n": 1}]:
        raise Failed(f"lines of a record are {seen}")
