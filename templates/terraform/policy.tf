# What the nodes may do, as printed by
#   natha policy --format terraform --cluster-ref var.name --vpc-ref var.vpc_id \
#       --key-parameter-ref var.key_parameter --sns-topic-ref var.sns_topic_arn
# with the module's own region.

data "aws_partition" "current" {}

data "aws_region" "current" {
  region = var.region
}

data "aws_caller_identity" "current" {}

data "aws_iam_policy_document" "natha" {
  statement {
    sid = "Read"
    actions = [
      "ec2:DescribeAddresses",
      "ec2:DescribeInstances",
      "ec2:DescribeInstanceStatus",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeRouteTables",
      "ec2:DescribeSubnets",
    ]
    resources = [
      "*",
    ]
  }

  statement {
    sid = "MoveRoutes"
    actions = [
      "ec2:CreateRoute",
      "ec2:ReplaceRoute",
    ]
    resources = [
      "arn:${data.aws_partition.current.partition}:ec2:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:route-table/*",
    ]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/natha:cluster"
      values   = [var.name]
    }

    condition {
      test     = "ArnLike"
      variable = "ec2:Vpc"
      values   = ["arn:${data.aws_partition.current.partition}:ec2:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:vpc/${var.vpc_id}"]
    }
  }

  statement {
    sid = "Repair"
    actions = [
      "ec2:StartInstances",
      "ec2:StopInstances",
    ]
    resources = [
      "arn:${data.aws_partition.current.partition}:ec2:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:instance/*",
    ]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/natha:cluster"
      values   = [var.name]
    }
  }

  statement {
    sid = "SourceDestCheck"
    actions = [
      "ec2:ModifyNetworkInterfaceAttribute",
    ]
    resources = [
      "arn:${data.aws_partition.current.partition}:ec2:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:network-interface/*",
    ]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/natha:cluster"
      values   = [var.name]
    }

    condition {
      test     = "ArnLike"
      variable = "ec2:Vpc"
      values   = ["arn:${data.aws_partition.current.partition}:ec2:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:vpc/${var.vpc_id}"]
    }

    condition {
      test     = "StringEquals"
      variable = "ec2:Attribute"
      values   = ["SourceDestCheck"]
    }
  }

  statement {
    sid = "AddLandingAddresses"
    actions = [
      "ec2:AssignPrivateIpAddresses",
    ]
    resources = [
      "arn:${data.aws_partition.current.partition}:ec2:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:network-interface/*",
    ]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/natha:cluster"
      values   = [var.name]
    }

    condition {
      test     = "ArnLike"
      variable = "ec2:Vpc"
      values   = ["arn:${data.aws_partition.current.partition}:ec2:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:vpc/${var.vpc_id}"]
    }
  }

  statement {
    sid = "MoveElasticIps"
    actions = [
      "ec2:AssociateAddress",
    ]
    resources = [
      "arn:${data.aws_partition.current.partition}:ec2:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:elastic-ip/*",
    ]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/natha:cluster"
      values   = [var.name]
    }

    condition {
      test     = "StringLike"
      variable = "aws:ResourceTag/natha:group"
      values   = ["*"]
    }
  }

  statement {
    sid = "MoveElasticIpsToInterfaces"
    actions = [
      "ec2:AssociateAddress",
    ]
    resources = [
      "arn:${data.aws_partition.current.partition}:ec2:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:network-interface/*",
    ]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/natha:cluster"
      values   = [var.name]
    }

    condition {
      test     = "ArnLike"
      variable = "ec2:Vpc"
      values   = ["arn:${data.aws_partition.current.partition}:ec2:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:vpc/${var.vpc_id}"]
    }
  }

  statement {
    sid = "MoveElasticIpsToInstances"
    actions = [
      "ec2:AssociateAddress",
    ]
    resources = [
      "arn:${data.aws_partition.current.partition}:ec2:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:instance/*",
    ]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/natha:cluster"
      values   = [var.name]
    }
  }

  statement {
    sid = "PublishNotices"
    actions = [
      "sns:Publish",
    ]
    resources = [
      var.sns_topic_arn,
    ]
  }

  statement {
    sid = "ReadKey"
    actions = [
      "ssm:GetParameter",
    ]
    resources = [
      "arn:${data.aws_partition.current.partition}:ssm:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:parameter${var.key_parameter}",
    ]
  }
}
