variable "name" {
  description = "The delivery stream's name."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{0,50}$", var.name))
    error_message = "Up to 51 small letters, digits and \"-\", since a bucket and a role are named after it."
  }
}

variable "stream_arn" {
  description = "The Kinesis stream. Delivery starts with what comes after this is made."
  type        = string
}

variable "stream_kms_key_arn" {
  description = "A key of your own with which the stream is encrypted."
  type        = string
  default     = null
}

variable "bucket_name" {
  description = "The bucket's name; by default one that begins with `name`."
  type        = string
  default     = null
}

variable "bucket_kms_key_arn" {
  description = "A key of your own for the objects; by default S3's."
  type        = string
  default     = null
}

variable "prefix" {
  description = "What objects' names begin with, before dt= and hour=."
  type        = string
  default     = "logs/"

  validation {
    condition     = var.prefix == "" || endswith(var.prefix, "/")
    error_message = "A prefix is empty or ends with \"/\"."
  }
}

variable "format" {
  description = "json: lines, compressed by gzip. parquet: columns, by the schema of glue_table; events have to be JSON objects."
  type        = string
  default     = "json"

  validation {
    condition     = contains(["json", "parquet"], var.format)
    error_message = "The format is json or parquet."
  }
}

variable "glue_table" {
  description = "The table whose columns Parquet gets."
  type        = object({ database = string, table = string })
  default     = null
}

variable "buffer_seconds" {
  description = "How long an object is filled at most."
  type        = number
  default     = 300

  validation {
    condition     = var.buffer_seconds >= 60 && var.buffer_seconds <= 900
    error_message = "60 to 900 seconds."
  }
}

variable "buffer_mib" {
  description = "How much of the stream an object has at most, before compression."
  type        = number
  default     = 64

  validation {
    condition     = var.buffer_mib >= 1 && var.buffer_mib <= 128
    error_message = "1 to 128 MiB."
  }
}

variable "expire_days" {
  description = "After how many days objects are deleted; null keeps them."
  type        = number
  default     = 90
}

variable "force_destroy" {
  description = "Whether a bucket that is not empty is deleted with the rest."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags."
  type        = map(string)
  default     = {}
}
