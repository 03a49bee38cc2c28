output "policy_arn" {
  description = "The policy, to attach to a task's, pod's or instance's role."
  value       = aws_iam_policy.this.arn
}

output "policy_json" {
  description = "The same as a document."
  value       = data.aws_iam_policy_document.this.json
}
