# A natha cluster: one node per zone. The nodes cover for each other.
#
# natha manages the default routes of the private subnets. Terraform must not, because it would
# point them back to a failed node. This module creates the nodes and the tags by which natha finds
# them.

data "aws_vpc" "this" {
  id = var.vpc_id
}

data "aws_ami" "this" {
  filter {
    name   = "image-id"
    values = [var.ami_id]
  }
}

locals {
  nodes = { for node in var.vpc_az_maps : node.az => node }

  # Keys that are known before the tables exist.
  tables = merge([
    for node in var.vpc_az_maps : {
      for place, id in node.route_table_ids : "${node.az}/${place}" => id
    }
  ]...)

  # If there are too few, aws_eip_association reports it.
  given_eips = {
    for place, node in var.vpc_az_maps : node.az => try(var.eip_allocation_ids[place], "")
  }

  # The groups of the tables in a zone are named after it.
  egress_made = { for one in flatten([
    for az, count in var.egress_ips : [for place in range(count) : { key = "${az}/${place}", az = az }]
  ]) : one.key => one.az }

  egress_tags = { for key, az in local.egress_made : key => merge(
    var.tags,
    { "Name" = "${var.name}-egress-${key}", "natha:cluster" = var.name },
    { "natha:group" = az, "natha:egress" = var.egress_mode },
  ) }

  egress_given = { for one in flatten([
    for az, ids in var.egress_allocation_ids : [
      for place, id in ids : [
        for tag, value in { "natha:cluster" = var.name, "natha:group" = az, "natha:egress" = var.egress_mode } :
        { key = "${az}/${place}/${tag}", id = id, tag = tag, value = value }
      ]
    ]
  ]) : one.key => one }

  sources = (
    length(var.ingress_security_group_cidr_blocks) > 0
    ? var.ingress_security_group_cidr_blocks
    : data.aws_vpc.this.cidr_block_associations[*].cidr_block
  )

  # Only one of the two may restore a failed node: a group would terminate an instance that natha
  # stops.
  settings = merge(
    length(var.metrics_cidr_blocks) > 0 ? { "metrics.listen" = "0.0.0.0:${local.metrics_port}" } : {},
    var.settings,
    var.use_autoscaling_groups ? { "repair.enabled" = "false" } : {},
    var.sns_topic_arn == "" ? {} : { "notify.sns_topic" = var.sns_topic_arn },
  )

  heartbeat_port   = lookup(local.settings, "heartbeat.port", "6284")
  replication_port = lookup(local.settings, "replicate.port", local.heartbeat_port)
  metrics_port     = "6285"

  # Statements of policy.tf that these settings do not need.
  not_needed = concat(
    lookup(local.settings, "repair.enabled", "true") == "false" ? ["Repair"] : [],
    var.key_parameter == "" ? ["ReadKey"] : [],
    var.sns_topic_arn == "" ? ["PublishNotices"] : [],
  )

  security_group_ids = concat([aws_security_group.this.id], var.additional_security_group_ids)

  tags = merge(var.tags, { "natha:cluster" = var.name })

  node_tags = {
    for az, node in local.nodes : az => merge(
      var.tags,
      { for key, value in local.settings : "natha:${key}" => value },
      { "Name" = "${var.name}-${az}", "natha:cluster" = var.name },
    )
  }

  user_data = var.key_parameter == "" ? null : base64encode(join("\n", [
    "#cloud-config",
    yamlencode({
      write_files = [{ path = "/etc/natha/key.ssm", content = "${var.key_parameter}\n" }]
    }),
  ]))
}

resource "aws_launch_template" "this" {
  for_each = local.nodes

  name_prefix            = "${var.name}-${each.key}-"
  description            = "A node of the natha cluster ${var.name}"
  image_id               = var.ami_id
  instance_type          = var.instance_type
  update_default_version = true
  user_data              = local.user_data

  iam_instance_profile {
    arn = aws_iam_instance_profile.this.arn
  }

  block_device_mappings {
    device_name = data.aws_ami.this.root_device_name

    ebs {
      delete_on_termination = true
      encrypted             = var.encryption
      kms_key_id            = var.kms_key_id
      volume_type           = "gp3"
    }
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  # An instance in a group gets an interface that outlives it. Any other instance gets an interface
  # of its own, with a public address until the Elastic IP is associated.
  network_interfaces {
    device_index                = 0
    network_interface_id        = var.use_autoscaling_groups ? aws_network_interface.this[each.key].id : null
    subnet_id                   = var.use_autoscaling_groups ? null : each.value.public_subnet_id
    security_groups             = var.use_autoscaling_groups ? null : local.security_group_ids
    associate_public_ip_address = var.use_autoscaling_groups ? null : true
    delete_on_termination       = !var.use_autoscaling_groups
  }

  dynamic "instance_market_options" {
    for_each = var.use_spot_instances ? ["spot"] : []

    content {
      market_type = instance_market_options.value

      spot_options {
        spot_instance_type             = "one-time"
        instance_interruption_behavior = "terminate"
      }
    }
  }

  # Tags for resources that the launch creates. EC2 rejects tags for an existing interface.
  dynamic "tag_specifications" {
    for_each = ["volume", var.use_autoscaling_groups ? "instance" : "network-interface"]

    content {
      resource_type = tag_specifications.value
      tags          = local.node_tags[each.key]
    }
  }

  tags = local.tags

  lifecycle {
    precondition {
      condition     = var.use_autoscaling_groups || !var.use_spot_instances
      error_message = "Spot instances need use_autoscaling_groups = true: EC2 terminates them, and natha cannot start terminated instances."
    }
  }
}
