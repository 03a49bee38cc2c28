mock_provider "aws" {
  mock_resource "aws_kinesis_stream" {
    defaults = { arn = "arn:aws:kinesis:eu-west-1:111122223333:stream/service-logs" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/r" }
  }
  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::111122223333:policy/p" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  kinetail_image = "registry.example.com/kinetail:0.1.0"
}

run "firelens" {
  command = apply

  assert {
    condition = (
      jsondecode(aws_ecs_task_definition.service.container_definitions)[0].firelensConfiguration.type == "fluentbit"
      && jsondecode(aws_ecs_task_definition.service.container_definitions)[0].logConfiguration.logDriver == "awslogs"
      && jsondecode(aws_ecs_task_definition.service.container_definitions)[1].logConfiguration.logDriver == "awsfirelens"
      && jsondecode(aws_ecs_task_definition.service.container_definitions)[1].logConfiguration.options.stream == "service-logs"
      && [for v in aws_ecs_task_definition.service.volume : v.name] == ["kinetail-state"]
    )
    error_message = "The containers are ${aws_ecs_task_definition.service.container_definitions}"
  }
}

run "files" {
  command = plan
  variables {
    image       = "registry.example.com/kinetail:0.1.0"
    mode        = "files"
    stream_name = "service-logs"
    region      = "eu-west-1"
    log_group   = "g"
    environment = { KINETAIL_PARSE = "json" }
  }
  module {
    source = "../../modules/ecs-sidecar"
  }
  assert {
    condition = (
      !can(output.container.firelensConfiguration) && output.container.user == "65532:65532" && output.log_configuration == null
      && contains(output.container.environment, { name = "KINETAIL_PATHS", value = "/var/log/app/*.log" })
      && contains(output.container.environment, { name = "KINETAIL_PARSE", value = "json" })
      && contains(output.volume_names, "logs")
    )
    error_message = "The container is ${jsonencode(output.container)}"
  }
}

run "an_image_has_a_tag" {
  command = plan
  variables {
    image       = "registry.example.com/kinetail:latest"
    stream_name = "service-logs"
    region      = "eu-west-1"
    log_group   = "g"
  }
  module {
    source = "../../modules/ecs-sidecar"
  }
  expect_failures = [var.image]
}
