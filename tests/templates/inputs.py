"""Inputs of the module, and what stands in for what data sources find."""

import functools

from natha import policy
from plan import Case

REGION, KEY, TOPIC = "eu-west-1", "/natha/blue/key", "arn:aws:sns:eu-west-1:123456789012:t"
IMAGES = {"arm64": "ami-arm", "x86_64": "ami-x86"}
ARM = ("t4g.micro", "t4g.medium", "c7gn.medium", "c7gn.large")
# Private addresses that an interface may have (EC2 guide, IP addresses per network interface).
ROOM = {"t4g.micro": 2, "c7gn.medium": 4, "t4g.medium": 6}


def image(config):
    """An image by its id, or the newest one for the architectures in the filter."""
    asked = {it["name"]: it["values"] for it in config["filter"]}
    found = asked.get("image-id") or [IMAGES[it] for it in asked["architecture"] if it in IMAGES]
    architecture = "x86_64" if found == ["ami-x86"] else "arm64"
    return {"id": found[0], "root_device_name": "/dev/xvda", "architecture": architecture}


def instance_type(config):
    arm = config["instance_type"] in ARM
    return {
        "supported_architectures": ["arm64"] if arm else ["i386", "x86_64"],
        "maximum_ipv4_addresses_per_interface": ROOM.get(config["instance_type"], 10),
    }


def blocks(*networks):
    given = ({"association_id": "", "cidr_block": it, "state": "associated"} for it in networks)
    return {"cidr_block_associations": list(given)}


DATA = {
    "aws_vpc": blocks("10.0.0.0/16"),
    "aws_ami": image,
    "aws_ec2_instance_type": instance_type,
    "aws_partition": {"partition": "aws-cn"},
    "aws_region": lambda config: {"id": config["region"] or REGION},
    "aws_caller_identity": {"account_id": "123456789012"},
    "aws_vpc_endpoint_service": {"service_name": "cn.com.amazonaws.eu-west-1.ec2"},
    "aws_iam_role": lambda config: {"arn": f"arn:role/{config['name']}"},
    "aws_iam_instance_profile": {"arn": "arn:profile", "role_name": "r", "role_arn": "arn:r"},
}


def zone(letter, **more):
    tables = {"app": f"rtb-{letter}1", "data": f"rtb-{letter}2"}
    return {"public_subnet_id": f"subnet-{letter}", "route_table_ids": tables, **more}


def zones(letters):
    return {REGION + letter: zone(letter) for letter in letters}


def given(letters="ab", **inputs):
    return {"name": "blue", "vpc_id": "vpc-1", "vpc_az_maps": zones(letters), **inputs}


def named(letter, **more):
    return {"Name": f"blue-{REGION}{letter}", "natha:cluster": "blue", **more}


@functools.cache
def whole_policy():
    """natha's own, with every statement there is."""
    notices = ["--set", f"notify.sns_topic={TOPIC}"]
    return policy("json", "--cluster", "blue", "--key-parameter", KEY, *notices)


class ModuleCase(Case):
    """Tests of the module itself."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.workspace.provider.data = dict(DATA)

    @classmethod
    def planned(cls, letters="ab", **inputs):
        return cls.workspace.plan(**given(letters, **inputs))

    @classmethod
    def applied(cls, letters="ab", **inputs):
        cls.planned(letters, **inputs)
        return cls.workspace.apply()
