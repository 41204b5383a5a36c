# EC2's status checks of the nodes, once a minute. natha acts long before; this notifies a person.
resource "aws_cloudwatch_metric_alarm" "status_check" {
  for_each = length(var.alarm_actions) > 0 ? local.nodes : {}

  region              = var.region
  alarm_name          = "${var.name}-${each.key}-status-check"
  alarm_description   = "EC2's status checks fail on the node of the natha cluster ${var.name} in ${each.key}"
  namespace           = "AWS/EC2"
  metric_name         = "StatusCheckFailed"
  statistic           = "Maximum"
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = 2
  treat_missing_data  = "missing"
  alarm_actions       = var.alarm_actions
  ok_actions          = var.alarm_actions
  tags                = local.tags

  dimensions = (
    var.use_autoscaling_groups
    ? { AutoScalingGroupName = aws_autoscaling_group.this[each.key].name }
    : { InstanceId = aws_instance.this[each.key].id }
  )
}
