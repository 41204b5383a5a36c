# What the output verify_commands prints. It names instances by their tags, because those of an Auto
# Scaling group come and go.

locals {
  of_region = "--region ${data.aws_region.current.id}"
  of_node   = "Name=instance-state-name,Values=running Name=tag:natha:cluster,Values=${var.name}"

  verify_lists = {
    nodes  = "aws ec2 describe-instances ${local.of_region} --filters ${local.of_node} --output text --query \"Reservations[].Instances[].[InstanceId, Placement.AvailabilityZone, PublicIpAddress, Tags[?Key=='Name']|[0].Value]\""
    tables = "aws ec2 describe-route-tables ${local.of_region} --filters Name=tag:natha:cluster,Values=${var.name} --output text --query \"RouteTables[].[RouteTableId, Routes[?DestinationCidrBlock=='0.0.0.0/0']|[0].NetworkInterfaceId, Routes[?DestinationCidrBlock=='0.0.0.0/0']|[0].State]\""
  }

  # By Session Manager.
  verify_status = {
    for key, node in local.nodes : "status ${key}" => "aws ssm start-session ${local.of_region} --document-name AWS-StartInteractiveCommand --parameters command='sudo natha status' --target \"$(aws ec2 describe-instances ${local.of_region} --filters ${local.of_node} Name=tag:Name,Values=${var.name}-${key} --output text --query 'Reservations[0].Instances[0].InstanceId')\""
  }
}
