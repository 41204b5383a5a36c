"""Makes aws_schema.json anew: the AWS provider's schema of the types that templates/terraform uses.

    npm pack @cdktf/provider-aws@21.22.1
    tar xzf cdktf-provider-aws-21.22.1.tgz
    target/venv/bin/python tests/templates/aws_schema.py package

No package registry has the provider itself. This package was generated from its schema: the source
of each type, which its source map contains, gives the type of each argument, and whether it is
required, optional or computed.
"""

import base64
import json
import re
import sys
from pathlib import Path

from terraform import MODULES, Module

SOURCE_MAP = re.compile(r"sourceMappingURL=data:application/json;base64,(\S+)")
CLASS = re.compile(r"^export class (\w+) extends cdktf\.(\w+) \{\n(.*?)^\}", re.M | re.S)
HCL = re.compile(r"^export function (\w+)ToHclTerraform\(.*?^\}", re.M | re.S)
FIELD = re.compile(
    r"^  // (?P<name>\w+) - computed: (?P<computed>\w+), optional: (?P<optional>\w+), "
    r"required: (?P<required>\w+)\n(?P<body>.*?)(?=^  // \w+ - computed: |^  // =|\Z)",
    re.M | re.S,
)
SHAPE = re.compile(r"^ +(\w+): \{\n.*?isBlock: (\w+),\n +type: \"(\w+)\"", re.M | re.S)
NESTED = re.compile(r"private _\w+ = new ([\w.]+)\(this, \"\w+\"")
READ = re.compile(r"return (cdktf\.Fn\.tolist\()?.*?\bthis\.get(\w+)Attribute\(")
SIMPLE = {
    "String": "string",
    "Number": "number",
    "Boolean": "bool",
    "List": ["list", "string"],
    "NumberList": ["list", "number"],
    "StringMap": ["map", "string"],
    "cdktf.StringMap": ["map", "string"],
    "cdktf.BooleanMap": ["map", "bool"],
}


class Source:
    """The source of one resource or data source in the package."""

    def __init__(self, package, kind, is_data):
        folder = ("data-" if is_data else "") + kind.replace("_", "-")
        if not is_data:
            folder = folder.removeprefix("aws-")
        built = (package / "lib" / folder / "index.js").read_text(encoding="utf-8")
        of_map = json.loads(base64.b64decode(SOURCE_MAP.search(built)[1]))
        [text] = of_map["sourcesContent"]
        self.classes = {name: body for name, _, body in CLASS.findall(text)}
        bases = {base: name for name, base, _ in CLASS.findall(text)}
        self.main = bases["TerraformDataSource" if is_data else "TerraformResource"]
        self.shapes = {
            found[1]: {name: it for name, *it in SHAPE.findall(found[0])}
            for found in HCL.finditer(text)
        }
        self.version = re.search(r"providerVersion: '([\d.]+)'", text)[1]

    def block(self, name):
        """The arguments and blocks of a class, as Terraform's schema has them."""
        body = self.classes[name]
        struct = name.removesuffix("OutputReference")
        shapes = self.shapes.get(struct[0].lower() + struct[1:], {})
        if name == self.main:
            hcl = body.partition("synthesizeHclAttributes")[2]
            shapes = {found: it for found, *it in SHAPE.findall(hcl)}
        known = {"attributes": {}, "blocks": {}}
        for field in FIELD.finditer(body):
            is_block, shape = shapes.get(field["name"], ("false", "list"))
            nested = NESTED.search(field["body"])
            if nested and nested[1] not in SIMPLE and is_block == "true":
                known["blocks"][field["name"]] = self.nested(nested[1], shape, field["required"])
                continue
            words = [it for it in ("required", "optional", "computed") if field[it] == "true"]
            known["attributes"][field["name"]] = [self.kind(field["body"]), " ".join(words)]
        return known

    def nested(self, name, shape, required):
        is_list = name.endswith("List")
        inner = name.removesuffix("List") + "OutputReference" if is_list else name
        return {
            "nesting": {"struct": "single"}.get(shape, shape),
            "min": int(required == "true"),
            "max": int(not is_list and shape != "struct"),
            **self.block(inner),
        }

    def kind(self, body):
        """An attribute's type, as the protocol of providers writes it."""
        nested = NESTED.search(body)
        if nested and nested[1] in SIMPLE:
            return SIMPLE[nested[1]]
        if nested:
            inner = self.block(nested[1].removesuffix("List") + "OutputReference")
            fields = {name: kind for name, (kind, _) in inner["attributes"].items()}
            return ["list", ["object", fields]]
        is_set, getter = READ.search(body).groups()
        kind = SIMPLE[getter]
        return ["set", kind[1]] if is_set else kind


def main():
    package = Path(sys.argv[1])
    found = {"package": "@cdktf/provider-aws"}
    for key, is_data in (("resource", False), ("data", True)):
        types = (it for path in MODULES for it in Module.read(path).types)
        used = {kind for block, kind, _ in types if block == key}
        found[key] = {}
        for kind in sorted(used):
            source = Source(package, kind, is_data)
            found[key][kind] = source.block(source.main)
            found["provider"] = source.version
    print(json.dumps(found, indent=1, sort_keys=True))


if __name__ == "__main__":
    main()
