# A stream for logs: on demand unless it is told how many shards to have, and encrypted.

resource "aws_kinesis_stream" "this" {
  name             = var.name
  shard_count      = var.mode == "PROVISIONED" ? var.shard_count : null
  retention_period = var.retention_hours

  encryption_type = "KMS"
  kms_key_id      = var.kms_key_id

  # Cost by shard and metric; the stream's own metrics cost nothing.
  shard_level_metrics       = var.shard_level_metrics
  enforce_consumer_deletion = var.enforce_consumer_deletion

  stream_mode_details {
    stream_mode = var.mode
  }

  tags = var.tags

  lifecycle {
    precondition {
      condition     = (var.mode == "PROVISIONED") == (var.shard_count != null)
      error_message = "shard_count belongs to the mode PROVISIONED, and is required there."
    }
  }
}
