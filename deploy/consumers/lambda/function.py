"""A Lambda function on a stream that kinetail writes to: events de-aggregated, and a batch repeated only from where it failed.

An event source mapping hands over records as they are: aggregates have to be taken apart here. It needs the package aws_kinesis_agg beside this
file, and a mapping such as

    aws lambda create-event-source-mapping --function-name logs --starting-position LATEST \\
      --event-source-arn arn:aws:kinesis:eu-west-1:111122223333:stream/service-logs \\
      --function-response-types ReportBatchItemFailures --bisect-batch-on-function-error --maximum-retry-attempts 5 \\
      --destination-config OnFailure={Destination=arn:aws:sqs:eu-west-1:111122223333:logs-failed}

The retries and the destination keep one bad record from holding up its shard until it is gone from the stream.
"""

import base64
import json
import logging

from aws_kinesis_agg.deaggregator import iter_deaggregate_records

log = logging.getLogger()


def handle(event):
    """What is to be done with an event. It may come twice, and has to bear that."""
    if event.get("level") in ("error", "fatal"):
        print(json.dumps(event))


def handler(batch, context):
    for record in batch["Records"]:
        sequence_number = record["kinesis"]["sequenceNumber"]
        try:
            for user_record in iter_deaggregate_records([record]):
                # With format: lines there are several to a record; otherwise it is one.
                for line in base64.b64decode(user_record["kinesis"]["data"]).splitlines():
                    handle(parsed(line))
        except Exception:
            # Lambda begins again with this record. Within an aggregate that is with its first event.
            log.exception("record %s", sequence_number)
            return {"batchItemFailures": [{"itemIdentifier": sequence_number}]}
    return {"batchItemFailures": []}


def parsed(line):
    """A line that is no JSON object is an event all the same: repeating it would make it none."""
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    return event if isinstance(event, dict) else {"message": line.decode(errors="replace")}
