"""Meets the faults that the Rust test has switched on. Arguments: endpoint, keys of an
instance, a hosted zone."""

import sys
import time

import botocore.exceptions as exceptions
from ec2_model import client, fault

ENDPOINT, KEY, SECRET, TOKEN, ZONE = sys.argv[1:6]
keys = dict(key=KEY, secret=SECRET, token=TOKEN)
ec2 = client(ENDPOINT, timeout=1, **keys)


def breaks(kind, call, **kwargs):
    try:
        answer = call(**kwargs)
    except kind:
        return
    raise AssertionError(f"answered: {answer}")


assert fault(ec2.describe_subnets)[:2] == ("RequestLimitExceeded", 503)
assert fault(ec2.describe_security_groups)[:2] == ("UnauthorizedOperation", 403)
assert fault(ec2.describe_instance_status)[:2] == ("InternalError", 500)
breaks(exceptions.ReadTimeoutError, ec2.describe_vpcs)
# The SDK reports a connection that is closed early differently from one that is reset.
broken = (exceptions.ConnectionClosedError, exceptions.EndpointConnectionError)
breaks(broken, ec2.create_vpc, CidrBlock="10.1.0.0/16")
breaks(broken, ec2.describe_instances)
began = time.monotonic()
ec2.describe_route_tables()
assert time.monotonic() - began >= 0.3, "the answer was not delayed"
# The caller without a fault meets none, and sees what the lost reply did.
operator = client(ENDPOINT)
blocks = sorted(vpc["CidrBlock"] for vpc in operator.describe_vpcs()["Vpcs"])
assert blocks == ["10.0.0.0/16", "10.1.0.0/16"], blocks
wrong = client(ENDPOINT, key=KEY, secret=SECRET)
assert fault(wrong.describe_addresses)[:2] == ("AuthFailure", 401), "a token may not be left out"
here = dict(service="route53", region="us-east-1")
dns = client(ENDPOINT, timeout=1, **here, **keys)
assert fault(dns.get_hosted_zone, Id=ZONE)[:2] == ("Throttling", 400)
assert fault(dns.list_resource_record_sets, HostedZoneId=ZONE)[:2] == ("AccessDenied", 403)
assert fault(dns.list_hosted_zones_by_name)[:2] == ("InternalFailure", 500)
record = {"Name": "db.example.test", "Type": "A", "TTL": 5,
          "ResourceRecords": [{"Value": "192.0.2.1"}]}
breaks(broken, dns.change_resource_record_sets, HostedZoneId=ZONE, ChangeBatch={
    "Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]})
records = client(ENDPOINT, **here).list_resource_record_sets(HostedZoneId=ZONE)
assert len(records["ResourceRecordSets"]) == 3, "what the lost reply did"
print("every fault was met")
