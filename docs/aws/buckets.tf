# Three buckets: data (storage), code (what nodes run), logs (what clusters say).

locals {
  kinds   = toset(["data", "code", "logs"])
  buckets = { for kind in local.kinds : kind => "${local.name}-${kind}-${local.account}-${var.region}" }
  key     = var.kms_key_arn != null ? var.kms_key_arn : aws_kms_key.own[0].arn
}

resource "aws_kms_key" "own" {
  count = var.kms_key_arn == null ? 1 : 0

  description             = "${local.name}: buckets and the disks of EMR clusters"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  tags                    = local.tags
}

# Spot instances are started by a role of AWS's own, which may use no key of ours unless it is told so. It has to be there.
resource "aws_kms_grant" "spot" {
  name              = "${local.name}-spot"
  key_id            = local.key
  grantee_principal = "arn:${local.partition}:iam::${local.account}:role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"
  operations = [
    "CreateGrant",
    "Decrypt",
    "DescribeKey",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "ReEncryptFrom",
    "ReEncryptTo",
  ]
}

resource "aws_s3_bucket" "each" {
  for_each = local.buckets

  bucket = each.value
  tags   = local.tags
}

resource "aws_s3_bucket_public_access_block" "each" {
  for_each = aws_s3_bucket.each

  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "each" {
  for_each = aws_s3_bucket.each

  bucket = each.value.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "each" {
  for_each = aws_s3_bucket.each

  bucket = each.value.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = local.key
    }
  }
}

resource "aws_s3_bucket_versioning" "each" {
  for_each = aws_s3_bucket.each

  bucket = each.value.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_policy" "each" {
  for_each = aws_s3_bucket.each

  bucket     = each.value.id
  policy     = templatefile("${path.module}/policies/bucket.json", merge(local.names, { bucket = each.value.id }))
  depends_on = [aws_s3_bucket_public_access_block.each]
}

resource "aws_s3_bucket_lifecycle_configuration" "each" {
  for_each = aws_s3_bucket.each

  bucket     = each.value.id
  depends_on = [aws_s3_bucket_versioning.each]

  # What a writer that was killed has left; Nightshift's housekeeping removes its own too.
  rule {
    id     = "unfinished-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
  }

  # Housekeeping deletes what nothing needs any more; this is how long that can be undone.
  rule {
    id     = "deleted-objects"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 14
    }
  }

  dynamic "rule" {
    for_each = each.key == "logs" ? [var.log_days] : []

    content {
      id     = "old-logs"
      status = "Enabled"

      filter {}

      expiration {
        days = rule.value
      }
    }
  }
}
