output "alarm_names" {
  description = "All of them."
  value       = sort(concat([for a in aws_cloudwatch_metric_alarm.stream : a.alarm_name], [for a in aws_cloudwatch_metric_alarm.delivery : a.alarm_name]))
}
