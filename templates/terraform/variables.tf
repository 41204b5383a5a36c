# Inputs: the cluster's name, the location of its nodes, the image and the instances. Those of the
# network and the role are in variables_access.tf. Inputs with the same meaning as in the well-known
# NAT modules have the same names; docs/migration.md compares them.

variable "name" {
  description = "The cluster's name: the value of the tag natha:cluster, and the prefix of all resource names."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9._-]{1,32}$", var.name))
    error_message = "Use 1 to 32 letters, digits, dots, underscores and hyphens, as in \"blue\"."
  }
}

variable "region" {
  description = "The AWS region. Null: the provider's."
  type        = string
  default     = null
}

variable "vpc_id" {
  description = "The VPC of the nodes and the private subnets."
  type        = string
}

variable "vpc_az_maps" {
  description = "The nodes, two to sixteen, by keys of your own. The key is the zone unless `az` names it. Each has a public subnet, and the route tables of the private subnets whose home it is, by keys of your own. To keep a node's public address outside the module, give it an eip_allocation_id. instance_type and ami_id override the inputs of the same name. egress_ips names fixed public addresses of the private hosts, which the module allocates; egress_allocation_ids are existing ones, by keys of your own. fallback names a NAT gateway, which gets the default routes of the node's tables while no node can serve them."
  type = map(object({
    az                    = optional(string)
    public_subnet_id      = string
    route_table_ids       = map(string)
    eip_allocation_id     = optional(string)
    instance_type         = optional(string)
    ami_id                = optional(string)
    egress_ips            = optional(set(string), [])
    egress_allocation_ids = optional(map(string), {})
    fallback              = optional(object({ nat_gateway_id = string }))
  }))

  validation {
    condition     = length(var.vpc_az_maps) >= 2 && length(var.vpc_az_maps) <= 16
    error_message = "Use 2 to 16 zones: a single node has no peer to cover for it, and natha supports at most 16 nodes."
  }

  validation {
    condition     = length(distinct([for key, node in var.vpc_az_maps : coalesce(node.az, key)])) == length(var.vpc_az_maps)
    error_message = "Use each zone only once: its private subnets have one home."
  }

  validation {
    condition     = alltrue([for key, node in var.vpc_az_maps : can(regex("^[a-zA-Z0-9._-]{1,32}$", key))])
    error_message = "Use keys of 1 to 32 letters, digits, dots, underscores and hyphens, as in \"eu-west-1a\"."
  }

  validation {
    condition     = alltrue([for key, node in var.vpc_az_maps : node.fallback == null ? true : can(regex("^nat-[0-9a-f]+$", node.fallback.nat_gateway_id))])
    error_message = "Use the id of a NAT gateway as a fallback, such as { nat_gateway_id = \"nat-0123456789abcdef0\" }."
  }
}

variable "tag_route_tables" {
  description = "Whether to tag the route tables with natha:cluster. Without the tag natha does not change them, so that you can test the nodes before they carry traffic."
  type        = bool
  default     = true
}

variable "ami_id" {
  description = "An image with natha. Null: the newest image of ami_owners that ami_name_filter matches and that fits the instance type."
  type        = string
  default     = null
}

variable "ami_owners" {
  description = "The accounts whose images are considered if there is no ami_id. self is your own."
  type        = list(string)
  default     = ["self"]

  validation {
    condition     = length(var.ami_owners) > 0
    error_message = "Name at least one account, or self: without an owner, anyone's image could match."
  }
}

variable "ami_name_filter" {
  description = "The names of the images that are considered if there is no ami_id. The default is that of ami/natha.pkr.hcl for Debian."
  type        = string
  default     = "natha-*-debian12-*"
}

variable "instance_type" {
  description = "The instance type. An image that does not fit its architecture is refused."
  type        = string
  default     = "t4g.micro"
}

variable "credit_specification" {
  description = "What an instance of type t does without processor credits: unlimited (it costs extra) or standard (it is slow). Null: EC2's default. Types without credits ignore it."
  type        = string
  default     = null

  validation {
    condition     = var.credit_specification == null || try(contains(["standard", "unlimited"], var.credit_specification), false)
    error_message = "Use standard or unlimited, or leave it out."
  }
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

variable "allocate_eips" {
  description = "Whether the module allocates an Elastic IP for each node without an eip_allocation_id. False: every node has one, possibly known only after the apply."
  type        = bool
  default     = true
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

variable "ebs_root_volume_size" {
  description = "The size of the root volumes in GiB. Null: the image's."
  type        = number
  default     = null
}

variable "ebs_root_volume_type" {
  description = "The type of the root volumes."
  type        = string
  default     = "gp3"
}

variable "encryption" {
  description = "Whether to encrypt the root volumes."
  type        = bool
  default     = true
}

variable "kms_key_id" {
  description = "The ARN of the KMS key for the root volumes. Null: the image's key, or the account's default key for EBS; if that key is customer managed, name it in volume_key_arns. An Auto Scaling group needs a grant for a customer managed key."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_id == null || can(regex("^arn:aws[a-z-]*:kms:", var.kms_key_id))
    error_message = "Use the key's ARN, such as \"arn:aws:kms:eu-west-1:123456789012:key/…\": the role's policy needs it."
  }
}

variable "volume_key_arns" {
  description = "The ARNs of customer managed KMS keys that root volumes have without kms_key_id. The role may grant them to EC2: a node whose key is missing here does not start after a repair."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.volume_key_arns : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/", arn))])
    error_message = "Use the ARNs of keys, such as \"arn:aws:kms:eu-west-1:123456789012:key/…\", not of aliases: the role's policy needs them."
  }
}

variable "cloud_init_parts" {
  description = "Further parts of the nodes' user data, such as { content_type = \"text/x-shellscript\", content = \"#!/bin/sh\\n…\" }. They change launch templates, not running nodes."
  type = list(object({
    content      = string
    content_type = string
  }))
  default = []
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
  description = "natha settings that can be tags, without the prefix natha:, such as { \"hand_back.hold\" = \"1m\" }. Keys and values are checked in the plan. Running monitors take changes at their next reload."
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
