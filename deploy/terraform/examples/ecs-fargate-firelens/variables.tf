variable "region" {
  description = "The region."
  type        = string
  default     = "eu-west-1"
}

variable "name" {
  description = "What everything is called."
  type        = string
  default     = "service-logs"
}
