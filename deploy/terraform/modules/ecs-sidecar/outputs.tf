output "container" {
  description = "The agent's container definition."
  value       = local.container
}

output "log_configuration" {
  description = "logConfiguration of the service's container in the mode firelens; null in the mode files."
  value = local.firelens ? {
    logDriver = "awsfirelens"
    options   = { Name = "kinesis_streams", region = var.region, stream = var.stream_name }
  } : null
}

output "mount_points" {
  description = "mountPoints of the service's container."
  value       = local.firelens ? [] : [{ sourceVolume = "logs", containerPath = var.log_directory, readOnly = false }]
}

output "depends_on" {
  description = "dependsOn of the service's container: kinetail is started before it, and stopped after it."
  value       = [{ containerName = var.container_name, condition = "START" }]
}

output "volume_names" {
  description = "Volumes that the task definition has to declare."
  value       = concat(["kinetail-state"], local.firelens ? [] : ["logs"])
}
