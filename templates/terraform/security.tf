# Who may send the nodes what, and what the nodes may do. The role's rights are in policy.tf.

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
  description       = "Heartbeats of the other nodes"
  type              = "ingress"
  protocol          = "udp"
  from_port         = local.heartbeat_port
  to_port           = local.heartbeat_port
  self              = true
}

resource "aws_security_group_rule" "echo" {
  security_group_id = aws_security_group.this.id
  description       = "ICMP echo of the other nodes"
  type              = "ingress"
  protocol          = "icmp"
  from_port         = 8
  to_port           = -1
  self              = true
}

# One rule with a list, not one for each block: of a VPC that is made beside this, the blocks are
# not known when Terraform counts its resources.
resource "aws_security_group_rule" "source" {
  security_group_id = aws_security_group.this.id
  description       = "What the private subnets send to the internet"
  type              = "ingress"
  protocol          = "-1"
  from_port         = 0
  to_port           = 0
  cidr_blocks       = local.sources
}

resource "aws_security_group_rule" "all" {
  security_group_id = aws_security_group.this.id
  description       = "Everything, on behalf of the private subnets"
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

# EC2 starts an instance with volumes under such a key only for who may let EC2 use the key.
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

# The whole of what natha was found to need, less what this cluster does not do.
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
