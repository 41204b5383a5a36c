"""Asks EC2 with the keys of the instance's role what the role may do. Nothing is changed: each call
is a DryRun. Prints how many calls were as they should be, and those that were not."""

import datetime
import hashlib
import hmac
import json
import os
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree

METADATA = "http://169.254.169.254/latest/"


def fetch(url, method="GET", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, method=method, headers=headers)
    return urllib.request.urlopen(request, timeout=5).read().decode()


TOKEN = fetch(METADATA + "api/token", "PUT", X_aws_ec2_metadata_token_ttl_seconds="300")


def item(path):
    return fetch(METADATA + "meta-data/" + path, X_aws_ec2_metadata_token=TOKEN)


REGION = item("placement/region")
SUFFIX = "amazonaws.com.cn" if REGION.startswith("cn-") else "amazonaws.com"
ENDPOINT = os.environ.get("AWS_ENDPOINT_URL_EC2") or f"https://ec2.{REGION}.{SUFFIX}"
ROLE = item("iam/security-credentials/").strip()
KEYS = json.loads(item("iam/security-credentials/" + ROLE))


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def call(action, **parameters):
    """Code of the error of a call, or 'ok', and the answer. Signature version 4."""
    query = {"Action": action, "Version": "2016-11-15"}
    query.update((name.replace("_", "."), value) for name, value in parameters.items())
    body = urllib.parse.urlencode(query)
    host = urllib.parse.urlsplit(ENDPOINT).netloc
    stamp = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    form = "application/x-www-form-urlencoded; charset=utf-8"
    headers = {"content-type": form, "host": host, "x-amz-date": stamp,
               "x-amz-security-token": KEYS["Token"]}
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    digest = hashlib.sha256(body.encode()).hexdigest()
    request = hashlib.sha256(f"POST\n/\n\n{lines}\n{names}\n{digest}".encode()).hexdigest()
    scope = f"{stamp[:8]}/{REGION}/ec2/aws4_request"
    key = f"AWS4{KEYS['SecretAccessKey']}".encode()
    for part in scope.split("/"):
        key = sign(key, part)
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{request}"
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={KEYS['AccessKeyId']}/{scope}, "
        f"SignedHeaders={names}, Signature={sign(key, text).hex()}"
    )
    request = urllib.request.Request(ENDPOINT + "/", body.encode(), headers)
    try:
        return "ok", ElementTree.fromstring(urllib.request.urlopen(request, timeout=20).read())
    except urllib.error.HTTPError as error:
        document = ElementTree.fromstring(error.read())
        return document.findtext(".//Code"), document


def listed(action, tag, key, value):
    """The texts of an element in what a Describe call finds by a tag."""
    _, answer = call(action, Filter_1_Name="tag:" + key, Filter_1_Value_1=value)
    return [element.text for element in answer.iter() if element.tag.endswith("}" + tag)]


def checks():
    """Every call that the policy allows and EC2 has a DryRun for, then some that it denies."""
    trial = item("tags/instance/natha-trial")
    own = item("instance-id")
    interface = item(f"network/interfaces/macs/{item('mac')}/interface-id")
    cluster = "natha-trial-" + trial
    table = listed("DescribeRouteTables", "routeTableId", "natha:cluster", cluster)[0]
    public = listed("DescribeRouteTables", "routeTableId", "natha-trial-part", "public")[0]
    address = listed("DescribeAddresses", "allocationId", "natha:cluster", cluster)[0]
    host = listed("DescribeInstances", "instanceId", "natha-trial-part", "host-a")[0]
    there = {"DestinationCidrBlock": "0.0.0.0/0", "NetworkInterfaceId": interface}
    allowed = [(f"Describe{what}", {}) for what in (
        "Addresses", "Instances", "InstanceStatus", "NetworkInterfaces", "RouteTables",
        "SecurityGroups", "Subnets")]
    allowed += [
        # Of a route that exists, EC2 might say that instead of whether it is allowed.
        ("CreateRoute", {"RouteTableId": table, **there, "DestinationCidrBlock": "192.0.2.253/32"}),
        ("ReplaceRoute", {"RouteTableId": table, **there}),
        ("StartInstances", {"InstanceId_1": own}),
        ("StopInstances", {"InstanceId_1": own}),
        ("ModifyNetworkInterfaceAttribute",
         {"NetworkInterfaceId": interface, "SourceDestCheck_Value": "false"}),
        ("AssociateAddress", {"AllocationId": address, "NetworkInterfaceId": interface}),
    ]
    denied = [
        ("ReplaceRoute", {"RouteTableId": public, **there}),
        ("DeleteRoute", {"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0"}),
        ("StopInstances", {"InstanceId_1": host}),
        ("TerminateInstances", {"InstanceId_1": own}),
        ("CreateTags", {"ResourceId_1": own, "Tag_1_Key": "a", "Tag_1_Value": "b"}),
        ("AllocateAddress", {"Domain": "vpc"}),
    ]
    return [(*one, "DryRunOperation") for one in allowed] + [
        (*one, "UnauthorizedOperation") for one in denied]


wrong = []
everything = checks()
for action, parameters, expected in everything:
    code, _ = call(action, DryRun="true", **parameters)
    if code != expected:
        wrong.append(f"{action}:{code}-instead-of-{expected}")
print(f"asked={len(everything)} wrong={len(wrong)} {' '.join(wrong)}".strip())
raise SystemExit(1 if wrong else 0)
