# A natha cluster: one node per zone. The nodes cover for each other.
#
# natha manages the default routes of the private subnets. Terraform must not, because it would
# point them back to a failed node. This module creates the nodes and the tags by which natha finds
# them. What belongs to a node, a route table or an address has a key of the caller's: an entry that
# is added or removed touches no other.

data "aws_vpc" "this" {
  region = var.region
  id     = var.vpc_id
}

data "aws_ec2_instance_type" "this" {
  for_each = toset([for node in local.nodes : node.instance_type])

  region        = var.region
  instance_type = each.value
}

# For each node, because their types may have different architectures.
data "aws_ami" "this" {
  for_each = local.nodes

  region      = var.region
  owners      = each.value.ami_id == null ? var.ami_owners : null
  most_recent = each.value.ami_id == null

  dynamic "filter" {
    for_each = each.value.ami_id == null ? {
      name         = [var.ami_name_filter]
      architecture = data.aws_ec2_instance_type.this[each.value.instance_type].supported_architectures
      state        = ["available"]
    } : { image-id = [each.value.ami_id] }

    content {
      name   = filter.key
      values = filter.value
    }
  }
}

locals {
  nodes = {
    for key, node in var.vpc_az_maps : key => merge(node, {
      az            = coalesce(node.az, key)
      instance_type = node.instance_type == null ? var.instance_type : node.instance_type
      ami_id        = node.ami_id == null ? var.ami_id : node.ami_id
    })
  }

  tables = merge([
    for key, node in local.nodes : { for table, id in node.route_table_ids : "${key}/${table}" => id }
  ]...)

  fallbacks = merge([
    for key, node in local.nodes : {
      for table, id in node.route_table_ids :
      "${key}/${table}" => { table = id, gateway = node.fallback.nat_gateway_id } if node.fallback != null
    }
  ]...)

  # The group of the tables in a zone has the zone's name.
  egress_made = merge([
    for key, node in local.nodes : { for name in node.egress_ips : "${key}/${name}" => node.az }
  ]...)

  egress_tags = {
    for key, az in local.egress_made : key => merge(
      var.tags,
      { "Name" = "${var.name}-egress-${key}", "natha:cluster" = var.name },
      { "natha:group" = az, "natha:egress" = var.egress_mode },
    )
  }

  # Each node has a private address for each of the cluster's egress IPs, besides its own.
  egress_count = sum([for node in local.nodes : length(node.egress_ips) + length(node.egress_allocation_ids)])

  egress_given = merge(flatten([
    for key, node in local.nodes : [
      for name, id in node.egress_allocation_ids : {
        for tag, value in { "natha:cluster" = var.name, "natha:group" = node.az, "natha:egress" = var.egress_mode } :
        "${key}/${name}/${tag}" => { id = id, tag = tag, value = value }
      }
    ]
  ])...)

  tags = merge(var.tags, { "natha:cluster" = var.name })

  node_tags = {
    for key, node in local.nodes : key => merge(
      var.tags,
      { for setting, value in local.settings : "natha:${setting}" => value },
      { "Name" = "${var.name}-${key}", "natha:cluster" = var.name },
    )
  }

  key_part = {
    write_files = [{ path = "/etc/natha/key.ssm", content = "${var.key_parameter}\n" }]
  }

  # Added to the list of files that earlier parts write, instead of being replaced by it.
  merged = {
    merge_how = [
      { name = "list", settings = ["append"] },
      { name = "dict", settings = ["no_replace", "recurse_list"] },
    ]
  }

  parts = concat(var.cloud_init_parts, var.key_parameter == "" ? [] : [{
    content_type = "text/cloud-config"
    content      = "#cloud-config\n${yamlencode(merge(local.key_part, local.merged))}"
  }])

  user_data_lines = concat(
    ["Content-Type: multipart/mixed; boundary=\"natha-part\"", "MIME-Version: 1.0", ""],
    flatten([
      for part in local.parts : [
        "--natha-part",
        "Content-Type: ${part.content_type}; charset=\"utf-8\"",
        "Content-Transfer-Encoding: base64",
        "MIME-Version: 1.0",
        "",
        base64encode(part.content),
        "",
      ]
    ]),
    ["--natha-part--", ""],
  )

  user_data = (
    length(var.cloud_init_parts) > 0
    ? base64encode(join("\n", local.user_data_lines))
    : var.key_parameter == "" ? null : base64encode("#cloud-config\n${yamlencode(local.key_part)}")
  )
}

resource "aws_launch_template" "this" {
  for_each = local.nodes

  region                 = var.region
  name_prefix            = "${var.name}-${each.key}-"
  description            = "A node of the natha cluster ${var.name}"
  image_id               = data.aws_ami.this[each.key].id
  instance_type          = each.value.instance_type
  update_default_version = true
  user_data              = local.user_data

  iam_instance_profile {
    arn = local.instance_profile_arn
  }

  block_device_mappings {
    device_name = data.aws_ami.this[each.key].root_device_name

    ebs {
      delete_on_termination = true
      encrypted             = var.encryption
      kms_key_id            = var.kms_key_id
      volume_size           = var.ebs_root_volume_size
      volume_type           = var.ebs_root_volume_type
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

  # EC2 rejects it for types without credits.
  dynamic "credit_specification" {
    for_each = var.credit_specification != null && can(regex("^t[0-9]", each.value.instance_type)) ? ["credits"] : []

    content {
      cpu_credits = var.credit_specification
    }
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

    precondition {
      condition     = each.value.fallback == null || var.egress_mode != "strict" || length(each.value.egress_ips) + length(each.value.egress_allocation_ids) == 0
      error_message = "${each.key} has a fallback, whose address is not that of its egress IPs: use egress_mode = \"eager\", or leave the fallback out."
    }

    precondition {
      condition     = data.aws_ec2_instance_type.this[each.value.instance_type].maximum_ipv4_addresses_per_interface > local.egress_count
      error_message = "${each.value.instance_type} of ${each.key} may have ${data.aws_ec2_instance_type.this[each.value.instance_type].maximum_ipv4_addresses_per_interface} private addresses, and needs one more than the cluster has egress IPs (${local.egress_count}): choose a larger instance_type, or fewer egress IPs."
    }

    precondition {
      condition     = contains(data.aws_ec2_instance_type.this[each.value.instance_type].supported_architectures, data.aws_ami.this[each.key].architecture)
      error_message = "The image ${data.aws_ami.this[each.key].id} is for ${data.aws_ami.this[each.key].architecture}, which ${each.value.instance_type} of ${each.key} is not: change ami_id or instance_type."
    }
  }
}
