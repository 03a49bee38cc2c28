# A service on Fargate whose stdout goes to Kinesis by FireLens. The cluster and its network are yours.

provider "aws" {
  region = var.region
}

data "aws_caller_identity" "current" {}

variable "kinetail_image" {
  description = "kinetail's image, in a registry that the execution role can pull from."
  type        = string
}

variable "service_image" {
  description = "The service's image."
  type        = string
  default     = "public.ecr.aws/nginx/nginx:1.27"
}

module "stream" {
  source = "../../modules/stream"
  name   = var.name
}

module "agent" {
  source      = "../../modules/iam-agent"
  name        = "${var.name}-agent"
  stream_arns = [module.stream.arn]
}

resource "aws_cloudwatch_log_group" "kinetail" {
  name              = "/ecs/${var.name}/kinetail"
  retention_in_days = 14
}

module "sidecar" {
  source      = "../../modules/ecs-sidecar"
  image       = var.kinetail_image
  stream_name = module.stream.name
  region      = var.region
  log_group   = aws_cloudwatch_log_group.kinetail.name
  environment = { KINETAIL_METADATA = "cloud.*" }
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

# The task's role is that of all its containers; the execution role only pulls images and writes kinetail's own messages.
resource "aws_iam_role" "task" {
  name               = "${var.name}-task"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy_attachment" "task" {
  role       = aws_iam_role.task.name
  policy_arn = module.agent.policy_arn
}

resource "aws_iam_role" "execution" {
  name               = "${var.name}-execution"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_ecs_task_definition" "service" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 256
  memory                   = 512
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.execution.arn

  container_definitions = jsonencode([
    module.sidecar.container,
    {
      name             = "web"
      image            = var.service_image
      essential        = true
      portMappings     = [{ containerPort = 80, hostPort = 80, protocol = "tcp" }]
      dependsOn        = module.sidecar.depends_on
      logConfiguration = module.sidecar.log_configuration
      mountPoints      = module.sidecar.mount_points
    },
  ])

  dynamic "volume" {
    for_each = module.sidecar.volume_names
    content {
      name = volume.value
    }
  }
}

output "task_definition_arn" {
  value = aws_ecs_task_definition.service.arn
}
