variable "name" {
  description = "The workgroup's name; the database is called the same, with \"_\" for \"-\"."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{0,62}$", var.name))
    error_message = "Small letters, digits and \"-\"."
  }
}

variable "bucket" {
  description = "The bucket of the logs."
  type        = string
}

variable "prefix" {
  description = "What objects' names begin with, before dt= and hour=."
  type        = string
  default     = "logs/"
}

variable "format" {
  description = "json or parquet, as they were delivered."
  type        = string
  default     = "json"

  validation {
    condition     = contains(["json", "parquet"], var.format)
    error_message = "The format is json or parquet."
  }
}

variable "columns" {
  description = "The members of events that can be asked for, with types of Hive. What is not named stays in S3, with json."
  type        = list(object({ name = string, type = string }))
  default = [
    { name = "time", type = "string" },
    { name = "level", type = "string" },
    { name = "message", type = "string" },
  ]

  validation {
    condition     = length(var.columns) > 0 && alltrue([for c in var.columns : can(regex("^[a-z0-9_]+$", c.name)) && !contains(["dt", "hour"], c.name)])
    error_message = "At least one column, of small letters, digits and \"_\", and not dt or hour, which are the partitions."
  }
}

variable "level_column" {
  description = "The column that tells errors from the rest, for the saved query; null for none."
  type        = string
  default     = "level"
}

variable "first_day" {
  description = "The first day of which there are logs."
  type        = string
  default     = "2026-01-01"

  validation {
    condition     = can(regex("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", var.first_day))
    error_message = "A day such as 2026-01-31."
  }
}

variable "max_scanned_gib" {
  description = "How much a query may read before it is ended."
  type        = number
  default     = 100
}

variable "tags" {
  description = "Tags."
  type        = map(string)
  default     = {}
}
