# What the nodes may do: a role of the module's own, or one that exists. policy.tf has the policy.

# EC2 has another name in China.
data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = [data.aws_partition.current.partition == "aws-cn" ? "ec2.amazonaws.com.cn" : "ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_role" "existing" {
  count = local.creates_profile && !local.creates_role ? 1 : 0

  name = var.existing_role_name
}

data "aws_iam_instance_profile" "existing" {
  count = local.creates_profile ? 0 : 1

  name = var.existing_instance_profile_name
}

locals {
  creates_profile = var.existing_instance_profile_name == null
  creates_role    = local.creates_profile && var.existing_role_name == null
  iam_name_prefix = var.iam_name_prefix == null ? "${var.name}-" : var.iam_name_prefix

  role_name = (
    local.creates_role ? one(aws_iam_role.this[*].name) : (
      local.creates_profile ? var.existing_role_name : one(data.aws_iam_instance_profile.existing[*].role_name)
    )
  )
  role_arn = (
    local.creates_role ? one(aws_iam_role.this[*].arn) : (
      local.creates_profile ? one(data.aws_iam_role.existing[*].arn) : one(data.aws_iam_instance_profile.existing[*].role_arn)
    )
  )
  instance_profile_name = local.creates_profile ? one(aws_iam_instance_profile.this[*].name) : var.existing_instance_profile_name
  instance_profile_arn = (
    local.creates_profile ? one(aws_iam_instance_profile.this[*].arn) : one(data.aws_iam_instance_profile.existing[*].arn)
  )

  # Statements of policy.tf that these settings do not need.
  not_needed = concat(
    lookup(local.settings, "repair.enabled", "true") == "false" ? ["Repair"] : [],
    var.key_parameter == "" ? ["ReadKey"] : [],
    var.sns_topic_arn == "" ? ["PublishNotices"] : [],
  )

  # The statements of policy.tf, without those that this cluster does not need.
  policy = jsonencode(merge(
    jsondecode(data.aws_iam_policy_document.natha.json),
    {
      Statement = [
        for statement in jsondecode(data.aws_iam_policy_document.natha.json).Statement :
        statement if !contains(local.not_needed, statement.Sid)
      ]
    },
  ))

  # To start an instance whose volumes use such a key, the caller must be allowed to grant EC2 its
  # use.
  volume_keys      = concat(var.kms_key_id == null ? [] : [var.kms_key_id], var.volume_key_arns)
  needs_volume_key = length(local.volume_keys) > 0 && !contains(local.not_needed, "Repair")
  volume_key_statement = {
    Sid       = "StartWithVolumeKey"
    Effect    = "Allow"
    Action    = ["kms:CreateGrant"]
    Resource  = local.volume_keys
    Condition = { Bool = { "kms:GrantIsForAWSResource" = "true" } }
  }
}

resource "aws_iam_role" "this" {
  count = local.creates_role ? 1 : 0

  name_prefix          = local.iam_name_prefix
  path                 = var.iam_path
  description          = "The nodes of the natha cluster ${var.name}"
  assume_role_policy   = data.aws_iam_policy_document.assume.json
  permissions_boundary = var.permissions_boundary
  tags                 = local.tags

  lifecycle {
    precondition {
      condition     = var.existing_instance_profile_name == null || var.existing_role_name == null
      error_message = "Use existing_instance_profile_name or existing_role_name, not both: a profile has its role."
    }
  }
}

resource "aws_iam_role_policy_attachment" "ssm" {
  count = local.creates_profile && var.attach_ssm_policy ? 1 : 0

  role       = local.role_name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_role_policy_attachment" "additional" {
  for_each = local.creates_profile ? var.additional_policy_arns : {}

  role       = local.role_name
  policy_arn = each.value
}

resource "aws_iam_instance_profile" "this" {
  count = local.creates_profile ? 1 : 0

  name_prefix = local.iam_name_prefix
  path        = var.iam_path
  role        = local.role_name
  tags        = local.tags
}

resource "aws_iam_role_policy" "volume_key" {
  count = local.creates_profile && local.needs_volume_key ? 1 : 0

  name_prefix = "natha-volume-key-"
  role        = local.role_name
  policy      = jsonencode({ Version = "2012-10-17", Statement = [local.volume_key_statement] })
}

resource "aws_iam_role_policy" "natha" {
  count = local.creates_profile ? 1 : 0

  name_prefix = "natha-"
  role        = local.role_name
  policy      = local.policy
}
