# A stream, and the policy with which an agent writes to it.

provider "aws" {
  region = var.region
}

module "stream" {
  source = "../../modules/stream"
  name   = var.name
}

module "agent" {
  source      = "../../modules/iam-agent"
  name        = "${var.name}-agent"
  stream_arns = [module.stream.arn]
}

output "stream" {
  value = module.stream.name
}

output "policy_arn" {
  value = module.agent.policy_arn
}
