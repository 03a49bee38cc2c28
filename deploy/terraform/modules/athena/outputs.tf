output "workgroup" {
  description = "The workgroup, which has a limit on what a query reads."
  value       = aws_athena_workgroup.this.name
}

output "glue_table" {
  description = "The table, for Firehose's Parquet."
  value = {
    database = aws_glue_catalog_database.this.name
    table    = aws_glue_catalog_table.this.name
  }
}
