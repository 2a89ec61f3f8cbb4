# A network without a way to the internet, in two zones, unless subnets are given.

locals {
  own_network = length(var.subnet_ids) == 0
  zones       = local.own_network ? slice(data.aws_availability_zones.here[0].names, 0, 2) : []
  subnets     = local.own_network ? [for subnet in aws_subnet.own : subnet.id] : var.subnet_ids
  vpc         = local.own_network ? aws_vpc.own[0].id : data.aws_subnet.given[var.subnet_ids[0]].vpc_id
  vpc_cidr    = local.own_network ? var.vpc_cidr : data.aws_vpc.given[0].cidr_block

  # Releases of the line for Spark 8 talk to EMR by an endpoint of its own, which has to be there before the cluster is.
  emr_endpoint = var.emr_endpoint ? { emr = "aws.api.${var.region}.emr-service-cell01" } : {}
  services     = local.own_network ? { for name in var.interface_endpoints : name => "com.amazonaws.${var.region}.${name}" } : {}
}

data "aws_availability_zones" "here" {
  count = local.own_network ? 1 : 0
  state = "available"

  # No local zones: an account may have opted in to some, and they lack instance types and endpoints.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

data "aws_subnet" "given" {
  for_each = toset(var.subnet_ids)
  id       = each.value
}

data "aws_vpc" "given" {
  count = local.own_network ? 0 : 1
  id    = data.aws_subnet.given[var.subnet_ids[0]].vpc_id
}

# EMR's service policy takes only subnets, and makes security groups only in networks, that have the tag.
resource "aws_ec2_tag" "subnet" {
  for_each = var.tag_network ? toset(var.subnet_ids) : toset([])

  resource_id = each.value
  key         = "for-use-with-amazon-emr-managed-policies"
  value       = "true"
}

resource "aws_ec2_tag" "vpc" {
  count = var.tag_network && !local.own_network ? 1 : 0

  resource_id = local.vpc
  key         = "for-use-with-amazon-emr-managed-policies"
  value       = "true"
}

resource "aws_vpc" "own" {
  count = local.own_network ? 1 : 0

  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = merge(local.tags, local.managed, { Name = local.name })
}

# Nobody has a reason to use it.
resource "aws_default_security_group" "own" {
  count  = local.own_network ? 1 : 0
  vpc_id = aws_vpc.own[0].id
}

resource "aws_subnet" "own" {
  count = length(local.zones)

  vpc_id            = aws_vpc.own[0].id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(var.vpc_cidr, 1, count.index)
  tags              = merge(local.tags, local.managed, { Name = "${local.name}-${local.zones[count.index]}" })
}

resource "aws_route_table" "own" {
  count = local.own_network ? 1 : 0

  vpc_id = aws_vpc.own[0].id
  tags   = merge(local.tags, { Name = local.name })
}

resource "aws_route_table_association" "own" {
  count = length(local.zones)

  subnet_id      = aws_subnet.own[count.index].id
  route_table_id = aws_route_table.own[0].id
}

resource "aws_vpc_endpoint" "s3" {
  count = local.own_network ? 1 : 0

  vpc_id            = aws_vpc.own[0].id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [aws_route_table.own[0].id]
  policy            = templatefile("${path.module}/policies/s3-endpoint.json", local.names)
  tags              = merge(local.tags, { Name = "${local.name}-s3" })
}

resource "aws_security_group" "endpoints" {
  name        = "${local.name}-endpoints"
  description = "AWS services, from inside this network"
  vpc_id      = local.vpc
  tags        = local.tags

  ingress {
    description = "HTTPS from this network"
    from_port   = 443
    to_port     = 443
    protocol    = "tcp"
    cidr_blocks = [local.vpc_cidr]
  }
}

resource "aws_vpc_endpoint" "services" {
  for_each = merge(local.emr_endpoint, local.services)

  vpc_id              = local.vpc
  service_name        = each.value
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = local.subnets
  security_group_ids  = [aws_security_group.endpoints.id]
  tags                = merge(local.tags, local.managed, { Name = "${local.name}-${each.key}" })
}
