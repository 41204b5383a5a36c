"""Reads templates of CloudFormation, and works out what their conditions come to."""

import re

import yaml

from natha import ROOT

TEMPLATES = ROOT / "templates/cloudformation"
NO_VALUE = {"Ref": "AWS::NoValue"}


class Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, which become the long ones."""


def short(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt":
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", short)


def read(name):
    return yaml.load((TEMPLATES / name).read_text(encoding="utf-8"), Loader)


class Stack:
    """A template with values for its parameters: what is left once its conditions are worked out.

    References to parameters become values, those to resources stay. The partition is the one that
    is given, as a condition depends on it."""

    def __init__(self, template, partition="aws", **given):
        self.template = template
        parameters = template["Parameters"]
        unknown = set(given) - set(parameters)
        missing = {name for name, it in parameters.items() if "Default" not in it} - set(given)
        if unknown or missing:
            raise AssertionError(f"unknown {unknown}, missing {missing}")
        self.values = {name: given.get(name, it.get("Default")) for name, it in parameters.items()}
        for name, it in parameters.items():
            if it["Type"] == "CommaDelimitedList":
                self.values[name] = self.values[name].split(",")
            pattern = it.get("AllowedPattern", "")
            # That of a list is for each value in it.
            values = self.values[name]
            for value in values if isinstance(values, list) else [values]:
                if pattern and not re.fullmatch(pattern, value):
                    raise AssertionError(f"{name} cannot be {value}")
        self.values["AWS::Partition"] = partition
        self.resources = self.kept("Resources")
        self.outputs = self.kept("Outputs")

    def kept(self, section):
        entries = self.template[section].items()
        here = {name: it for name, it in entries if self.condition(it.get("Condition"))}
        return self.value({name: without(it, "Condition") for name, it in here.items()})

    def condition(self, name):
        return name is None or self.truth(self.template["Conditions"][name])

    def truth(self, it):
        [(function, value)] = it.items()
        if function == "Condition":
            return self.condition(value)
        if function == "Fn::Equals":
            left, right = (self.value(one) for one in value)
            return left == right
        if function == "Fn::Not":
            return not self.truth(value[0])
        if function == "Fn::And":
            return all(self.truth(one) for one in value)
        if function == "Fn::Or":
            return any(self.truth(one) for one in value)
        if function == "Fn::Contains":
            known, one = (self.value(it) for it in value)
            return one in known
        raise AssertionError(f"a condition with {function}")

    def value(self, it):
        if isinstance(it, list):
            return [self.value(one) for one in it if self.chosen(one) != NO_VALUE]
        if not isinstance(it, dict):
            return it
        it = self.chosen(it)
        if isinstance(it, dict) and len(it) == 1:
            [(function, argument)] = it.items()
            if function == "Ref" and argument in self.values:
                return self.values[argument]
            if function == "Fn::Join":
                between, parts = self.value(argument)
                if all(isinstance(part, str) for part in parts):
                    return between.join(parts)
            if function == "Fn::Sub":
                return self.sub(argument)
            if function == "Fn::Select" and "Fn::Split" in argument[1]:
                between, text = self.value(argument[1]["Fn::Split"])
                if isinstance(text, str):
                    return text.split(between)[argument[0]]
        if not isinstance(it, dict):
            return self.value(it)
        kept = ((key, self.chosen(one)) for key, one in it.items())
        return {key: self.value(one) for key, one in kept if one != NO_VALUE}

    def chosen(self, it):
        """What an Fn::If comes to."""
        while isinstance(it, dict) and "Fn::If" in it:
            name, yes, no = it["Fn::If"]
            it = yes if self.condition(name) else no
        return it

    def sub(self, argument):
        text, names = argument if isinstance(argument, list) else (argument, {})
        known = {**self.values, **{name: self.value(it) for name, it in names.items()}}
        names = {name: it for name, it in known.items() if isinstance(it, str)}
        written = re.sub(r"\$\{(\w+)\}", lambda it: names.get(it[1], it[0]), text)
        return {"Fn::Sub": written} if "${" in written else written

    def broken_rules(self):
        """What CloudFormation says of these values before it makes anything."""
        for rule in self.template["Rules"].values():
            if self.truth(rule["RuleCondition"]):
                for assertion in rule["Assertions"]:
                    if not self.truth(assertion["Assert"]):
                        yield assertion["AssertDescription"]

    def of_type(self, kind):
        found = self.resources.items()
        return {name: it.get("Properties", {}) for name, it in found if it["Type"] == kind}


def without(it, key):
    return {name: value for name, value in it.items() if name != key}
