output "name" {
  description = "The cluster's name, the value of the tag natha:cluster."
  value       = var.name
}

output "egress_ips" {
  description = "The fixed public addresses of private hosts that the module allocated, by ZONE-KEY/NAME, for allow lists."
  value       = { for key, it in aws_eip.egress : key => it.public_ip }
}

output "nat_instance_eips" {
  description = "The nodes' public addresses by key, for allow lists: traffic of hosts without a fixed address may come from any of them."
  value       = { for key, it in aws_eip_association.this : key => it.public_ip }
}

output "private_ips" {
  description = "The nodes' private addresses by key."
  value = merge(
    { for key, it in aws_instance.this : key => it.private_ip },
    { for key, it in aws_network_interface.this : key => it.private_ip },
  )
}

output "instance_ids" {
  description = "The instances by key. Empty with Auto Scaling groups, where they come and go."
  value       = { for key, it in aws_instance.this : key => it.id }
}

output "ami_ids" {
  description = "The images of new nodes by key. A running node keeps the image that it was launched with."
  value       = { for key, it in data.aws_ami.this : key => it.id }
}

output "eni_ids" {
  description = "The network interfaces by key, for moving a default route by hand."
  value = merge(
    { for key, it in aws_instance.this : key => it.primary_network_interface_id },
    { for key, it in aws_network_interface.this : key => it.id },
  )
}

output "autoscaling_group_names" {
  description = "The Auto Scaling groups by key, if any."
  value       = { for key, it in aws_autoscaling_group.this : key => it.name }
}

output "launch_template_ids" {
  description = "The launch templates by key."
  value       = { for key, it in aws_launch_template.this : key => it.id }
}

output "security_group_id" {
  description = "The nodes' security group."
  value       = aws_security_group.this.id
}

output "role_arn" {
  description = "The ARN of the nodes' role."
  value       = local.role_arn
}

output "role_name" {
  description = "The name of the nodes' role."
  value       = local.role_name
}

output "instance_profile_arn" {
  description = "The ARN of the nodes' instance profile."
  value       = local.instance_profile_arn
}

output "instance_profile_name" {
  description = "The name of the nodes' instance profile."
  value       = local.instance_profile_name
}

output "policy_json" {
  description = "The policy that the nodes' role needs, for a role of your own."
  value = local.needs_volume_key ? jsonencode(merge(jsondecode(local.policy), {
    Statement = concat(jsondecode(local.policy).Statement, [local.volume_key_statement])
  })) : local.policy
}

output "verify_commands" {
  description = "Commands that show whether the cluster works, by what they show: the nodes, the route tables, and natha's status on each node."
  value       = merge(local.verify_lists, local.verify_status)
}
