output "environment" {
  description = "Variables for the machines that Airflow runs on."
  value = merge(
    {
      NIGHTSHIFT_COMPUTE                    = "emr"
      NIGHTSHIFT_ENV                        = var.env
      NIGHTSHIFT_STORAGE                    = "s3://${local.buckets.data}/${var.prefix}"
      NIGHTSHIFT_EMR_CODE                   = "s3://${local.buckets.code}/${var.prefix}"
      NIGHTSHIFT_EMR_LOG_URI                = "s3://${local.buckets.logs}/${var.prefix}"
      NIGHTSHIFT_EMR_SUBNETS                = join(",", local.subnets)
      NIGHTSHIFT_EMR_SERVICE_ROLE           = aws_iam_role.service.arn
      NIGHTSHIFT_EMR_INSTANCE_PROFILE       = aws_iam_instance_profile.node.arn
      NIGHTSHIFT_EMR_SECURITY_CONFIGURATION = aws_emr_security_configuration.all.name
      AWS_REGION                            = var.region
    },
    var.runtime_role ? { NIGHTSHIFT_EMR_RUNTIME_ROLE = aws_iam_role.job[0].arn } : {},
  )
}

output "airflow_role" {
  description = "Role that Airflow's tasks run as."
  value       = local.orchestrator_arn
}

output "key" {
  description = "Key of buckets and disks."
  value       = local.key
}
