variable "name" {
  description = "The role's name."
  type        = string
}

variable "cluster_name" {
  description = "The cluster, which needs the add-on eks-pod-identity-agent."
  type        = string
}

variable "namespace" {
  description = "The ServiceAccount's namespace."
  type        = string
}

variable "service_account" {
  description = "The ServiceAccount of the pod in which kinetail runs."
  type        = string
}

variable "policy_arn" {
  description = "What it may do: the policy of the module iam-agent."
  type        = string
}

variable "tags" {
  description = "Tags."
  type        = map(string)
  default     = {}
}
