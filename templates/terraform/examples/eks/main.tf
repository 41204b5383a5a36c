# natha for an EKS cluster whose pods have addresses of a secondary block of the VPC, such as
# 100.64.0.0/16, in subnets of their own. The CNI's own setting is in README.md.
#
#   terraform init && terraform apply -var-file=my.tfvars

terraform {
  required_version = ">= 1.3"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0"
    }
  }
}

variable "cluster_name" {
  description = "The EKS cluster, for the name of natha's."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "zones" {
  description = "The zones: each has a public subnet, and the route tables of the subnets of the worker nodes and of the pods."
  type = map(object({
    public_subnet_id      = string
    worker_route_table_id = string
    pod_route_table_id    = string
  }))
}

# The nodes accept and translate all blocks of the VPC, the secondary ones among them.
module "natha" {
  source = "../.."

  name          = "eks-${var.cluster_name}"
  vpc_id        = var.vpc_id
  instance_type = "c7gn.medium"

  # Both tables of a zone move together.
  vpc_az_maps = {
    for key, zone in var.zones : key => {
      public_subnet_id = zone.public_subnet_id
      route_table_ids  = { workers = zone.worker_route_table_id, pods = zone.pod_route_table_id }
    }
  }
}

output "nat_instance_eips" {
  description = "The addresses that workers and pods are seen by."
  value       = module.natha.nat_instance_eips
}

output "verify_commands" {
  description = "Commands that show whether the nodes work."
  value       = module.natha.verify_commands
}
