# From a NAT gateway in each zone to natha, one step at a time, with the gateways' public addresses
# kept. README.md has the steps; three of them are inputs.

terraform {
  # `removed` blocks need 1.7.
  required_version = ">= 1.7"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0"
    }
  }
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "zones" {
  description = "The zones: each has the public subnet of its gateway, and the route tables of its private subnets by keys of your own."
  type = map(object({
    public_subnet_id = string
    route_table_ids  = map(string)
  }))
}

variable "tag_route_tables" {
  description = "Whether the route tables have natha's tag. From then on it covers each table that `natha adopt` moves."
  type        = bool
  default     = false
}

variable "keep_gateways" {
  description = "Whether the gateways exist: they are the way back."
  type        = bool
  default     = true
}

variable "keep_addresses" {
  description = "Whether the private hosts of each zone have the address of its former gateway. The gateways must be gone: an address is in one place at a time."
  type        = bool
  default     = false
}

# Your own resources. The addresses are worth more than the gateways: Terraform refuses a plan that
# would release one.
resource "aws_eip" "nat" {
  for_each = var.zones

  domain = "vpc"
  tags   = { "Name" = "nat-${each.key}" }

  lifecycle {
    prevent_destroy = true
    # natha's tags, which its module sets.
    ignore_changes = [tags["natha:cluster"], tags["natha:group"], tags["natha:egress"]]
  }
}

resource "aws_nat_gateway" "this" {
  for_each = var.keep_gateways ? var.zones : {}

  allocation_id = aws_eip.nat[each.key].allocation_id
  subnet_id     = each.value.public_subnet_id
  tags          = { "Name" = "nat-${each.key}" }
}

# Before natha, aws_route.private led each table to its gateway. Terraform forgets these routes and
# does not delete them: natha moves them.
removed {
  from = aws_route.private

  lifecycle {
    destroy = false
  }
}

module "natha" {
  source = "../.."

  name             = "blue"
  vpc_id           = var.vpc_id
  instance_type    = "c7gn.medium"
  tag_route_tables = var.tag_route_tables

  vpc_az_maps = {
    for key, zone in var.zones : key => merge(zone, {
      egress_allocation_ids = var.keep_addresses ? { gateway = aws_eip.nat[key].allocation_id } : {}
    })
  }
}

output "nat_instance_eips" {
  description = "The nodes' own addresses. Add them to allow lists before the first table moves."
  value       = module.natha.nat_instance_eips
}

output "verify_commands" {
  description = "Commands that show whether the nodes work."
  value       = module.natha.verify_commands
}
