variable "image" {
  description = "kinetail's image, with a tag or digest."
  type        = string

  validation {
    condition     = can(regex(":", var.image)) && !endswith(var.image, ":latest")
    error_message = "An image with a tag or digest, and not :latest."
  }
}

variable "mode" {
  description = "firelens: what the service writes to stdout, by the log driver awsfirelens. files: what it writes to files on a shared volume."
  type        = string
  default     = "firelens"

  validation {
    condition     = contains(["firelens", "files"], var.mode)
    error_message = "The mode is firelens or files."
  }
}

variable "stream_name" {
  description = "The stream."
  type        = string
}

variable "region" {
  description = "The stream's region, and that of the log group."
  type        = string
}

variable "log_group" {
  description = "A log group for kinetail's own messages."
  type        = string
}

variable "container_name" {
  description = "What the container is called."
  type        = string
  default     = "log_router"
}

variable "log_directory" {
  description = "Where the shared volume is mounted, in the mode files."
  type        = string
  default     = "/var/log/app"
}

variable "paths" {
  description = "The files, in the mode files."
  type        = list(string)
  default     = ["/var/log/app/*.log"]
}

variable "environment" {
  description = "More settings, such as KINETAIL_PARSE = \"json\"."
  type        = map(string)
  default     = {}
}
