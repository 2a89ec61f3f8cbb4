# Four roles: EMR itself, its nodes, jobs (only with runtime_role), and Airflow.

locals {
  orchestrator     = var.airflow_role_name != null ? var.airflow_role_name : "${local.name}-orchestrator"
  orchestrator_arn = var.airflow_role_name != null ? data.aws_iam_role.airflow[0].arn : "arn:${local.partition}:iam::${local.account}:role/${local.orchestrator}"
}

data "aws_iam_role" "airflow" {
  count = var.airflow_role_name != null ? 1 : 0
  name  = var.airflow_role_name
}

resource "aws_iam_role" "service" {
  name               = local.names.service_role
  assume_role_policy = templatefile("${path.module}/policies/trust-service.json", local.names)
  tags               = local.tags
}

resource "aws_iam_role_policy_attachment" "service" {
  role       = aws_iam_role.service.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2"
}

resource "aws_iam_role_policy" "service" {
  name   = "nodes-and-disks"
  role   = aws_iam_role.service.id
  policy = templatefile("${path.module}/policies/service.json", local.names)
}

resource "aws_iam_role" "node" {
  name               = local.names.node_role
  assume_role_policy = templatefile("${path.module}/policies/trust-node.json", local.names)
  tags               = local.tags
}

resource "aws_iam_role_policy" "node" {
  name   = "code-and-logs"
  role   = aws_iam_role.node.id
  policy = templatefile("${path.module}/policies/node.json", local.names)
}

resource "aws_iam_instance_profile" "node" {
  name = local.names.node_role
  role = aws_iam_role.node.name
  tags = local.tags
}

# Steps read and write storage as the nodes, or as a role of their own.
resource "aws_iam_policy" "storage" {
  name   = "${local.name}-storage"
  policy = templatefile("${path.module}/policies/storage.json", local.names)
  tags   = local.tags
}

resource "aws_iam_role_policy_attachment" "node_storage" {
  count = var.runtime_role ? 0 : 1

  role       = aws_iam_role.node.name
  policy_arn = aws_iam_policy.storage.arn
}

resource "aws_iam_role" "job" {
  count = var.runtime_role ? 1 : 0

  name               = local.names.job_role
  assume_role_policy = templatefile("${path.module}/policies/trust-job.json", local.names)
  depends_on         = [aws_iam_role.node] # a trust names roles that are there
  tags               = local.tags
}

resource "aws_iam_role_policy" "job" {
  count = var.runtime_role ? 1 : 0

  name   = "code"
  role   = aws_iam_role.job[0].id
  policy = templatefile("${path.module}/policies/job.json", local.names)
}

resource "aws_iam_role_policy_attachment" "job_storage" {
  count = var.runtime_role ? 1 : 0

  role       = aws_iam_role.job[0].name
  policy_arn = aws_iam_policy.storage.arn
}

resource "aws_iam_role_policy" "node_runtime" {
  count = var.runtime_role ? 1 : 0

  name   = "take-on-the-job-role"
  role   = aws_iam_role.node.id
  policy = templatefile("${path.module}/policies/node-runtime.json", local.names)
}

resource "aws_iam_role" "orchestrator" {
  count = var.airflow_role_name == null ? 1 : 0

  name               = local.orchestrator
  assume_role_policy = templatefile("${path.module}/policies/trust-orchestrator.json", local.names)
  tags               = local.tags
}

resource "aws_iam_policy" "orchestrator" {
  name   = "${local.name}-orchestrator"
  policy = templatefile("${path.module}/policies/orchestrator.json", local.names)
  tags   = local.tags
}

resource "aws_iam_role_policy_attachment" "orchestrator" {
  for_each = { emr = aws_iam_policy.orchestrator.arn, storage = aws_iam_policy.storage.arn }

  role       = local.orchestrator
  policy_arn = each.value
  depends_on = [aws_iam_role.orchestrator]
}
