output "name" {
  description = "The cluster's name, the value of the tag natha:cluster."
  value       = var.name
}

output "egress_ips" {
  description = "The fixed public addresses of private hosts that the module allocated, by zone and number, for allow lists."
  value       = { for key, it in aws_eip.egress : key => it.public_ip }
}

output "nat_instance_eips" {
  description = "The nodes' public addresses by zone, for allow lists: traffic of hosts without a fixed address may come from any of them."
  value       = { for az, it in aws_eip_association.this : az => it.public_ip }
}

output "instance_ids" {
  description = "The instances by zone. Empty with Auto Scaling groups, where they come and go."
  value       = { for az, it in aws_instance.this : az => it.id }
}

output "eni_ids" {
  description = "The network interfaces by zone, for moving a default route by hand."
  value = merge(
    { for az, it in aws_instance.this : az => it.primary_network_interface_id },
    { for az, it in aws_network_interface.this : az => it.id },
  )
}

output "autoscaling_group_names" {
  description = "The Auto Scaling groups by zone, if any."
  value       = { for az, it in aws_autoscaling_group.this : az => it.name }
}

output "launch_template_ids" {
  description = "The launch templates by zone."
  value       = { for az, it in aws_launch_template.this : az => it.id }
}

output "security_group_id" {
  description = "The nodes' security group."
  value       = aws_security_group.this.id
}

output "role_arn" {
  description = "The ARN of the nodes' role."
  value       = aws_iam_role.this.arn
}

output "role_name" {
  description = "The name of the nodes' role."
  value       = aws_iam_role.this.name
}

output "instance_profile_arn" {
  description = "The ARN of the nodes' instance profile."
  value       = aws_iam_instance_profile.this.arn
}
