"""Checks the embedded stream with clients that others wrote: boto3 and the AWS CLI, every operation with both.

    local_boto3.py ENDPOINT

It wants a stand-in with the service's limits (no --no-limits), boto3 in its own Python, and `aws` beside that or in PATH.
It makes its own streams and deletes them, and leaves the fault plan empty. The last line says "N passed, M failed".
"""

import datetime
import hashlib
import json
import os
import shutil
import subprocess
import sys
import traceback
import urllib.error
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError, ReadTimeoutError

REGION = "us-east-1"
ACCOUNT = "000000000000"
TOP = 2**128
FIRST = "shardId-000000000000"
MIB = 1024 * 1024

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_PAGER": "",
    "NO_PROXY": "127.0.0.1,localhost,::1",
    "no_proxy": "127.0.0.1,localhost,::1",
}

CHECKS = []


def check(function):
    """Registers a check; its docstring is what is printed."""
    CHECKS.append(function)
    return function


class Local:
    """The stand-in, as boto3, as the AWS CLI, and its control endpoint."""

    def __init__(self, endpoint):
        self.endpoint = endpoint
        config = Config(retries={"total_max_attempts": 1}, read_timeout=60, connect_timeout=60)
        self.boto3 = boto3.client("kinesis", endpoint_url=endpoint, region_name=REGION, config=config)
        beside = os.path.join(os.path.dirname(sys.executable), "aws")
        self.aws = beside if os.path.exists(beside) else shutil.which("aws")
        self.streams = 0

    def name(self):
        self.streams += 1
        return f"interop-{os.getpid()}-{self.streams}"

    def stream(self, shards=1):
        """A new stream."""
        name = self.name()
        self.boto3.create_stream(StreamName=name, ShardCount=shards)
        return name

    def cli(self, operation, *arguments, fails=None):
        """What the AWS CLI prints, as an object; or, if it shall fail, its message."""
        command = [self.aws, "kinesis", operation, *arguments, "--endpoint-url", self.endpoint, "--output", "json"]
        done = subprocess.run(command, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, timeout=120)
        if fails:
            assert done.returncode != 0 and f"({fails})" in done.stderr, (done.returncode, done.stdout, done.stderr)
            return done.stderr
        assert done.returncode == 0, (command, done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else None

    def control(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.endpoint}/_kinetail/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def read(self, name, shard, kind="TRIM_HORIZON", **more):
        """All records from an iterator to the end of what is there now."""
        iterator = self.boto3.get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType=kind, **more)
        token, records = iterator["ShardIterator"], []
        while token:
            answer = self.boto3.get_records(ShardIterator=token)
            records += answer["Records"]
            if not answer["Records"]:
                break
            token = answer.get("NextShardIterator")
        return records

    def read_all(self, name):
        shards = self.boto3.list_shards(StreamName=name)["Shards"]
        return [record for shard in shards for record in self.read(name, shard["ShardId"])]


def refused(code, call, **arguments):
    """Calls, and expects that code. Returns the message."""
    try:
        answer = call(**arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return error.response["Error"]["Message"]
    raise AssertionError(f"{code} expected, got {answer}")


def same(got, expected):
    assert got == expected, f"got {got!r}, expected {expected!r}"


def hash_key(key):
    return int.from_bytes(hashlib.md5(key.encode()).digest(), "big")


def span(shard):
    return int(shard["HashKeyRange"]["StartingHashKey"]), int(shard["HashKeyRange"]["EndingHashKey"])


def is_open(shard):
    return "EndingSequenceNumber" not in shard["SequenceNumberRange"]


def arn(name):
    return f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{name}"


# boto3


@check
def streams(local):
    """CreateStream, ListStreams, DescribeStream, DescribeStreamSummary, DeleteStream; the waiters"""
    name = local.stream(3)
    local.boto3.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    description = local.boto3.describe_stream(StreamName=name)["StreamDescription"]
    same((description["StreamStatus"], description["StreamARN"]), ("ACTIVE", arn(name)))
    same([shard["ShardId"] for shard in description["Shards"]], [f"shardId-{n:012}" for n in range(3)])
    summary = local.boto3.describe_stream_summary(StreamARN=arn(name))["StreamDescriptionSummary"]
    same((summary["OpenShardCount"], summary["RetentionPeriodHours"], summary["MaxRecordSizeInKiB"]), (3, 24, 1024))
    same(summary["StreamModeDetails"], {"StreamMode": "PROVISIONED"})
    age = datetime.datetime.now(datetime.timezone.utc) - summary["StreamCreationTimestamp"]
    assert abs(age) < datetime.timedelta(minutes=5), age
    assert name in local.boto3.list_streams()["StreamNames"]
    refused("ResourceInUseException", local.boto3.create_stream, StreamName=name, ShardCount=1)
    local.boto3.delete_stream(StreamName=name, EnforceConsumerDeletion=True)
    local.boto3.get_waiter("stream_not_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
    refused("ResourceNotFoundException", local.boto3.describe_stream, StreamName=name)


@check
def pages(local):
    """ListStreams and DescribeStream page through boto3's paginators; ListShards by NextToken"""
    names = sorted(local.stream(7) for _ in range(3))
    listed = local.boto3.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 2})
    found = [name for page in listed for name in page["StreamNames"] if name in names]
    same(found, names)
    described = local.boto3.get_paginator("describe_stream").paginate(
        StreamName=names[0], PaginationConfig={"PageSize": 3}
    )
    same(sum(len(page["StreamDescription"]["Shards"]) for page in described), 7)
    page = local.boto3.list_shards(StreamName=names[0], MaxResults=3)
    shards = page["Shards"]
    while "NextToken" in page:
        page = local.boto3.list_shards(NextToken=page["NextToken"], MaxResults=3)
        shards += page["Shards"]
    same([shard["ShardId"] for shard in shards], [f"shardId-{n:012}" for n in range(7)])
    page = local.boto3.list_shards(StreamName=names[0], MaxResults=3)
    both = {"StreamName": names[0], "NextToken": page["NextToken"]}
    refused("InvalidArgumentException", local.boto3.list_shards, **both)


@check
def routing(local):
    """PutRecords routes by the MD5 of UTF-8 keys, over real ranges"""
    name = local.stream(5)
    shards = {shard["ShardId"]: span(shard) for shard in local.boto3.list_shards(StreamName=name)["Shards"]}
    keys = [f"ключ-{n}" for n in range(300)]
    records = [{"Data": key.encode(), "PartitionKey": key} for key in keys]
    answer = local.boto3.put_records(StreamName=name, Records=records)
    same(answer["FailedRecordCount"], 0)
    for key, record in zip(keys, answer["Records"], strict=True):
        start, end = shards[record["ShardId"]]
        assert start <= hash_key(key) <= end, key
    same(sorted(record["Data"].decode() for record in local.read_all(name)), sorted(keys))


@check
def explicit_hash_keys(local):
    """explicit hash keys hit both ends of every range"""
    name = local.stream(3)
    for shard in local.boto3.list_shards(StreamName=name)["Shards"]:
        for key in span(shard):
            put = local.boto3.put_record(StreamName=name, Data=b"x", PartitionKey="p", ExplicitHashKey=str(key))
            same(put["ShardId"], shard["ShardId"])
    put = {"StreamName": name, "Data": b"x", "PartitionKey": "p"}
    refused("InvalidArgumentException", local.boto3.put_record, **put, ExplicitHashKey=str(TOP))
    refused("ValidationException", local.boto3.put_record, **put, ExplicitHashKey="-1")


@check
def sequence_numbers(local):
    """sequence numbers have 56 digits and grow, also from a parent to its children; times have milliseconds"""
    name = local.stream()
    before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(milliseconds=2)
    put = [local.boto3.put_record(StreamName=name, Data=b"", PartitionKey="k")["SequenceNumber"] for _ in range(20)]
    local.boto3.split_shard(StreamName=name, ShardToSplit=FIRST, NewStartingHashKey=str(TOP // 2))
    put.append(local.boto3.put_record(StreamName=name, Data=b"", PartitionKey="k")["SequenceNumber"])
    assert all(len(number) == 56 for number in put), put
    same(put, sorted(set(put), key=int))
    records = local.read(name, FIRST)
    same([record["SequenceNumber"] for record in records], put[:-1])
    same([record["Data"] for record in records], [b""] * 20)
    for record in records:
        arrival = record["ApproximateArrivalTimestamp"]
        assert before <= arrival <= datetime.datetime.now(datetime.timezone.utc), (before, arrival)
        same(arrival.microsecond % 1000, 0)


@check
def iterators(local):
    """GetShardIterator: all five kinds; GetRecords: Limit, MillisBehindLatest"""
    name = local.stream()
    records = [{"Data": data, "PartitionKey": "k"} for data in (b"a", b"b", b"c")]
    numbers = [r["SequenceNumber"] for r in local.boto3.put_records(StreamName=name, Records=records)["Records"]]
    read = lambda *arguments, **more: b"".join(record["Data"] for record in local.read(name, FIRST, *arguments, **more))
    same(read("TRIM_HORIZON"), b"abc")
    same(read("LATEST"), b"")
    same(read("AT_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[1]), b"bc")
    same(read("AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=numbers[1]), b"c")
    same(read("AT_TIMESTAMP", Timestamp=datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)), b"abc")
    latest = local.boto3.get_shard_iterator(StreamName=name, ShardId=FIRST, ShardIteratorType="LATEST")
    local.boto3.put_record(StreamName=name, Data=b"d", PartitionKey="k")
    answer = local.boto3.get_records(ShardIterator=latest["ShardIterator"])
    same([record["Data"] for record in answer["Records"]], [b"d"])
    same(answer["MillisBehindLatest"], 0)
    trim = local.boto3.get_shard_iterator(StreamName=name, ShardId=FIRST, ShardIteratorType="TRIM_HORIZON")
    answer = local.boto3.get_records(ShardIterator=trim["ShardIterator"], Limit=2)
    same([record["Data"] for record in answer["Records"]], [b"a", b"b"])
    future = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    iterator = {"StreamName": name, "ShardId": FIRST}
    get = local.boto3.get_shard_iterator
    refused("InvalidArgumentException", get, **iterator, ShardIteratorType="AT_TIMESTAMP", Timestamp=future)
    refused("InvalidArgumentException", get, **iterator, ShardIteratorType="AT_SEQUENCE_NUMBER")
    refused("ValidationException", get, **iterator, ShardIteratorType="NEWEST")
    iterator["ShardId"] = "shardId-000000000009"
    refused("ResourceNotFoundException", get, **iterator, ShardIteratorType="LATEST")
    refused("InvalidArgumentException", local.boto3.get_records, ShardIterator="forged")


@check
def resharding(local):
    """SplitShard, MergeShards: a reader follows parents to children, as the KCL does; puts go to the children only"""
    name = local.stream()
    expected = set()

    def put(count):
        for _ in range(count):
            data = str(len(expected)).encode()
            expected.add(data)
            shard = local.boto3.put_record(StreamName=name, Data=data, PartitionKey=data.decode())["ShardId"]
            now = [shard["ShardId"] for shard in local.boto3.list_shards(StreamName=name)["Shards"] if is_open(shard)]
            assert shard in now, (shard, now)

    put(5)
    split = {"StreamName": name, "ShardToSplit": FIRST}
    local.boto3.split_shard(**split, NewStartingHashKey=str(TOP // 3))
    put(10)
    refused("InvalidArgumentException", local.boto3.split_shard, **split, NewStartingHashKey=str(TOP // 4))
    merge = {"ShardToMerge": "shardId-000000000001", "AdjacentShardToMerge": "shardId-000000000002"}
    local.boto3.merge_shards(StreamName=name, **merge)
    put(5)
    refused("InvalidArgumentException", local.boto3.merge_shards, StreamName=name, **merge)
    # Breadth first from the oldest shard, by nothing but ChildShards.
    seen, queue, shards = set(), [FIRST], []
    while queue:
        shard = queue.pop(0)
        if shard in shards:
            continue
        shards.append(shard)
        iterator = local.boto3.get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
        token = iterator["ShardIterator"]
        while token:
            answer = local.boto3.get_records(ShardIterator=token, Limit=3)
            seen |= {record["Data"] for record in answer["Records"]}
            token = answer.get("NextShardIterator")
            if token is None:
                queue += [child["ShardId"] for child in answer["ChildShards"]]
            elif not answer["Records"]:
                break
    same(seen, expected)
    same(shards, [f"shardId-{n:012}" for n in range(4)])
    last = local.boto3.list_shards(StreamName=name)["Shards"][3]
    same((last["ParentShardId"], last["AdjacentParentShardId"]), (merge["ShardToMerge"], merge["AdjacentShardToMerge"]))
    same(span(last), (0, TOP - 1))


@check
def shard_counts(local):
    """UpdateShardCount ends with equal ranges that cover everything; ShardFilter finds the open and the old"""
    name = local.stream(2)
    for target in (4, 3, 5, 3):
        answer = local.boto3.update_shard_count(
            StreamName=name, TargetShardCount=target, ScalingType="UNIFORM_SCALING"
        )
        same((answer["TargetShardCount"], answer["StreamARN"]), (target, arn(name)))
        filtered = local.boto3.list_shards(StreamName=name, ShardFilter={"Type": "AT_LATEST"})["Shards"]
        ranges = sorted(span(shard) for shard in filtered)
        same(len(ranges), target)
        same((ranges[0][0], ranges[-1][1]), (0, TOP - 1))
        assert all(left[1] + 1 == right[0] for left, right in zip(ranges, ranges[1:])), ranges
        same([start for start, _ in ranges], [TOP // target * n for n in range(target)])
    every = local.boto3.list_shards(StreamName=name)["Shards"]
    listed = lambda **given: local.boto3.list_shards(StreamName=name, ShardFilter=given)["Shards"]
    same(listed(Type="FROM_TRIM_HORIZON"), every)
    same([shard["ShardId"] for shard in listed(Type="AT_TRIM_HORIZON")], [FIRST, "shardId-000000000001"])
    same(listed(Type="AFTER_SHARD_ID", ShardId=FIRST), every[1:])
    year = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    same(listed(Type="FROM_TIMESTAMP", Timestamp=year), every)
    same(listed(Type="AT_TIMESTAMP", Timestamp=year), every[:2])
    much = {"StreamName": name, "TargetShardCount": 7, "ScalingType": "UNIFORM_SCALING"}
    refused("InvalidArgumentException", local.boto3.update_shard_count, **much)


@check
def settings(local):
    """IncreaseStreamRetentionPeriod, DecreaseStreamRetentionPeriod, UpdateMaxRecordSize"""
    name = local.stream()
    local.boto3.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=72)
    local.boto3.decrease_stream_retention_period(StreamName=name, RetentionPeriodHours=36)
    local.boto3.update_max_record_size(StreamARN=arn(name), MaxRecordSizeInKiB=2048)
    summary = local.boto3.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    same((summary["RetentionPeriodHours"], summary["MaxRecordSizeInKiB"]), (36, 2048))
    longer, shorter = local.boto3.increase_stream_retention_period, local.boto3.decrease_stream_retention_period
    refused("InvalidArgumentException", longer, StreamName=name, RetentionPeriodHours=30)
    refused("InvalidArgumentException", shorter, StreamName=name, RetentionPeriodHours=40)
    refused("InvalidArgumentException", shorter, StreamName=name, RetentionPeriodHours=23)
    # boto3 itself refuses what is below the minimum.
    refused("ValidationException", local.boto3.update_max_record_size, StreamARN=arn(name), MaxRecordSizeInKiB=10241)
    local.boto3.put_record(StreamName=name, Data=b"x" * (2 * MIB - 1), PartitionKey="k")
    refused("ValidationException", local.boto3.put_record, StreamName=name, Data=b"x" * (2 * MIB), PartitionKey="k")


@check
def request_limits(local):
    """500 records and 10 MiB a request, 1 MiB a record with its key; a refused request stores nothing"""
    name = local.stream(16)
    put = lambda records: {"StreamName": name, "Records": records}
    record = lambda size, n=0: {
        "Data": b"x" * (size - 1),
        "PartitionKey": "k",
        "ExplicitHashKey": str(TOP // 16 * n),
    }
    refused("ValidationException", local.boto3.put_records, **put([record(1)] * 501))
    refused("ValidationException", local.boto3.put_records, **put([record(1), record(MIB + 1)]))
    # The last one pushes the request over 10 MiB.
    full = [record(MIB, n) for n in range(10)]
    refused("InvalidArgumentException", local.boto3.put_records, **put([*full, record(1, 11)]))
    long_key = {"Data": b"", "PartitionKey": "k" * 257}
    refused("ValidationException", local.boto3.put_records, **put([record(1), long_key]))
    same(local.read_all(name), [])
    same(local.boto3.put_records(**put(full))["FailedRecordCount"], 0)
    same([len(record["Data"]) for record in local.read_all(name)], [MIB - 1] * 10)
    refused("ResourceNotFoundException", local.boto3.put_record, StreamName=local.name(), Data=b"", PartitionKey="k")


@check
def throttling(local):
    """a shard over its limits refuses single records, by name; a retry of just those gets all through"""
    name = local.stream(2)
    local.control("POST", "faults", {"shard_records_per_s": 100})
    todo = [{"Data": str(n).encode(), "PartitionKey": str(n)} for n in range(400)]
    rounds, shards = 0, set()
    while todo:
        answer = local.boto3.put_records(StreamName=name, Records=todo)
        results = list(zip(todo, answer["Records"], strict=True))
        for _, result in results:
            if "ErrorCode" in result:
                same(result["ErrorCode"], "ProvisionedThroughputExceededException")
                before, shard, after = result["ErrorMessage"].partition("shardId-")
                same((before, after[12:]), ("Rate exceeded for shard ", f" in stream {name} under account {ACCOUNT}."))
                shards.add(shard + after[:12])
        todo = [record for record, result in results if "ErrorCode" in result]
        same(answer["FailedRecordCount"], len(todo))
        rounds += 1
    assert rounds > 1, "nothing was throttled"
    same(shards, {FIRST, "shardId-000000000001"})
    same(sorted(int(record["Data"]) for record in local.read_all(name)), list(range(400)))


@check
def faults(local):
    """the fault plan: records, whole requests, lost replies, a wrong count; and its counters"""
    name = local.stream()
    put = {"StreamName": name, "Records": [{"Data": b"x", "PartitionKey": "k"}]}
    for code in ("AccessDeniedException", "ServiceUnavailable"):
        local.control("POST", "faults", {"fail_requests": 1, "fail_requests_code": code})
        refused(code, local.boto3.put_records, **put)
    local.control("POST", "faults", {"fail_records": 1})
    answer = local.boto3.put_records(**put)
    same((answer["FailedRecordCount"], answer["Records"][0]["ErrorCode"]), (1, "InternalFailure"))
    local.control("POST", "faults", {"fail_records": 1, "wrong_failed_count": True})
    answer = local.boto3.put_records(**put)
    same((answer["FailedRecordCount"], answer["Records"][0]["ErrorCode"]), (0, "InternalFailure"))
    stored = 0
    for plan in ("close_before", "close_after"):
        local.control("POST", "faults", {plan: 1, "operations": ["PutRecords"]})
        try:
            raise AssertionError(local.boto3.put_records(**put))
        except (ConnectionClosedError, HTTPClientError):
            stored += plan == "close_after"
        same(len(local.read(name, FIRST)), stored)
    hasty = Config(retries={"total_max_attempts": 1}, read_timeout=1)
    hasty = boto3.client("kinesis", endpoint_url=local.endpoint, region_name=REGION, config=hasty)
    local.control("POST", "faults", {"hang": 1, "operations": ["PutRecords"]})
    try:
        raise AssertionError(hasty.put_records(**put))
    except ReadTimeoutError:
        same(len(local.read(name, FIRST)), stored)
    counts = local.control("GET", "stats")["streams"][name]
    same((counts["failed"], counts["records"]), (2, 1))
    try:
        raise AssertionError(local.control("POST", "faults", {"latency_max": 5}))
    except urllib.error.HTTPError as error:
        same(error.code, 400)
        assert b"latency_max_ms" in error.read()


@check
def retries(local):
    """boto3's own retries get a request through when the service fails half of the time"""
    name = local.stream()
    stubborn = Config(retries={"total_max_attempts": 30, "mode": "legacy"})
    client = boto3.client("kinesis", endpoint_url=local.endpoint, region_name=REGION, config=stubborn)
    plan = {"fail_requests": 0.5, "fail_requests_code": "InternalFailure", "seed": 1, "operations": ["PutRecord"]}
    local.control("POST", "faults", plan)
    for n in range(5):
        client.put_record(StreamName=name, Data=str(n).encode(), PartitionKey="k")
    same([record["Data"] for record in local.read(name, FIRST)], [b"0", b"1", b"2", b"3", b"4"])


# The AWS CLI


@check
def cli_streams(local):
    """CLI: create-stream, wait, list-streams, describe-stream, describe-stream-summary, delete-stream"""
    name = local.name()
    local.cli("create-stream", "--stream-name", name, "--shard-count", "2")
    local.cli("wait", "stream-exists", "--stream-name", name)
    assert name in local.cli("list-streams")["StreamNames"]
    same(len(local.cli("describe-stream", "--stream-name", name)["StreamDescription"]["Shards"]), 2)
    summary = local.cli("describe-stream-summary", "--stream-arn", arn(name))["StreamDescriptionSummary"]
    same((summary["StreamStatus"], summary["OpenShardCount"]), ("ACTIVE", 2))
    local.cli("delete-stream", "--stream-name", name)
    local.cli("describe-stream", "--stream-name", name, fails="ResourceNotFoundException")


@check
def cli_records(local):
    """CLI: put-record, put-records, list-shards, get-shard-iterator, get-records"""
    name = local.name()
    local.cli("create-stream", "--stream-name", name, "--shard-count", "1")
    # Version 2 of the CLI takes data as base64 unless told otherwise, version 1 takes it as it is.
    version = subprocess.run([local.aws, "--version"], capture_output=True, text=True, timeout=120).stdout
    raw = ("--cli-binary-format", "raw-in-base64-out") if version.startswith("aws-cli/2") else ()
    put = local.cli("put-record", "--stream-name", name, "--partition-key", "k", "--data", "one", *raw)
    same(put["ShardId"], FIRST)
    records = ("Data=two,PartitionKey=k", "Data=three,PartitionKey=k,ExplicitHashKey=0")
    same(local.cli("put-records", "--stream-name", name, "--records", *records, *raw)["FailedRecordCount"], 0)
    same([shard["ShardId"] for shard in local.cli("list-shards", "--stream-name", name)["Shards"]], [FIRST])
    start = ("--stream-name", name, "--shard-id", FIRST, "--shard-iterator-type")
    iterator = local.cli("get-shard-iterator", *start, "TRIM_HORIZON")["ShardIterator"]
    answer = local.cli("get-records", "--shard-iterator", iterator)
    same([record["Data"] for record in answer["Records"]], ["b25l", "dHdv", "dGhyZWU="])
    after = ("AFTER_SEQUENCE_NUMBER", "--starting-sequence-number", put["SequenceNumber"])
    iterator = local.cli("get-shard-iterator", *start, *after)["ShardIterator"]
    answer = local.cli("get-records", "--shard-iterator", iterator, "--limit", "1")
    same([record["Data"] for record in answer["Records"]], ["dHdv"])
    iterator = local.cli("get-shard-iterator", *start, "AT_TIMESTAMP", "--timestamp", "2020-01-01T00:00:00Z")
    assert iterator["ShardIterator"]
    local.cli("get-records", "--shard-iterator", "forged", fails="InvalidArgumentException")


@check
def cli_resharding(local):
    """CLI: split-shard, merge-shards, update-shard-count, list-shards with a filter"""
    name = local.name()
    local.cli("create-stream", "--stream-name", name, "--shard-count", "1")
    split = ("--shard-to-split", FIRST, "--new-starting-hash-key", str(TOP // 2))
    local.cli("split-shard", "--stream-name", name, *split)
    merge = ("--shard-to-merge", "shardId-000000000001", "--adjacent-shard-to-merge", "shardId-000000000002")
    local.cli("merge-shards", "--stream-name", name, *merge)
    scale = ("--target-shard-count", "2", "--scaling-type", "UNIFORM_SCALING")
    same(local.cli("update-shard-count", "--stream-name", name, *scale)["CurrentShardCount"], 1)
    shards = local.cli("list-shards", "--stream-name", name, "--shard-filter", "Type=AT_LATEST")["Shards"]
    same([shard["ShardId"] for shard in shards], ["shardId-000000000004", "shardId-000000000005"])
    # All six come on one page: on a second one the CLI would send the name along, which the service refuses too.
    same(len(local.cli("list-shards", "--stream-name", name)["Shards"]), 6)


@check
def cli_settings(local):
    """CLI: increase- and decrease-stream-retention-period, update-max-record-size"""
    name = local.name()
    local.cli("create-stream", "--stream-name", name, "--shard-count", "1", "--max-record-size-in-ki-b", "3000")
    hours = lambda count: ("--stream-name", name, "--retention-period-hours", count)
    local.cli("increase-stream-retention-period", *hours("50"))
    local.cli("decrease-stream-retention-period", *hours("40"))
    local.cli("increase-stream-retention-period", *hours("30"), fails="InvalidArgumentException")
    summary = lambda: local.cli("describe-stream-summary", "--stream-name", name)["StreamDescriptionSummary"]
    same((summary()["RetentionPeriodHours"], summary()["MaxRecordSizeInKiB"]), (40, 3000))
    local.cli("update-max-record-size", "--stream-arn", arn(name), "--max-record-size-in-ki-b", "4000")
    same(summary()["MaxRecordSizeInKiB"], 4000)


def main():
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    os.environ.update(ENVIRONMENT)
    local = Local(sys.argv[1].rstrip("/"))
    if not local.aws:
        print("no aws beside this Python or in PATH: pip install awscli")
        return 2
    failed = 0
    for function in CHECKS:
        try:
            function(local)
            print(f"ok      {function.__doc__}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED  {function.__doc__}\n{traceback.format_exc()}", flush=True)
        finally:
            local.control("POST", "faults", {})
    for name in local.boto3.list_streams(Limit=1000)["StreamNames"]:
        if name.startswith(f"interop-{os.getpid()}-"):
            local.boto3.delete_stream(StreamName=name)
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
