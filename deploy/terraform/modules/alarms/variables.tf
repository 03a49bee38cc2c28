variable "name" {
  description = "What the alarms' names begin with."
  type        = string
}

variable "stream_name" {
  description = "The stream."
  type        = string
}

variable "stream_mode" {
  description = "ON_DEMAND or PROVISIONED; the latter has a capacity to compare with."
  type        = string
  default     = "ON_DEMAND"
}

variable "shard_count" {
  description = "Shards in the mode PROVISIONED."
  type        = number
  default     = null
}

variable "retention_hours" {
  description = "The stream's retention."
  type        = number
  default     = 24
}

variable "iterator_age_share" {
  description = "The part of the retention that a consumer may be behind."
  type        = number
  default     = 0.5
}

variable "incoming_share" {
  description = "The part of the shards' capacity that may be used."
  type        = number
  default     = 0.8
}

variable "silent_minutes" {
  description = "After how many minutes without a byte something is wrong; null for streams that may be silent."
  type        = number
  default     = 15
}

variable "delivery_stream_name" {
  description = "The delivery stream to S3; null for none."
  type        = string
  default     = null
}

variable "freshness_seconds" {
  description = "How old the oldest undelivered record may be; more than the delivery stream's buffer_seconds."
  type        = number
  default     = 900
}

variable "actions" {
  description = "ARNs of what is told, such as a topic of SNS."
  type        = list(string)
  default     = []
}

variable "tags" {
  description = "Tags."
  type        = map(string)
  default     = {}
}
