# The instances: standalone, or each in an Auto Scaling group of one.
#
# A new image or type changes only the launch template. It does not replace the nodes, because all
# would be replaced at once. docs/templates.md describes how to replace one node at a time.

resource "aws_instance" "this" {
  for_each = var.use_autoscaling_groups ? {} : local.nodes

  source_dest_check = false
  tags              = local.node_tags[each.key]

  launch_template {
    id      = aws_launch_template.this[each.key].id
    version = "$Latest"
  }

  # The new instance starts before the old one is terminated. Meanwhile both are members.
  lifecycle {
    create_before_destroy = true
    ignore_changes        = [launch_template]
  }

  depends_on = [aws_iam_role_policy.natha]
}

# In a group: what each instance inherits from the previous one.
resource "aws_network_interface" "this" {
  for_each = var.use_autoscaling_groups ? local.nodes : {}

  description       = "The node of the natha cluster ${var.name} in ${each.key}"
  subnet_id         = each.value.public_subnet_id
  security_groups   = local.security_group_ids
  source_dest_check = false
  tags              = local.node_tags[each.key]
}

resource "aws_autoscaling_group" "this" {
  for_each = var.use_autoscaling_groups ? local.nodes : {}

  name_prefix = "${var.name}-${each.key}-"

  # Only the zone: the subnet comes from the launch template's interface.
  availability_zones = [each.key]
  min_size           = 1
  max_size           = 1
  desired_capacity   = 1
  health_check_type  = "EC2"

  launch_template {
    id      = aws_launch_template.this[each.key].id
    version = "$Latest"
  }

  tag {
    key                 = "natha:cluster"
    value               = var.name
    propagate_at_launch = false
  }

  depends_on = [aws_iam_role_policy.natha, aws_eip_association.this]
}

resource "aws_eip" "this" {
  for_each = length(var.eip_allocation_ids) > 0 ? {} : local.nodes

  domain = "vpc"
  tags   = local.node_tags[each.key]
}

resource "aws_eip_association" "this" {
  for_each = local.nodes

  allocation_id = (
    length(var.eip_allocation_ids) > 0
    ? local.given_eips[each.key]
    : aws_eip.this[each.key].allocation_id
  )
  instance_id          = var.use_autoscaling_groups ? null : aws_instance.this[each.key].id
  network_interface_id = var.use_autoscaling_groups ? aws_network_interface.this[each.key].id : null
  allow_reassociation  = true

  lifecycle {
    create_before_destroy = true

    precondition {
      condition     = length(var.eip_allocation_ids) == 0 || length(var.eip_allocation_ids) == length(var.vpc_az_maps)
      error_message = "Set eip_allocation_ids to one Elastic IP per entry of vpc_az_maps, or leave it empty."
    }
  }
}

# The fixed addresses of private hosts. natha associates them: Terraform must not.
resource "aws_eip" "egress" {
  for_each = local.egress_made

  domain = "vpc"
  tags   = local.egress_tags[each.key]

  lifecycle {
    precondition {
      condition     = contains(var.vpc_az_maps[*].az, each.value)
      error_message = "Name only zones of vpc_az_maps in egress_ips."
    }
  }
}

resource "aws_ec2_tag" "egress" {
  for_each = local.egress_given

  resource_id = each.value.id
  key         = each.value.tag
  value       = each.value.value
}

# From here on natha manages the table's default route.
resource "aws_ec2_tag" "table" {
  for_each = var.update_route_tables ? local.tables : {}

  resource_id = each.value
  key         = "natha:cluster"
  value       = var.name

  depends_on = [aws_instance.this, aws_autoscaling_group.this]
}
