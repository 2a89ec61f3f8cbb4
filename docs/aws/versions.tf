terraform {
  required_version = ">= 1.6"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.60"
    }
  }
}

data "aws_caller_identity" "here" {}
data "aws_partition" "here" {}

locals {
  account   = data.aws_caller_identity.here.account_id
  partition = data.aws_partition.here.partition
  name      = "nightshift-${var.env}"

  # The service policy of EMR touches nothing without this tag.
  managed = { "for-use-with-amazon-emr-managed-policies" = "true" }
  tags    = merge(var.tags, { project = "nightshift", env = var.env })

  # Everything that a file in policies/ may mention.
  names = {
    account            = local.account
    partition          = local.partition
    region             = var.region
    env                = var.env
    data_bucket        = local.buckets.data
    code_bucket        = local.buckets.code
    logs_bucket        = local.buckets.logs
    prefix             = var.prefix
    key                = local.key
    service_role       = "${local.name}-emr-service"
    node_role          = "${local.name}-emr-node"
    job_role           = "${local.name}-emr-job"
    orchestrator_arn   = local.orchestrator_arn
    orchestrator_trust = jsonencode(var.orchestrator_services)

    # Where EMR keeps what clusters start from, and what they tell EMR itself; two regions have names of their own.
    instance_data = var.region == "ap-southeast-2" ? "aws157-instance-data-bucket" : "aws157-instance-data"
    system_logs   = var.region == "us-east-1" ? "aws157-logs-prod" : "aws157-logs-prod-${var.region}"
  }
}
