mock_provider "aws" {
  mock_resource "aws_kinesis_stream" {
    defaults = { arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/service-logs" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/service-logs-web" }
  }
  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::111122223333:policy/p" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  cluster_name = "c"
}

run "a_role_for_the_service_account" {
  command = apply

  assert {
    condition     = output.role_arn == "arn:aws:iam::111122223333:role/service-logs-web"
    error_message = "The role is ${output.role_arn}"
  }
}
