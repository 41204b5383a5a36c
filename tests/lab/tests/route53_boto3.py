"""Drives every call of the lab's Route 53 with boto3. Arguments: the endpoint, the zone's id."""

import sys
import time

from ec2_model import client, fault, outcome, watch

ENDPOINT, ZONE = sys.argv[1:3]
NAME = "db.example.test."
# Route 53 is in one Region for all.
here = dict(service="route53", region="us-east-1")
dns = watch(client(ENDPOINT, **here))


def change(action, value="192.0.2.1", ttl=5, name=NAME, kind="A", call=None):
    record = {"Name": name, "Type": kind, "TTL": ttl, "ResourceRecords": [{"Value": value}]}
    batch = {"Comment": "moved", "Changes": [{"Action": action, "ResourceRecordSet": record}]}
    call = call or (lambda **given: dns.change_resource_record_sets(**given)["ChangeInfo"])
    return call(HostedZoneId=ZONE, ChangeBatch=batch)


def refused(*given, **named):
    return change(*given, **named, call=lambda **it: fault(dns.change_resource_record_sets, **it))


made = change("CREATE")
assert (made["Status"], made["Comment"]) == ("PENDING", "moved"), made
assert made["Id"].startswith("/change/")
deadline = time.monotonic() + 20
while (shown := dns.get_change(Id=made["Id"])["ChangeInfo"])["Status"] != "INSYNC":
    assert time.monotonic() < deadline, shown
    time.sleep(0.02)
assert (shown["SubmittedAt"], shown["Id"]) == (made["SubmittedAt"], made["Id"])
about = f"[name='{NAME}', type='A']"
for action, named, text in (
    ("CREATE", {}, f"Tried to create resource record set {about} but it already exists"),
    ("DELETE", {"ttl": 6}, f"Tried to delete resource record set {about} but the values provided "
     "do not match the current values"),
    ("DELETE", {"name": "x.example.test"}, "Tried to delete resource record set "
     "[name='x.example.test.', type='A'] but it was not found"),
    ("UPSERT", {"value": "300.1.1.1"}, "Invalid Resource Record: 'FATAL problem: "
     "ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address) encountered with "
     "'300.1.1.1''"),
    ("UPSERT", {"name": "x.other.test"}, "RRSet with DNS name x.other.test. is not permitted in "
     "zone example.test."),
):
    code, status, said = refused(action, **named)
    assert (code, status, said) == ("InvalidChangeBatch", 400, f"[{text}]"), said
weighted = {"Name": NAME, "Type": "A", "TTL": 5, "Weight": 1, "SetIdentifier": "a",
            "ResourceRecords": [{"Value": "192.0.2.1"}]}
code = outcome(dns.change_resource_record_sets, HostedZoneId=ZONE, ChangeBatch={
    "Changes": [{"Action": "UPSERT", "ResourceRecordSet": weighted}]})
assert code == "InvalidInput", code
change("UPSERT", value="\"a & <b>\"", kind="TXT", name="txt.example.test")
change("UPSERT", value="192.0.2.2")
pages = dns.get_paginator("list_resource_record_sets")
pages = list(pages.paginate(HostedZoneId=ZONE, PaginationConfig={"PageSize": 1}))
sets = [record for page in pages for record in page["ResourceRecordSets"]]
assert [(record["Name"], record["Type"]) for record in sets] == [
    ("example.test.", "NS"), ("example.test.", "SOA"), (NAME, "A"), ("txt.example.test.", "TXT")]
assert len(pages) == 4 and sets[3]["ResourceRecords"] == [{"Value": "\"a & <b>\""}]
start = dict(StartRecordName="db.example.test", StartRecordType="A", MaxItems="1")
found = dns.list_resource_record_sets(HostedZoneId=f"/hostedzone/{ZONE}", **start)
assert found["ResourceRecordSets"] == [
    {"Name": NAME, "Type": "A", "TTL": 5, "ResourceRecords": [{"Value": "192.0.2.2"}]}], found
change("DELETE", value="192.0.2.2")
zone = dns.get_hosted_zone(Id=ZONE)
assert (zone["HostedZone"]["Name"], len(zone["DelegationSet"]["NameServers"])) == (
    "example.test.", 4)
found = dns.list_hosted_zones_by_name(DNSName="example.test", MaxItems="1")["HostedZones"]
assert [it["Id"] for it in found] == [f"/hostedzone/{ZONE}"]
assert fault(dns.get_hosted_zone, Id="Z1")[:2] == ("NoSuchHostedZone", 404)
assert fault(dns.get_change, Id="C1")[:2] == ("NoSuchChange", 404)
assert fault(dns.list_hosted_zones)[:2] == ("UnknownOperationException", 404)
wrong = client(ENDPOINT, secret="no", **here)
assert fault(wrong.get_hosted_zone, Id=ZONE)[:2] == ("SignatureDoesNotMatch", 403)
stranger = client(ENDPOINT, key="AKIAUNKNOWN", **here)
assert fault(stranger.get_hosted_zone, Id=ZONE)[:2] == ("InvalidClientTokenId", 403)
elsewhere = client(ENDPOINT, service="route53")
assert fault(elsewhere.get_hosted_zone, Id=ZONE)[:2] == ("SignatureDoesNotMatch", 403)
print("every check passed")
