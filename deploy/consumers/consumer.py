#!/usr/bin/env python3
"""The smallest right consumer of a stream that kinetail writes to: every event, de-aggregated, to stdout.

    pip install boto3 aws_kinesis_agg
    ./consumer.py --stream service-logs --region eu-west-1 [--from-start] [--until-caught-up]

It reads all shards, parents before their children, so that the order of keys holds across splits and merges. It keeps no checkpoint: a program that
has to go on where it was needs the KCL, or Lambda. Delivery is at least once: an event may come twice.
"""

import argparse
import base64
import sys
import time

import boto3
from aws_kinesis_agg.deaggregator import iter_deaggregate_records

# A shard may be asked five times a second, by all its readers together.
PAUSE_S = 0.25


def events(records):
    """What kinetail's events were, in order: of records of any `format` without compression."""
    # The library takes records in the form that Lambda gets them, and needs these members of it.
    for r in records:
        form = {
            "kinesisSchemaVersion": "1.0", "sequenceNumber": r["SequenceNumber"], "partitionKey": r["PartitionKey"],
            "approximateArrivalTimestamp": r["ApproximateArrivalTimestamp"].timestamp(), "data": base64.b64encode(r["Data"]).decode(),
        }
        for user_record in iter_deaggregate_records([{"kinesis": form}]):
            yield base64.b64decode(user_record["kinesis"]["data"])


class Reader:
    """All shards of a stream, each from its place on."""

    def __init__(self, kinesis, stream, from_start):
        self.kinesis, self.stream = kinesis, stream
        self.start = "TRIM_HORIZON" if from_start else "LATEST"
        self.waiting, self.open, self.last = {}, {}, {}
        for shard in self.shards("AT_TRIM_HORIZON" if from_start else "AT_LATEST"):
            self.waiting[shard["ShardId"]] = {shard.get("ParentShardId"), shard.get("AdjacentParentShardId")} - {None}
        self.begin(self.start)

    def shards(self, when):
        answer = self.kinesis.list_shards(StreamName=self.stream, ShardFilter={"Type": when})
        yield from answer["Shards"]
        while answer.get("NextToken"):
            answer = self.kinesis.list_shards(NextToken=answer["NextToken"])
            yield from answer["Shards"]

    def begin(self, position):
        """Begins the shards whose parents are read to their end, or are not to be read."""
        unread = self.waiting.keys() | self.open.keys()
        for shard in [s for s, parents in self.waiting.items() if not parents & unread]:
            del self.waiting[shard]
            self.open[shard] = self.iterator(shard, position)

    def iterator(self, shard, position):
        place = {"ShardIteratorType": position}
        if shard in self.last:
            place = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": self.last[shard]}
        return self.kinesis.get_shard_iterator(StreamName=self.stream, ShardId=shard, **place)["ShardIterator"]

    def read(self):
        """One look at each shard: its records, and how far behind the furthest is, in milliseconds."""
        behind = 0
        for shard, iterator in list(self.open.items()):
            try:
                answer = self.kinesis.get_records(ShardIterator=iterator)
            except self.kinesis.exceptions.ProvisionedThroughputExceededException:
                behind = max(behind, 1)
                continue
            except self.kinesis.exceptions.ExpiredIteratorException:
                # Five minutes went by in a slow reader of this program's output.
                self.open[shard] = self.iterator(shard, self.start)
                behind = max(behind, 1)
                continue
            records = answer["Records"]
            if records:
                self.last[shard] = records[-1]["SequenceNumber"]
            yield records
            behind = max(behind, answer.get("MillisBehindLatest", 0))
            self.open[shard] = answer.get("NextShardIterator")
            if self.open[shard] is None:
                del self.open[shard]
                for child in answer.get("ChildShards", []):
                    self.waiting.setdefault(child["ShardId"], set(child["ParentShards"]))
                # Whatever a child has came after its parents' end: from its beginning on.
                self.begin("TRIM_HORIZON")
                behind = max(behind, 1)
        self.behind = behind


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stream", required=True)
    parser.add_argument("--region")
    parser.add_argument("--endpoint", help="such as http://127.0.0.1:4567, of `kinetail local`")
    parser.add_argument("--from-start", action="store_true", help="from the oldest record that is kept, and not only what comes from now on")
    parser.add_argument("--until-caught-up", action="store_true", help="end when there is nothing more to read")
    options = parser.parse_args()
    reader = Reader(boto3.client("kinesis", region_name=options.region, endpoint_url=options.endpoint), options.stream, options.from_start)
    while reader.open:
        for records in reader.read():
            for event in events(records):
                # Each ends with a newline already.
                sys.stdout.buffer.write(event)
        sys.stdout.buffer.flush()
        if options.until_caught_up and reader.behind == 0:
            break
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, BrokenPipeError):
        pass
