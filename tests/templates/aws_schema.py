"""Makes aws_schema.json anew: what the AWS provider of Terraform knows of the types in templates/.

    npm pack @cdktf/provider-aws@21.22.1
    tar xzf cdktf-provider-aws-21.22.1.tgz package/.jsii
    target/venv/bin/python tests/templates/aws_schema.py package/.jsii

There is no registry of packages that has the provider itself. This package was generated from its
schema, and its description (.jsii) names every argument of every type, and whether it is required.
Only what templates/terraform uses is kept.
"""

import json
import re
import sys

from terraform import MODULES, Module

PACKAGE = "@cdktf/provider-aws."
# Named otherwise there, as the name means something in one of its languages.
RENAMED = {"self_attribute": "self"}


def snake(name):
    """An argument's name in Terraform, from its name in the package: cidrIpv4 is cidr_ipv4."""
    name = re.sub(r"(?<!^)([A-Z])", lambda found: "_" + found[1].lower(), name)
    return RENAMED.get(name, name)


def struct_of(kind):
    """The package's own type within a property's type: that of a block."""
    if isinstance(kind, dict):
        name = kind.get("fqn")
        if isinstance(name, str) and name.startswith(PACKAGE):
            return name
        kind = list(kind.values())
    for part in kind if isinstance(kind, list) else []:
        found = struct_of(part)
        if found:
            return found
    return None


def block(types, name):
    """The arguments and blocks of a type of the package."""
    known = {"arguments": {}, "blocks": {}}
    for prop in types[name]["properties"]:
        required = not prop.get("optional", False)
        nested = struct_of(prop["type"])
        if nested:
            known["blocks"][snake(prop["name"])] = {"required": required, **block(types, nested)}
        else:
            known["arguments"][snake(prop["name"])] = required
    return known


def schema(types, kind, is_data):
    words = [word.capitalize() for word in kind.removeprefix("aws_").split("_")]
    name = ("DataAws" if is_data else "") + "".join(words)
    full = PACKAGE + name[0].lower() + name[1:] + "." + name
    known = block(types, full + "Config")
    exported = (snake(prop["name"]) for prop in types[full]["properties"])
    of_package = ("_input", "tf_resource_type")
    known["attributes"] = sorted(it for it in exported if not it.endswith(of_package))
    return known


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        package = json.load(file)
    found = {"package": "@cdktf/provider-aws", "version": package["version"]}
    for key, is_data in (("resource", False), ("data", True)):
        used = {kind for path in MODULES for kind, _ in Module.read(path).blocks[key]}
        types = package["types"]
        found[key] = {kind: schema(types, kind, is_data) for kind in sorted(used)}
    print(json.dumps(found, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
