# What is worth waking somebody for, of the stream and of its delivery to S3. Throttling that an agent sees, and its backlog, are alerts of Prometheus.

locals {
  provisioned = var.stream_mode == "PROVISIONED"
  minute      = 60
  # A shard takes 1 MiB a second.
  capacity_bytes_a_minute = local.provisioned ? var.shard_count * 1024 * 1024 * local.minute : 0

  stream = merge(
    {
      write-throttled = {
        description = "Producers write more than the stream's shards take. kinetail sends it again, later."
        metric      = "WriteProvisionedThroughputExceeded", statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
        period      = local.minute, evaluations = 5, datapoints = 3, missing = "notBreaching"
      }
      read-throttled = {
        description = "Consumers read more than 2 MiB or five times a second from a shard."
        metric      = "ReadProvisionedThroughputExceeded", statistic = "Sum", comparison = "GreaterThanThreshold", threshold = 0
        period      = local.minute, evaluations = 15, datapoints = 10, missing = "notBreaching"
      }
      iterator-age = {
        description = "A consumer is so far behind that records will be gone before it reads them."
        metric      = "GetRecords.IteratorAgeMilliseconds", statistic = "Maximum", comparison = "GreaterThanThreshold"
        threshold   = var.retention_hours * 3600 * 1000 * var.iterator_age_share
        period      = 5 * local.minute, evaluations = 3, datapoints = 3, missing = "notBreaching"
      }
    },
    local.provisioned ? {
      incoming-bytes-high = {
        description = "The stream takes more than ${var.incoming_share * 100} % of what its shards can, on average: add shards."
        metric      = "IncomingBytes", statistic = "Sum", comparison = "GreaterThanThreshold", threshold = local.capacity_bytes_a_minute * var.incoming_share
        period      = local.minute, evaluations = 15, datapoints = 10, missing = "notBreaching"
      }
    } : {},
    var.silent_minutes == null ? {} : {
      silent = {
        description = "Nothing arrives. Agents, their permissions, or the services themselves are down."
        metric      = "IncomingBytes", statistic = "Sum", comparison = "LessThanOrEqualToThreshold", threshold = 0
        period      = 5 * local.minute, evaluations = ceil(var.silent_minutes / 5), datapoints = ceil(var.silent_minutes / 5), missing = "breaching"
      }
    },
  )

  delivery = var.delivery_stream_name == null ? {} : {
    firehose-freshness = {
      description = "The oldest record that is not in S3 yet is older than ${var.freshness_seconds} s."
      metric      = "DeliveryToS3.DataFreshness", statistic = "Maximum", comparison = "GreaterThanThreshold", threshold = var.freshness_seconds
      period      = 5 * local.minute, evaluations = 3, datapoints = 3, missing = "notBreaching"
    }
    firehose-success = {
      description = "S3 refuses what Firehose delivers."
      metric      = "DeliveryToS3.Success", statistic = "Average", comparison = "LessThanThreshold", threshold = 1
      period      = 5 * local.minute, evaluations = 3, datapoints = 2, missing = "notBreaching"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "stream" {
  for_each = local.stream

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = "AWS/Kinesis"
  metric_name         = each.value.metric
  dimensions          = { StreamName = var.stream_name }
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = each.value.period
  evaluation_periods  = each.value.evaluations
  datapoints_to_alarm = each.value.datapoints
  treat_missing_data  = each.value.missing
  alarm_actions       = var.actions
  ok_actions          = var.actions
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "delivery" {
  for_each = local.delivery

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = "AWS/Firehose"
  metric_name         = each.value.metric
  dimensions          = { DeliveryStreamName = var.delivery_stream_name }
  statistic           = each.value.statistic
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  period              = each.value.period
  evaluation_periods  = each.value.evaluations
  datapoints_to_alarm = each.value.datapoints
  treat_missing_data  = each.value.missing
  alarm_actions       = var.actions
  ok_actions          = var.actions
  tags                = var.tags
}
