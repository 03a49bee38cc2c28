# A table over the logs in S3. Its partitions are computed from the date and hour in a query (partition projection): there is no crawler, and none
# is ever added.

locals {
  # Names of Glue are made of small letters, digits and "_".
  identifier = replace(var.name, "-", "_")
  location   = "s3://${var.bucket}/${var.prefix}"
  serde = {
    json = {
      input  = "org.apache.hadoop.mapred.TextInputFormat"
      output = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"
      # A line that is no JSON object is a row of nulls in place of an error.
      library    = "org.openx.data.jsonserde.JsonSerDe"
      parameters = { "ignore.malformed.json" = "true" }
    }
    parquet = {
      input      = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat"
      output     = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat"
      library    = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe"
      parameters = { "serialization.format" = "1" }
    }
  }[var.format]
}

resource "aws_glue_catalog_database" "this" {
  name = local.identifier
  tags = var.tags
}

resource "aws_glue_catalog_table" "this" {
  name          = "logs"
  database_name = aws_glue_catalog_database.this.name
  table_type    = "EXTERNAL_TABLE"

  parameters = {
    EXTERNAL                      = "TRUE"
    classification                = var.format
    "projection.enabled"          = "true"
    "projection.dt.type"          = "date"
    "projection.dt.format"        = "yyyy-MM-dd"
    "projection.dt.range"         = "${var.first_day},NOW"
    "projection.dt.interval"      = "1"
    "projection.dt.interval.unit" = "DAYS"
    "projection.hour.type"        = "integer"
    "projection.hour.range"       = "0,23"
    "projection.hour.digits"      = "2"
    "storage.location.template"   = "${local.location}dt=$${dt}/hour=$${hour}/"
  }

  partition_keys {
    name = "dt"
    type = "string"
  }

  partition_keys {
    name = "hour"
    type = "string"
  }

  storage_descriptor {
    location      = local.location
    input_format  = local.serde.input
    output_format = local.serde.output

    ser_de_info {
      serialization_library = local.serde.library
      parameters            = local.serde.parameters
    }

    dynamic "columns" {
      for_each = var.columns
      content {
        name = columns.value.name
        type = columns.value.type
      }
    }
  }
}

resource "aws_s3_bucket" "results" {
  bucket_prefix = "${substr(var.name, 0, 24)}-results-"
  force_destroy = true
  tags          = var.tags
}

resource "aws_s3_bucket_public_access_block" "results" {
  bucket                  = aws_s3_bucket.results.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "results" {
  bucket = aws_s3_bucket.results.id

  rule {
    id     = "results"
    status = "Enabled"
    filter {}

    expiration {
      days = 7
    }
  }
}

resource "aws_athena_workgroup" "this" {
  name          = var.name
  force_destroy = true
  tags          = var.tags

  configuration {
    enforce_workgroup_configuration    = true
    publish_cloudwatch_metrics_enabled = true
    # A query without dt would read everything that there ever was.
    bytes_scanned_cutoff_per_query = var.max_scanned_gib * 1024 * 1024 * 1024

    result_configuration {
      output_location = "s3://${aws_s3_bucket.results.id}/"

      encryption_configuration {
        encryption_option = "SSE_S3"
      }
    }
  }
}

resource "aws_athena_named_query" "errors" {
  count = var.level_column == null ? 0 : 1

  name        = "${var.name}: events by hour and level, today"
  description = "How many events of each level there were."
  workgroup   = aws_athena_workgroup.this.id
  database    = aws_glue_catalog_database.this.name
  query       = <<-SQL
    SELECT hour, ${var.level_column} AS level, count(*) AS events
    FROM ${aws_glue_catalog_table.this.name}
    WHERE dt = date_format(current_timestamp AT TIME ZONE 'UTC', '%Y-%m-%d')
    GROUP BY 1, 2
    ORDER BY 1 DESC, 3 DESC
  SQL
}
