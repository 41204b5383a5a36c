# The nodes' security group and role. The role's permissions are in policy.tf.

resource "aws_security_group" "this" {
  name_prefix = "${var.name}-"
  description = "The nodes of the natha cluster ${var.name}"
  vpc_id      = var.vpc_id
  tags        = merge(local.tags, { "Name" = var.name })

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_security_group_rule" "heartbeat" {
  security_group_id = aws_security_group.this.id
  description       = "Heartbeats from the other nodes"
  type              = "ingress"
  protocol          = "udp"
  from_port         = local.heartbeat_port
  to_port           = local.heartbeat_port
  self              = true
}

resource "aws_security_group_rule" "replication" {
  security_group_id = aws_security_group.this.id
  description       = "Replicated connections of the other nodes"
  type              = "ingress"
  protocol          = "tcp"
  from_port         = local.replication_port
  to_port           = local.replication_port
  self              = true
}

resource "aws_security_group_rule" "metrics" {
  count = length(var.metrics_cidr_blocks) > 0 ? 1 : 0

  security_group_id = aws_security_group.this.id
  description       = "Metrics, for Prometheus"
  type              = "ingress"
  protocol          = "tcp"
  from_port         = local.metrics_port
  to_port           = local.metrics_port
  cidr_blocks       = var.metrics_cidr_blocks
}

resource "aws_security_group_rule" "echo" {
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
  security_group_id = aws_security_group.this.id
  description       = "Traffic of the private subnets to the internet"
  type              = "ingress"
  protocol          = "-1"
  from_port         = 0
  to_port           = 0
  cidr_blocks       = local.sources
}

resource "aws_security_group_rule" "all" {
  security_group_id = aws_security_group.this.id
  description       = "All traffic, on behalf of the private subnets"
  type              = "egress"
  protocol          = "-1"
  from_port         = 0
  to_port           = 0
  cidr_blocks       = ["0.0.0.0/0"]
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "this" {
  name_prefix        = "${var.name}-"
  description        = "The nodes of the natha cluster ${var.name}"
  assume_role_policy = data.aws_iam_policy_document.assume.json
  tags               = local.tags
}

resource "aws_iam_role_policy_attachment" "ssm" {
  count = var.attach_ssm_policy ? 1 : 0

  role       = aws_iam_role.this.name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "this" {
  name_prefix = "${var.name}-"
  role        = aws_iam_role.this.name
  tags        = local.tags
}

# To start an instance whose volumes use such a key, the caller must be allowed to grant EC2 its
# use.
resource "aws_iam_role_policy" "volume_key" {
  count = var.kms_key_id == null || contains(local.not_needed, "Repair") ? 0 : 1

  name_prefix = "natha-volume-key-"
  role        = aws_iam_role.this.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "StartWithVolumeKey"
      Effect    = "Allow"
      Action    = ["kms:CreateGrant"]
      Resource  = [var.kms_key_id]
      Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
    }]
  })
}

# The statements of policy.tf, without those that this cluster does not need.
resource "aws_iam_role_policy" "natha" {
  name_prefix = "natha-"
  role        = aws_iam_role.this.id

  policy = jsonencode(merge(
    jsondecode(data.aws_iam_policy_document.natha.json),
    {
      Statement = [
        for statement in jsondecode(data.aws_iam_policy_document.natha.json).Statement :
        statement if !contains(local.not_needed, statement.Sid)
      ]
    },
  ))
}
