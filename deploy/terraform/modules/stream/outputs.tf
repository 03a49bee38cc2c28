output "name" {
  description = "The stream's name, which is KINETAIL_STREAM."
  value       = aws_kinesis_stream.this.name
}

output "arn" {
  description = "The stream's ARN."
  value       = aws_kinesis_stream.this.arn
}

output "mode" {
  description = "ON_DEMAND or PROVISIONED."
  value       = var.mode
}

output "shard_count" {
  description = "Shards, if they are provisioned; otherwise null."
  value       = var.shard_count
}

output "retention_hours" {
  description = "How long records are kept."
  value       = var.retention_hours
}
