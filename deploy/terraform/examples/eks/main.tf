# What the ServiceAccount `web` in the namespace `shop` needs, so that the sidecar in its pods can send. The cluster is yours; the manifest is
# deploy/kubernetes/sidecar.yaml, without its annotation.

provider "aws" {
  region = var.region
}

variable "cluster_name" {
  description = "The cluster."
  type        = string
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

module "identity" {
  source          = "../../modules/eks-pod-identity"
  name            = "${var.name}-web"
  cluster_name    = var.cluster_name
  namespace       = "shop"
  service_account = "web"
  policy_arn      = module.agent.policy_arn
}

output "role_arn" {
  value = module.identity.role_arn
}
