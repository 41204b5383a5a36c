# Inputs: who may send traffic through the nodes, and what the nodes may do.

variable "ingress_security_group_cidr_blocks" {
  description = "The source networks that the nodes accept. Without them, prefix lists and source groups: all blocks of the VPC."
  type        = list(string)
  default     = []
}

variable "ingress_prefix_list_ids" {
  description = "The prefix lists whose networks the nodes accept."
  type        = list(string)
  default     = []
}

variable "ingress_security_group_ids" {
  description = "The security groups whose members' traffic the nodes accept, by keys of your own."
  type        = map(string)
  default     = {}
}

variable "additional_security_group_ids" {
  description = "Additional security groups of the nodes."
  type        = list(string)
  default     = []
}

variable "enable_ec2_endpoint" {
  description = "Whether to create an interface endpoint for EC2's API in the public subnets, with private DNS. The nodes then reach EC2 without the internet; so do all other hosts of the VPC, whose blocks the endpoint admits. The VPC needs DNS support and DNS hostnames."
  type        = bool
  default     = false
}

variable "attach_ssm_policy" {
  description = "Whether to allow the role what Session Manager needs. The image needs Session Manager's agent."
  type        = bool
  default     = true
}

variable "existing_instance_profile_name" {
  description = "An existing instance profile for the nodes. The module then creates neither a profile nor a role, and changes none: give the profile's role the policy in the output policy_json."
  type        = string
  default     = null
}

variable "existing_role_name" {
  description = "An existing role for the nodes. The module adds its policies to it, and creates an instance profile."
  type        = string
  default     = null
}

variable "iam_name_prefix" {
  description = "The prefix of the names of the role and the instance profile. Null: the cluster's name and a hyphen."
  type        = string
  default     = null

  validation {
    condition     = var.iam_name_prefix == null || can(regex("^[a-zA-Z0-9+=,.@_-]{1,38}$", var.iam_name_prefix))
    error_message = "Use 1 to 38 letters, digits and any of +=,.@_-: IAM allows no more."
  }
}

variable "iam_path" {
  description = "The path of the role and the instance profile. Null: /."
  type        = string
  default     = null

  validation {
    condition     = var.iam_path == null || can(regex("^/([!-~]+/)?$", var.iam_path))
    error_message = "Begin and end the path with a slash, as in \"/network/\"."
  }
}

variable "permissions_boundary" {
  description = "The ARN of the policy that bounds the permissions of the role that the module creates."
  type        = string
  default     = null
}

variable "additional_policy_arns" {
  description = "Further policies of the role, by keys of your own."
  type        = map(string)
  default     = {}
}
