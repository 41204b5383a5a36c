# A VPC with two zones, made here as a whole: two public subnets with a node each, two private ones
# whose default routes natha keeps, and a private host to see it from.
#
#   terraform init && terraform apply

terraform {
  required_version = ">= 1.3"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0"
    }
  }
}

variable "ami_id" {
  description = "An image with natha. Null: the newest of the account's own, as ami/natha.pkr.hcl names them."
  type        = string
  default     = null
}

variable "region" {
  description = "Where all of it is made."
  type        = string
  default     = "eu-west-1"
}

provider "aws" {
  region = var.region
}

# Not every account has the zones a and b.
data "aws_availability_zones" "here" {
  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  cluster = "blue"
  zones = {
    one = { number = 0, az = data.aws_availability_zones.here.names[0] }
    two = { number = 1, az = data.aws_availability_zones.here.names[1] }
  }
}

resource "aws_vpc" "this" {
  cidr_block           = "10.0.0.0/16"
  enable_dns_hostnames = true
  tags                 = { "Name" = local.cluster }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id
  tags   = { "Name" = "${local.cluster}-public" }
}

resource "aws_route" "public" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_subnet" "public" {
  for_each = local.zones

  vpc_id            = aws_vpc.this.id
  availability_zone = each.value.az
  cidr_block        = cidrsubnet(aws_vpc.this.cidr_block, 8, each.value.number)
  tags              = { "Name" = "${local.cluster}-public-${each.key}" }
}

resource "aws_route_table_association" "public" {
  for_each = local.zones

  subnet_id      = aws_subnet.public[each.key].id
  route_table_id = aws_route_table.public.id

  depends_on = [aws_route.public]
}

resource "aws_subnet" "private" {
  for_each = local.zones

  vpc_id            = aws_vpc.this.id
  availability_zone = each.value.az
  cidr_block        = cidrsubnet(aws_vpc.this.cidr_block, 8, 128 + each.value.number)
  tags              = { "Name" = "${local.cluster}-private-${each.key}" }
}

# The tag makes the default route natha's: there is none here, and no route blocks, which would
# remove it. As the table has its tag from here, the module need not add it.
resource "aws_route_table" "private" {
  for_each = local.zones

  vpc_id = aws_vpc.this.id
  tags   = { "Name" = "${local.cluster}-private-${each.key}", "natha:cluster" = local.cluster }
}

resource "aws_route_table_association" "private" {
  for_each = local.zones

  subnet_id      = aws_subnet.private[each.key].id
  route_table_id = aws_route_table.private[each.key].id
}

module "natha" {
  source = "../.."

  name             = local.cluster
  vpc_id           = aws_vpc.this.id
  ami_id           = var.ami_id
  tag_route_tables = false

  # The association's subnet, so that a node can reach EC2 when it starts.
  vpc_az_maps = {
    for key, zone in local.zones : key => {
      az               = zone.az
      public_subnet_id = aws_route_table_association.public[key].subnet_id
      route_table_ids  = { private = aws_route_table.private[key].id }
    }
  }
}

output "nat_instance_eips" {
  description = "The addresses that the private subnets are seen by."
  value       = module.natha.nat_instance_eips
}

output "verify_commands" {
  description = "Commands that show whether the nodes work."
  value       = module.natha.verify_commands
}
