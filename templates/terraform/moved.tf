# Where objects of earlier versions of the module are now.

moved {
  from = aws_iam_role.this
  to   = aws_iam_role.this[0]
}

moved {
  from = aws_iam_instance_profile.this
  to   = aws_iam_instance_profile.this[0]
}

moved {
  from = aws_iam_role_policy.natha
  to   = aws_iam_role_policy.natha[0]
}

moved {
  from = aws_security_group_rule.source
  to   = aws_security_group_rule.source[0]
}
