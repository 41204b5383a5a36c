# Who may send packets to the nodes, and their way to EC2.

locals {
  # Every block of the VPC, unless the caller admits something of his own.
  admits_own = (
    length(var.ingress_security_group_cidr_blocks) > 0 ||
    length(var.ingress_prefix_list_ids) > 0 ||
    length(var.ingress_security_group_ids) > 0
  )
  vpc_blocks = data.aws_vpc.this.cidr_block_associations[*].cidr_block
  sources    = local.admits_own ? var.ingress_security_group_cidr_blocks : local.vpc_blocks

  # A rule needs a source: there is none if only groups are admitted.
  admits_networks = (
    !local.admits_own ||
    length(var.ingress_security_group_cidr_blocks) > 0 ||
    length(var.ingress_prefix_list_ids) > 0
  )

  security_group_ids = concat([aws_security_group.this.id], var.additional_security_group_ids)
}

resource "aws_security_group" "this" {
  region      = var.region
  name_prefix = "${var.name}-"
  description = "The nodes of the natha cluster ${var.name}"
  vpc_id      = var.vpc_id
  tags        = merge(local.tags, { "Name" = var.name })

  lifecycle {
    create_before_destroy = true

    # Here, because every plan has this resource, and once.
    precondition {
      condition     = length(local.setting_faults) == 0
      error_message = "Correct settings:\n${join("\n", local.setting_faults)}"
    }
  }
}

resource "aws_security_group_rule" "heartbeat" {
  region            = var.region
  security_group_id = aws_security_group.this.id
  description       = "Heartbeats from the other nodes"
  type              = "ingress"
  protocol          = "udp"
  from_port         = local.heartbeat_port
  to_port           = local.heartbeat_port
  self              = true
}

resource "aws_security_group_rule" "replication" {
  region            = var.region
  security_group_id = aws_security_group.this.id
  description       = "Replicated connections of the other nodes"
  type              = "ingress"
  protocol          = "tcp"
  from_port         = local.replication_port
  to_port           = local.replication_port
  self              = true
}

resource "aws_security_group_rule" "relay" {
  region            = var.region
  security_group_id = aws_security_group.this.id
  description       = "Copies of packets of the other nodes during planned moves"
  type              = "ingress"
  protocol          = "udp"
  from_port         = local.relay_port
  to_port           = local.relay_port
  self              = true
}

resource "aws_security_group_rule" "metrics" {
  count = length(var.metrics_cidr_blocks) > 0 ? 1 : 0

  region            = var.region
  security_group_id = aws_security_group.this.id
  description       = "Metrics, for Prometheus"
  type              = "ingress"
  protocol          = "tcp"
  from_port         = local.metrics_port
  to_port           = local.metrics_port
  cidr_blocks       = var.metrics_cidr_blocks
}

resource "aws_security_group_rule" "echo" {
  region            = var.region
  security_group_id = aws_security_group.this.id
  description       = "ICMP echo from the other nodes"
  type              = "ingress"
  protocol          = "icmp"
  from_port         = 8
  to_port           = -1
  self              = true
}

# Type 3, code 4: a router on the way says that a packet is too large.
resource "aws_security_group_rule" "path_mtu" {
  region            = var.region
  security_group_id = aws_security_group.this.id
  description       = "ICMP fragmentation needed, for path MTU discovery"
  type              = "ingress"
  protocol          = "icmp"
  from_port         = 3
  to_port           = 4
  cidr_blocks       = ["0.0.0.0/0"]
}

# One rule with a list instead of one rule per block: if the VPC is created in the same run, its
# blocks are unknown when Terraform counts its resources.
resource "aws_security_group_rule" "source" {
  count = local.admits_networks ? 1 : 0

  region            = var.region
  security_group_id = aws_security_group.this.id
  description       = "Traffic of the private subnets to the internet"
  type              = "ingress"
  protocol          = "-1"
  from_port         = 0
  to_port           = 0
  cidr_blocks       = length(local.sources) > 0 ? local.sources : null
  prefix_list_ids   = length(var.ingress_prefix_list_ids) > 0 ? var.ingress_prefix_list_ids : null
}

resource "aws_security_group_rule" "source_group" {
  for_each = var.ingress_security_group_ids

  region                   = var.region
  security_group_id        = aws_security_group.this.id
  description              = "Traffic of the members of ${each.key} to the internet"
  type                     = "ingress"
  protocol                 = "-1"
  from_port                = 0
  to_port                  = 0
  source_security_group_id = each.value
}

resource "aws_security_group_rule" "all" {
  region            = var.region
  security_group_id = aws_security_group.this.id
  description       = "All traffic, on behalf of the private subnets"
  type              = "egress"
  protocol          = "-1"
  from_port         = 0
  to_port           = 0
  cidr_blocks       = ["0.0.0.0/0"]
}

# With private DNS, every host of the VPC reaches EC2 by the endpoint: it must admit them all.
resource "aws_security_group" "endpoint" {
  count = var.enable_ec2_endpoint ? 1 : 0

  region      = var.region
  name_prefix = "${var.name}-ec2-endpoint-"
  description = "The EC2 endpoint of the natha cluster ${var.name}"
  vpc_id      = var.vpc_id
  tags        = merge(local.tags, { "Name" = "${var.name}-ec2-endpoint" })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_security_group_rule" "endpoint" {
  count = var.enable_ec2_endpoint ? 1 : 0

  region            = var.region
  security_group_id = aws_security_group.endpoint[0].id
  description       = "HTTPS from the VPC"
  type              = "ingress"
  protocol          = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_blocks       = local.vpc_blocks
}

# Its name differs between partitions.
data "aws_vpc_endpoint_service" "ec2" {
  count = var.enable_ec2_endpoint ? 1 : 0

  region       = var.region
  service      = "ec2"
  service_type = "Interface"
}

resource "aws_vpc_endpoint" "ec2" {
  count = var.enable_ec2_endpoint ? 1 : 0

  region              = var.region
  vpc_id              = var.vpc_id
  service_name        = data.aws_vpc_endpoint_service.ec2[0].service_name
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = [for node in local.nodes : node.public_subnet_id]
  security_group_ids  = [aws_security_group.endpoint[0].id]
  tags                = merge(local.tags, { "Name" = "${var.name}-ec2" })
}
