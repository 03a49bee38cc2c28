# terraform test: what is planned, with a provider that is made up.
mock_provider "aws" {
  mock_resource "aws_kinesis_stream" {
    defaults = { arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/service-logs" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

run "on_demand_and_encrypted" {
  command = apply

  assert {
    condition     = output.stream == "service-logs"
    error_message = "The stream is called otherwise."
  }
}

run "a_stream_that_cannot_be_named" {
  command = plan
  variables {
    name = "no spaces"
  }
  module {
    source = "../../modules/stream"
  }
  expect_failures = [var.name]
}

run "shards_belong_to_provisioned_streams" {
  command = plan
  variables {
    name        = "logs"
    shard_count = 2
  }
  module {
    source = "../../modules/stream"
  }
  expect_failures = [aws_kinesis_stream.this]
}

run "provisioned" {
  command = plan
  variables {
    name        = "logs"
    mode        = "PROVISIONED"
    shard_count = 2
  }
  module {
    source = "../../modules/stream"
  }
  assert {
    condition     = aws_kinesis_stream.this.shard_count == 2 && aws_kinesis_stream.this.encryption_type == "KMS" && aws_kinesis_stream.this.retention_period == 48
    error_message = "Shards, encryption or retention are wrong."
  }
}

run "no_wildcards_for_agents" {
  command = plan
  variables {
    name        = "agent"
    stream_arns = ["arn:aws:kinesis:eu-west-1:111122223333:stream/*"]
  }
  module {
    source = "../../modules/iam-agent"
  }
  expect_failures = [var.stream_arns]
}
