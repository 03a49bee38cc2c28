mock_provider "aws" {
  mock_resource "aws_kinesis_stream" {
    defaults = { arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/service-logs" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-west-1:111122223333:key/11111111-2222-3333-4444-555555555555" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::service-logs-1", id = "service-logs-1" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/service-logs-firehose", id = "service-logs-firehose" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-west-1:111122223333:log-group:x" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

run "parquet_by_date_and_hour" {
  command = apply

  assert {
    condition = output.alarms == tolist([
      for n in ["firehose-freshness", "firehose-success", "incoming-bytes-high", "iterator-age", "read-throttled", "silent", "write-throttled"] : "service-logs-${n}"
    ])
    error_message = "Alarms are missing: ${join(", ", output.alarms)}"
  }
}

run "firehose" {
  command = plan
  variables {
    name       = "service-logs"
    stream_arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/service-logs"
    format     = "parquet"
    glue_table = { database = "service_logs", table = "logs" }
  }
  module {
    source = "../../modules/firehose-s3"
  }
  assert {
    condition = (
      aws_kinesis_firehose_delivery_stream.this.extended_s3_configuration[0].compression_format == "UNCOMPRESSED"
      && aws_kinesis_firehose_delivery_stream.this.extended_s3_configuration[0].prefix == "logs/dt=!{timestamp:yyyy-MM-dd}/hour=!{timestamp:HH}/"
      && length(aws_kinesis_firehose_delivery_stream.this.extended_s3_configuration[0].processing_configuration) == 0
    )
    error_message = "Parquet is compressed inside, lies by date and hour, and needs no processor."
  }
}

run "parquet_needs_a_table" {
  command = plan
  variables {
    name       = "service-logs"
    stream_arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/service-logs"
    format     = "parquet"
  }
  module {
    source = "../../modules/firehose-s3"
  }
  expect_failures = [aws_kinesis_firehose_delivery_stream.this]
}

run "json_is_gzipped" {
  command = plan
  variables {
    name       = "service-logs"
    stream_arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/service-logs"
  }
  module {
    source = "../../modules/firehose-s3"
  }
  assert {
    condition     = aws_kinesis_firehose_delivery_stream.this.extended_s3_configuration[0].compression_format == "GZIP"
    error_message = "JSON is not compressed."
  }
}

run "partitions_are_projected" {
  command = plan
  variables {
    name   = "service-logs"
    bucket = "b"
  }
  module {
    source = "../../modules/athena"
  }
  assert {
    condition     = aws_glue_catalog_table.this.parameters["storage.location.template"] == "s3://b/logs/dt=$${dt}/hour=$${hour}/"
    error_message = "The template of partitions is ${aws_glue_catalog_table.this.parameters["storage.location.template"]}"
  }
}

run "thresholds" {
  command = plan
  variables {
    name            = "a"
    stream_name     = "logs"
    stream_mode     = "PROVISIONED"
    shard_count     = 2
    retention_hours = 24
  }
  module {
    source = "../../modules/alarms"
  }
  assert {
    # 80 % of two MiB a second, for a minute; half a day in milliseconds.
    condition = (
      floor(aws_cloudwatch_metric_alarm.stream["incoming-bytes-high"].threshold) == 100663296
      && aws_cloudwatch_metric_alarm.stream["iterator-age"].threshold == 43200000
      && length(aws_cloudwatch_metric_alarm.delivery) == 0
    )
    error_message = "Thresholds are wrong."
  }
}
