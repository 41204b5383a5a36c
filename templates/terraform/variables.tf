# What there is to say: the cluster's name, where its nodes stand, and the image. The inputs have the
# names of the well-known NAT modules where they mean the same; docs/migration.md compares them.

variable "name" {
  description = "The cluster's name: the value of the tag natha:cluster, and the start of the names of what is made here."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9._-]{1,32}$", var.name))
    error_message = "Use 1 to 32 letters, digits, dots, underscores and hyphens, as in \"blue\"."
  }
}

variable "vpc_id" {
  description = "The VPC that the nodes and the private subnets are in."
  type        = string
}

variable "vpc_az_maps" {
  description = "One node each: its zone, the public subnet it stands in, and the route tables of the private subnets that are at home there. Two to sixteen. One zone may have none of the tables."
  type = list(object({
    az               = string
    public_subnet_id = string
    route_table_ids  = list(string)
  }))

  validation {
    condition     = length(var.vpc_az_maps) >= 2 && length(var.vpc_az_maps) <= 16
    error_message = "Name 2 to 16 zones: one node alone has nobody to cover for it, and natha knows no more than 16."
  }

  validation {
    condition     = length(distinct(var.vpc_az_maps[*].az)) == length(var.vpc_az_maps)
    error_message = "Name each zone once: its node is called after it."
  }
}

variable "update_route_tables" {
  description = "Whether the route tables get the tag natha:cluster. Without it natha does not touch them, so that nodes can be looked at before they carry anything."
  type        = bool
  default     = true
}

variable "ami_id" {
  description = "An image with natha, made with ami/natha.pkr.hcl."
  type        = string
}

variable "instance_type" {
  description = "The instances' type. It must fit the image's architecture."
  type        = string
  default     = "t4g.micro"
}

variable "use_autoscaling_groups" {
  description = "Whether an Auto Scaling group of one keeps each node in place of natha's own repair: a failed instance is then terminated and replaced, not stopped and started."
  type        = bool
  default     = false
}

variable "use_spot_instances" {
  description = "Whether the nodes are Spot instances. Needs use_autoscaling_groups: what EC2 interrupts must be replaced."
  type        = bool
  default     = false
}

variable "eip_allocation_ids" {
  description = "The nodes' Elastic IPs by their allocation ids, in the order of vpc_az_maps. Empty: they are allocated here."
  type        = list(string)
  default     = []
}

variable "ingress_security_group_cidr_blocks" {
  description = "Whose traffic the nodes take in. Empty: all blocks of the VPC."
  type        = list(string)
  default     = []
}

variable "additional_security_group_ids" {
  description = "Further security groups of the nodes."
  type        = list(string)
  default     = []
}

variable "encryption" {
  description = "Whether the root volumes are encrypted."
  type        = bool
  default     = true
}

variable "kms_key_id" {
  description = "The ARN of the key they are encrypted with. Null: the account's own for EBS. The role is allowed to start instances with any other; an Auto Scaling group needs a grant to use it."
  type        = string
  default     = null
}

variable "attach_ssm_policy" {
  description = "Whether the role may do what Session Manager needs. The image needs its agent, which those of ami/ have not."
  type        = bool
  default     = false
}

variable "key_parameter" {
  description = "The SecureString parameter of SSM with the cluster's key, such as /natha/blue/key. Empty: heartbeats are not authenticated. The image needs the AWS CLI."
  type        = string
  default     = ""

  validation {
    condition     = var.key_parameter == "" || can(regex("^/[A-Za-z0-9_./-]+$", var.key_parameter))
    error_message = "Write a parameter's name such as \"/natha/blue/key\"."
  }
}

variable "settings" {
  description = "Settings of natha that may be tags, without the natha: before them, such as { \"hand_back.hold\" = \"1m\" }."
  type        = map(string)
  default     = {}
}

variable "alarm_actions" {
  description = "Who is told when EC2's status checks of a node fail: ARNs, usually of one SNS topic. Empty: no alarms."
  type        = list(string)
  default     = []
}

variable "tags" {
  description = "Further tags of all that is made here."
  type        = map(string)
  default     = {}
}
