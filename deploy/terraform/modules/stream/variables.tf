variable "name" {
  description = "The stream's name."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_.-]{1,128}$", var.name))
    error_message = "A stream's name has 1 to 128 letters, digits, \"_\", \".\" and \"-\"."
  }
}

variable "mode" {
  description = "ON_DEMAND scales by itself, to twice the highest peak so far. PROVISIONED is cheaper for a load that is known."
  type        = string
  default     = "ON_DEMAND"

  validation {
    condition     = contains(["ON_DEMAND", "PROVISIONED"], var.mode)
    error_message = "The mode is ON_DEMAND or PROVISIONED."
  }
}

variable "shard_count" {
  description = "Shards in the mode PROVISIONED: each takes 1 MiB and 1,000 records a second. Aggregation makes bytes the limit."
  type        = number
  default     = null

  validation {
    condition     = var.shard_count == null ? true : var.shard_count >= 1 && floor(var.shard_count) == var.shard_count
    error_message = "A stream has at least one shard, and no half ones."
  }
}

variable "retention_hours" {
  description = "How long records are kept: for how long every consumer together may be away."
  type        = number
  default     = 48

  validation {
    condition     = var.retention_hours >= 24 && var.retention_hours <= 8760
    error_message = "Retention is 24 to 8760 hours."
  }
}

variable "kms_key_id" {
  description = "The key, as an alias or ARN. With AWS' own nobody needs a permission; with one of yours the agents need kms:GenerateDataKey and the consumers kms:Decrypt."
  type        = string
  default     = "alias/aws/kinesis"
}

variable "shard_level_metrics" {
  description = "Metrics of each shard in CloudWatch, such as IncomingBytes and WriteProvisionedThroughputExceeded. kinetail's own metrics have throttling by shard for nothing."
  type        = list(string)
  default     = []
}

variable "enforce_consumer_deletion" {
  description = "Whether the stream can be deleted while consumers are registered."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags."
  type        = map(string)
  default     = {}
}
