variable "name" {
  description = "The policy's name."
  type        = string
}

variable "stream_arns" {
  description = "ARNs of the streams that the agent writes to, without wildcards."
  type        = list(string)

  validation {
    condition     = length(var.stream_arns) > 0 && alltrue([for arn in var.stream_arns : !strcontains(arn, "*") && length(split(":", arn)) == 6])
    error_message = "At least one stream, each with its whole ARN: a wildcard lets an agent write to streams that are not its own."
  }
}

variable "kms_key_arns" {
  description = "Keys of your own with which the streams are encrypted; none for alias/aws/kinesis."
  type        = list(string)
  default     = []
}

variable "describe" {
  description = "Whether it may ask for the stream's record limit and shards. Without that, 1 MiB holds, and shards are learnt from answers."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags."
  type        = map(string)
  default     = {}
}
