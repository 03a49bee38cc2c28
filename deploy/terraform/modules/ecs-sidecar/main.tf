# The container to put beside a service in a task definition, and what the service's own container needs for it. It makes no resources.

locals {
  firelens = var.mode == "firelens"

  log_configuration = {
    logDriver = "awslogs"
    options = {
      awslogs-group         = var.log_group
      awslogs-region        = var.region
      awslogs-stream-prefix = "kinetail"
    }
  }

  environment = merge(
    local.firelens ? { KINETAIL_FORMAT = "kpl" } : { KINETAIL_STREAM = var.stream_name, KINETAIL_REGION = var.region, KINETAIL_PATHS = join(",", var.paths) },
    var.environment,
  )

  container = merge(
    {
      name              = var.container_name
      image             = var.image
      command           = ["run"]
      essential         = true
      cpu               = 0
      memoryReservation = 64
      # The service's own time to stop is before this one: it is stopped last.
      stopTimeout      = 60
      environment      = [for name in sort(keys(local.environment)) : { name = name, value = local.environment[name] }]
      logConfiguration = local.log_configuration
      mountPoints = concat(
        [{ sourceVolume = "kinetail-state", containerPath = "/var/lib/kinetail", readOnly = false }],
        local.firelens ? [] : [{ sourceVolume = "logs", containerPath = var.log_directory, readOnly = true }],
      )
      portMappings   = []
      systemControls = []
      volumesFrom    = []
    },
    {
      # FireLens' socket is in a directory of the ECS agent's; otherwise nothing needs root.
      user                   = local.firelens ? "0" : "65532:65532"
      readonlyRootFilesystem = !local.firelens
    },
    { for name in ["firelensConfiguration"] : name => { type = "fluentbit", options = { enable-ecs-log-metadata = "true" } } if local.firelens },
  )
}
