output "bucket" {
  description = "The bucket's name."
  value       = aws_s3_bucket.this.id
}

output "bucket_arn" {
  description = "The bucket's ARN."
  value       = aws_s3_bucket.this.arn
}

output "prefix" {
  description = "What objects' names begin with."
  value       = var.prefix
}

output "delivery_stream_name" {
  description = "The delivery stream's name, for alarms."
  value       = aws_kinesis_firehose_delivery_stream.this.name
}
