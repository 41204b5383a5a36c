# A new VPC by terraform-aws-modules/vpc, with natha in the place of its NAT gateways.
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

variable "azs" {
  description = "The zones."
  type        = list(string)
  default     = ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
}

locals {
  cluster = "blue"
  network = "10.0.0.0/16"
}

# Without gateways, the module makes one private route table for each private subnet and no default
# route in it. The tag makes these routes natha's; the module would remove a tag that it does not
# know.
module "vpc" {
  source  = "terraform-aws-modules/vpc/aws"
  version = "~> 6.0"

  name                     = local.cluster
  cidr                     = local.network
  azs                      = var.azs
  public_subnets           = [for number, az in var.azs : cidrsubnet(local.network, 8, number)]
  private_subnets          = [for number, az in var.azs : cidrsubnet(local.network, 4, 8 + number)]
  enable_nat_gateway       = false
  private_route_table_tags = { "natha:cluster" = local.cluster }
}

module "natha" {
  source = "../.."

  name             = local.cluster
  vpc_id           = module.vpc.vpc_id
  instance_type    = "c7gn.medium"
  tag_route_tables = false

  # The lists are in the order of the zones; natha's keys are the zones themselves.
  vpc_az_maps = {
    for number, az in var.azs : az => {
      public_subnet_id = module.vpc.public_subnets[number]
      route_table_ids  = { private = module.vpc.private_route_table_ids[number] }
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
