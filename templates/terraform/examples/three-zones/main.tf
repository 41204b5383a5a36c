# Three zones of a VPC that is there already, in Auto Scaling groups, with a key for the heartbeats,
# an alarm and notices. The module tags the route tables.
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

variable "ami_id" {
  description = "An image with natha and the AWS CLI."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "vpc_az_maps" {
  description = "The three zones, each with its public subnet and its private subnets' route tables."
  type = map(object({
    public_subnet_id = string
    route_table_ids  = map(string)
  }))

  validation {
    condition     = length(var.vpc_az_maps) == 3
    error_message = "Name three zones."
  }
}

variable "key_parameter" {
  description = "The SecureString parameter of SSM with the cluster's key."
  type        = string
  default     = "/natha/blue/key"
}

resource "aws_sns_topic" "alarms" {
  name = "natha-blue"
}

module "natha" {
  source = "../.."

  name                   = "blue"
  vpc_id                 = var.vpc_id
  vpc_az_maps            = var.vpc_az_maps
  ami_id                 = var.ami_id
  instance_type          = "c7gn.medium"
  use_autoscaling_groups = true
  key_parameter          = var.key_parameter
  alarm_actions          = [aws_sns_topic.alarms.arn]
  sns_topic_arn          = aws_sns_topic.alarms.arn
}

output "nat_instance_eips" {
  description = "The addresses that the private subnets are seen by."
  value       = module.natha.nat_instance_eips
}

output "autoscaling_group_names" {
  description = "The groups, for replacing one node at a time."
  value       = module.natha.autoscaling_group_names
}

output "verify_commands" {
  description = "Commands that show whether the nodes work."
  value       = module.natha.verify_commands
}
