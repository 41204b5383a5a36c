"""Calls an EC2 whose clock is more than five minutes ahead. Argument: the endpoint."""

import sys

from ec2_model import client, fault

assert fault(client(sys.argv[1]).describe_vpcs)[:2] == ("RequestExpired", 400)
