# The instances: standalone, or each in an Auto Scaling group of one.
#
# A new image or type changes only the launch template. It does not replace the nodes, because all
# would be replaced at once. docs/templates.md describes how to replace one node at a time.

resource "aws_instance" "this" {
  for_each = var.use_autoscaling_groups ? {} : local.nodes

  region            = var.region
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

  depends_on = [aws_iam_role_policy.natha, aws_vpc_endpoint.ec2]
}

# The role's permissions on an interface depend on this tag. A launch template's tags may be lost:
# the provider launches an instance with tags of its own, and EC2 prefers what a request says. The
# interface of a new instance has the tag before the old instance ends.
resource "aws_ec2_tag" "interface" {
  for_each = var.use_autoscaling_groups ? {} : local.nodes

  region      = var.region
  resource_id = aws_instance.this[each.key].primary_network_interface_id
  key         = "natha:cluster"
  value       = var.name

  lifecycle {
    create_before_destroy = true
  }
}

# In a group: what each instance inherits from the previous one.
resource "aws_network_interface" "this" {
  for_each = var.use_autoscaling_groups ? local.nodes : {}

  region            = var.region
  description       = "The node of the natha cluster ${var.name} in ${each.key}"
  subnet_id         = each.value.public_subnet_id
  security_groups   = local.security_group_ids
  source_dest_check = false
  tags              = local.node_tags[each.key]
}

resource "aws_autoscaling_group" "this" {
  for_each = var.use_autoscaling_groups ? local.nodes : {}

  region      = var.region
  name_prefix = "${var.name}-${each.key}-"

  # Only the zone: the subnet comes from the launch template's interface.
  availability_zones = [each.value.az]
  min_size           = 1
  max_size           = 1
  desired_capacity   = 1
  health_check_type  = "EC2"

  launch_template {
    id      = aws_launch_template.this[each.key].id
    version = "$Latest"
  }

  # The instances have theirs from the launch template.
  dynamic "tag" {
    for_each = merge(var.tags, { "Name" = "${var.name}-${each.key}", "natha:cluster" = var.name })

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = false
    }
  }

  depends_on = [aws_iam_role_policy.natha, aws_eip_association.this, aws_vpc_endpoint.ec2]
}

resource "aws_eip" "this" {
  for_each = var.allocate_eips ? { for key, node in local.nodes : key => node if node.eip_allocation_id == null } : {}

  region = var.region
  domain = "vpc"
  tags   = local.node_tags[each.key]
}

resource "aws_eip_association" "this" {
  for_each = local.nodes

  region               = var.region
  allocation_id        = try(aws_eip.this[each.key].allocation_id, each.value.eip_allocation_id)
  instance_id          = var.use_autoscaling_groups ? null : aws_instance.this[each.key].id
  network_interface_id = var.use_autoscaling_groups ? aws_network_interface.this[each.key].id : null
  allow_reassociation  = true

  lifecycle {
    create_before_destroy = true

    precondition {
      condition     = var.allocate_eips || each.value.eip_allocation_id != null
      error_message = "Give ${each.key} an eip_allocation_id, or set allocate_eips = true."
    }
  }
}

# The fixed addresses of private hosts. natha associates them: Terraform must not.
resource "aws_eip" "egress" {
  for_each = local.egress_made

  region = var.region
  domain = "vpc"
  tags   = local.egress_tags[each.key]
}

resource "aws_ec2_tag" "egress" {
  for_each = local.egress_given

  region      = var.region
  resource_id = each.value.id
  key         = each.value.tag
  value       = each.value.value
}

resource "aws_ec2_tag" "fallback" {
  for_each = var.tag_route_tables ? local.fallbacks : {}

  region      = var.region
  resource_id = each.value.table
  key         = "natha:fallback"
  value       = each.value.gateway
}

# From here on natha manages the table's default route.
resource "aws_ec2_tag" "table" {
  for_each = var.tag_route_tables ? local.tables : {}

  region      = var.region
  resource_id = each.value
  key         = "natha:cluster"
  value       = var.name

  depends_on = [aws_instance.this, aws_autoscaling_group.this]
}
