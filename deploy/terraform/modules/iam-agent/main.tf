# What an agent may do: write to its streams. Everything else is optional, and it says what is missing without it.

data "aws_iam_policy_document" "this" {
  statement {
    sid       = "Send"
    actions   = ["kinesis:PutRecords"]
    resources = var.stream_arns
  }

  dynamic "statement" {
    for_each = var.describe ? [1] : []
    content {
      sid       = "AskForTheRecordLimitAndTheShards"
      actions   = ["kinesis:DescribeStreamSummary", "kinesis:ListShards"]
      resources = var.stream_arns
    }
  }

  dynamic "statement" {
    for_each = length(var.kms_key_arns) > 0 ? [1] : []
    content {
      sid       = "EncryptForTheStream"
      actions   = ["kms:GenerateDataKey"]
      resources = var.kms_key_arns

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = distinct([for arn in var.stream_arns : "kinesis.${split(":", arn)[3]}.amazonaws.com"])
      }
    }
  }
}

resource "aws_iam_policy" "this" {
  name        = var.name
  description = "kinetail: send logs to ${join(", ", [for arn in var.stream_arns : element(split("/", arn), 1)])}"
  policy      = data.aws_iam_policy_document.this.json
  tags        = var.tags
}
