# Inputs: the cluster's name, the location of its nodes, and the image. Inputs with the same meaning
# as in the well-known NAT modules have the same names; docs/migration.md compares them.

variable "name" {
  description = "The cluster's name: the value of the tag natha:cluster, and the prefix of all resource names."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9._-]{1,32}$", var.name))
    error_message = "Use 1 to 32 letters, digits, dots, underscores and hyphens, as in \"blue\"."
  }
}

variable "vpc_id" {
  description = "The VPC of the nodes and the private subnets."
  type        = string
}

variable "vpc_az_maps" {
  description = "One entry per node, two to sixteen: its zone, its public subnet, and the route tables of the private subnets whose home it is. The list of route tables may be empty."
  type = list(object({
    az               = string
    public_subnet_id = string
    route_table_ids  = list(string)
  }))

  validation {
    condition     = length(var.vpc_az_maps) >= 2 && length(var.vpc_az_maps) <= 16
    error_message = "Use 2 to 16 zones: a single node has no peer to cover for it, and natha supports at most 16 nodes."
  }

  validation {
    condition     = length(distinct(var.vpc_az_maps[*].az)) == length(var.vpc_az_maps)
    error_message = "Use each zone only once: the node is named after it."
  }
}

variable "update_route_tables" {
  description = "Whether to tag the route tables with natha:cluster. Without the tag natha does not change them, so that you can test the nodes before they carry traffic."
  type        = bool
  default     = true
}

variable "ami_id" {
  description = "An image with natha, built with ami/natha.pkr.hcl."
  type        = string
}

variable "instance_type" {
  description = "The instance type. It must match the image's architecture."
  type        = string
  default     = "t4g.micro"
}

variable "use_autoscaling_groups" {
  description = "Whether an Auto Scaling group of one instance keeps each node running, instead of natha's own repair: a failed instance is then terminated and replaced, not stopped and started."
  type        = bool
  default     = false
}

variable "use_spot_instances" {
  description = "Whether to use Spot instances. Requires use_autoscaling_groups, because interrupted instances must be replaced."
  type        = bool
  default     = false
}

variable "eip_allocation_ids" {
  description = "The allocation ids of the nodes' Elastic IPs, in the order of vpc_az_maps. Empty: the module allocates them."
  type        = list(string)
  default     = []
}

variable "egress_ips" {
  description = "How many fixed public addresses the private hosts of a zone have, whichever node serves them, such as { \"eu-west-1a\" = 1 }. The module allocates them. A zone that is not listed has none."
  type        = map(number)
  default     = {}
}

variable "egress_allocation_ids" {
  description = "The allocation ids of existing Elastic IPs for the private hosts of a zone, such as { \"eu-west-1a\" = [\"eipalloc-0123456789abcdef0\"] }. They keep these addresses whichever node serves them."
  type        = map(list(string))
  default     = {}
}

variable "egress_mode" {
  description = "What new connections of private hosts do until their fixed addresses have arrived on the node that took over: with eager they leave by the node's own address, with strict they wait."
  type        = string
  default     = "eager"

  validation {
    condition     = contains(["eager", "strict"], var.egress_mode)
    error_message = "Use eager or strict."
  }
}

variable "ingress_security_group_cidr_blocks" {
  description = "The source networks that the nodes accept. Empty: all blocks of the VPC."
  type        = list(string)
  default     = []
}

variable "additional_security_group_ids" {
  description = "Additional security groups of the nodes."
  type        = list(string)
  default     = []
}

variable "encryption" {
  description = "Whether to encrypt the root volumes."
  type        = bool
  default     = true
}

variable "kms_key_id" {
  description = "The ARN of the KMS key for the root volumes. Null: the account's default key for EBS. With any other key, the role may start instances; an Auto Scaling group needs a grant for the key."
  type        = string
  default     = null
}

variable "attach_ssm_policy" {
  description = "Whether to allow the role what Session Manager needs. The image needs the SSM agent, which the images from ami/ do not have."
  type        = bool
  default     = false
}

variable "key_parameter" {
  description = "The SSM parameter of type SecureString with the cluster key, such as /natha/blue/key. Empty: heartbeats are not authenticated. The image needs the AWS CLI."
  type        = string
  default     = ""

  validation {
    condition     = var.key_parameter == "" || can(regex("^/[A-Za-z0-9_./-]+$", var.key_parameter))
    error_message = "Use a parameter name such as \"/natha/blue/key\"."
  }
}

variable "settings" {
  description = "natha settings that can be tags, without the prefix natha:, such as { \"hand_back.hold\" = \"1m\" }."
  type        = map(string)
  default     = {}
}

variable "sns_topic_arn" {
  description = "The ARN of the SNS topic to which the nodes publish notices of changes and alerts. Empty: none."
  type        = string
  default     = ""

  validation {
    condition     = var.sns_topic_arn == "" || can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}$", var.sns_topic_arn))
    error_message = "Use the ARN of a standard topic, such as \"arn:aws:sns:eu-west-1:123456789012:alerts\"."
  }
}

variable "metrics_cidr_blocks" {
  description = "The networks whose Prometheus may read the nodes' metrics, on TCP port 6285. Empty: each node serves its metrics to itself alone. Private hosts whose traffic the nodes accept can read them, too."
  type        = list(string)
  default     = []
}

variable "alarm_actions" {
  description = "ARNs to notify when EC2's status checks of a node fail, usually of one SNS topic. Empty: no alarms."
  type        = list(string)
  default     = []
}

variable "tags" {
  description = "Additional tags for all resources."
  type        = map(string)
  default     = {}
}
