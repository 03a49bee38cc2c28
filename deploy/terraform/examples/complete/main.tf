# From agents to Athena: a provisioned stream with a key of its own, Parquet in S3, a table over it, and alarms.

provider "aws" {
  region = var.region
}

variable "shards" {
  description = "The stream's shards."
  type        = number
  default     = 2
}

variable "alarm_actions" {
  description = "What alarms tell, such as a topic of SNS."
  type        = list(string)
  default     = []
}

resource "aws_kms_key" "stream" {
  description         = "${var.name}: records in Kinesis"
  enable_key_rotation = true
}

module "stream" {
  source          = "../../modules/stream"
  name            = var.name
  mode            = "PROVISIONED"
  shard_count     = var.shards
  retention_hours = 72
  kms_key_id      = aws_kms_key.stream.arn
}

module "agent" {
  source       = "../../modules/iam-agent"
  name         = "${var.name}-agent"
  stream_arns  = [module.stream.arn]
  kms_key_arns = [aws_kms_key.stream.arn]
}

module "s3" {
  source             = "../../modules/firehose-s3"
  name               = var.name
  stream_arn         = module.stream.arn
  stream_kms_key_arn = aws_kms_key.stream.arn
  format             = "parquet"
  glue_table         = module.athena.glue_table
}

module "athena" {
  source = "../../modules/athena"
  name   = var.name
  bucket = module.s3.bucket
  prefix = module.s3.prefix
  format = "parquet"
}

module "alarms" {
  source               = "../../modules/alarms"
  name                 = var.name
  stream_name          = module.stream.name
  stream_mode          = module.stream.mode
  shard_count          = module.stream.shard_count
  retention_hours      = module.stream.retention_hours
  delivery_stream_name = module.s3.delivery_stream_name
  actions              = var.alarm_actions
}

output "policy_arn" {
  value = module.agent.policy_arn
}

output "bucket" {
  value = module.s3.bucket
}

output "workgroup" {
  value = module.athena.workgroup
}

output "alarms" {
  value = module.alarms.alarm_names
}
