# Encryption on disk and in S3, and the metadata service of nodes by tokens only.

locals {
  tls = var.certificates == null ? {} : {
    InTransitEncryptionConfiguration = {
      TLSCertificateConfiguration = {
        CertificateProviderType = "PEM"
        S3Object                = var.certificates
      }
    }
  }

  encryption = merge(local.tls, {
    EnableInTransitEncryption = var.certificates != null
    EnableAtRestEncryption    = true
    AtRestEncryptionConfiguration = {
      S3EncryptionConfiguration = {
        EncryptionMode = "SSE-KMS"
        AwsKmsKey      = local.key
      }
      LocalDiskEncryptionConfiguration = {
        EncryptionKeyProviderType = "AwsKms"
        AwsKmsKey                 = local.key
        EnableEbsEncryption       = true
      }
    }
  })
}

resource "aws_emr_security_configuration" "all" {
  name_prefix = "${local.name}-"

  configuration = jsonencode({
    EncryptionConfiguration = local.encryption
    InstanceMetadataServiceConfiguration = {
      MinimumInstanceMetadataServiceVersion = 2
      HttpPutResponseHopLimit               = 1
    }
    AuthorizationConfiguration = {
      IAMConfiguration = {
        EnableApplicationScopedIAMRole = var.runtime_role
      }
    }
  })

  lifecycle {
    create_before_destroy = true
  }
}
