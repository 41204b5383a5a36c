# A private host to see the nodes from. EC2 Instance Connect reaches it without an address of its
# own, an agent or a key, also while no node works.

data "aws_ssm_parameter" "amazon_linux" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
}

resource "aws_security_group" "endpoint" {
  name_prefix = "${local.cluster}-connect-"
  description = "EC2 Instance Connect"
  vpc_id      = aws_vpc.this.id
}

resource "aws_security_group" "host" {
  name_prefix = "${local.cluster}-host-"
  description = "The private host"
  vpc_id      = aws_vpc.this.id
}

resource "aws_security_group_rule" "endpoint_out" {
  security_group_id        = aws_security_group.endpoint.id
  description              = "SSH to the private host"
  type                     = "egress"
  protocol                 = "tcp"
  from_port                = 22
  to_port                  = 22
  source_security_group_id = aws_security_group.host.id
}

resource "aws_security_group_rule" "host_in" {
  security_group_id        = aws_security_group.host.id
  description              = "SSH from EC2 Instance Connect"
  type                     = "ingress"
  protocol                 = "tcp"
  from_port                = 22
  to_port                  = 22
  source_security_group_id = aws_security_group.endpoint.id
}

resource "aws_security_group_rule" "host_out" {
  security_group_id = aws_security_group.host.id
  description       = "Anything"
  type              = "egress"
  protocol          = "-1"
  from_port         = 0
  to_port           = 0
  cidr_blocks       = ["0.0.0.0/0"]
}

resource "aws_ec2_instance_connect_endpoint" "this" {
  subnet_id          = aws_subnet.private["one"].id
  security_group_ids = [aws_security_group.endpoint.id]
  # The host's security group admits the endpoint, not the operator's own address.
  preserve_client_ip = false
  tags               = { "Name" = "${local.cluster}-connect" }
}

resource "aws_instance" "host" {
  ami                    = data.aws_ssm_parameter.amazon_linux.insecure_value
  instance_type          = "t4g.nano"
  subnet_id              = aws_subnet.private["one"].id
  vpc_security_group_ids = [aws_security_group.host.id]
  tags                   = { "Name" = "${local.cluster}-host" }

  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }

  # A newer image is no reason to make the host anew.
  lifecycle {
    ignore_changes = [ami]
  }
}

output "host_command" {
  description = "The command that opens a shell on the private host."
  value       = "aws ec2-instance-connect ssh --region ${var.region} --connection-type eice --instance-id ${aws_instance.host.id}"
}
