variable "env" {
  description = "Environment, as in NIGHTSHIFT_ENV: dev, stage or prod. Part of every name, and a tag that the policies go by."
  type        = string
  default     = "dev"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,15}$", var.env))
    error_message = "Use lower-case letters, digits and dashes, 16 at most."
  }
}

variable "region" {
  description = "Region of everything, such as us-east-1; the same as the provider's."
  type        = string
}

variable "prefix" {
  description = "Folder in the buckets that everything of Nightshift is below; without slashes at its ends."
  type        = string
  default     = "nightshift"

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9/_-]*[a-z0-9]$", var.prefix))
    error_message = "Use a folder such as nightshift or teams/ml/nightshift."
  }
}

variable "subnet_ids" {
  description = "Private subnets with a way to S3, KMS and STS. Empty: the module makes a network of its own, without a way to the internet."
  type        = list(string)
  default     = []
}

variable "tag_network" {
  description = "Give subnet_ids and their network the tag that EMR needs. False where they have it: of two environments on one network only one may own it, and takes it away when it is destroyed."
  type        = bool
  default     = true
}

variable "vpc_cidr" {
  description = "Addresses of the module's own network; not used where subnet_ids are given."
  type        = string
  default     = "10.83.0.0/20"
}

variable "emr_endpoint" {
  description = "Make the endpoint by which clusters and EMR talk. False where the network of subnet_ids has one already."
  type        = bool
  default     = true
}

variable "interface_endpoints" {
  description = "AWS services that the module's own network reaches besides EMR and S3; each costs by the hour and zone."
  type        = list(string)
  default     = ["kms", "sts"]
}

variable "kms_key_arn" {
  description = "Key for buckets and disks. Null: the module makes one."
  type        = string
  default     = null
}

variable "certificates" {
  description = "s3:// URI of a zip with PEM certificates, for TLS between the nodes. Null: no TLS between them."
  type        = string
  default     = null
}

variable "runtime_role" {
  description = "Let steps run as a role of their own instead of the nodes' role."
  type        = bool
  default     = false
}

variable "airflow_role_name" {
  description = "Role that Airflow's tasks run as (such as the execution role of an MWAA environment). Null: the module makes one."
  type        = string
  default     = null
}

variable "orchestrator_services" {
  description = "Who may take on the role that the module makes for Airflow."
  type        = list(string)
  default     = ["ec2.amazonaws.com"]
}

variable "log_days" {
  description = "After so many days logs of clusters are deleted."
  type        = number
  default     = 90
}

variable "tags" {
  description = "More tags for everything, such as cost_center."
  type        = map(string)
  default     = {}
}
