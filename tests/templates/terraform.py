"""Reads modules of Terraform and tells what is wrong with them, as far as that can be told without
Terraform: names, arguments, references. Values are not worked out.
"""

import json
import re
from pathlib import Path

import hcl2

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "templates/terraform"
MODULES = [TEMPLATES, TEMPLATES / "examples/pair", TEMPLATES / "examples/three-zones"]
SCHEMA = Path(__file__).with_name("aws_schema.json")

META = {"for_each", "count", "depends_on", "provider"}
META_BLOCKS = {"lifecycle", "dynamic"}
REFERENCE = re.compile(
    r"(?<![\w.-])(?P<root>var|local|module|each|data\.\w+|aws_\w+)\.(?P<name>\w+)"
    # What follows an index is looked at and not taken: the index may refer to something itself.
    r"(?:(?=(?:\[(?:[^\[\]]|\[[^\[\]]*\])*\])?\.(?P<attribute>\w+))|)"
)


def plain(text):
    """A label or a string without its quotes."""
    return text[1:-1] if text.startswith('"') and text.endswith('"') else text


def is_block(value):
    return isinstance(value, dict) and value.get("__is_block__", False)


def items(body):
    """A block's arguments and blocks, without what the reader added."""
    return [(key, value) for key, value in body.items() if not key.startswith("__")]


def code(text):
    """An expression without what is literal in it: of strings, only what is interpolated stays."""
    out, at, open_braces, string = [], 0, [], False
    while at < len(text):
        char = text[at]
        if string:
            if char == "\\":
                at += 1
            elif char == '"':
                string = False
            elif text.startswith("$${", at):
                at += 2
            elif text.startswith("${", at):
                open_braces.append(True)
                string = False
                out.append(" ")
                at += 1
        elif char == '"':
            string = True
            # A string in place of a name: an index, which has no attribute of its own.
            out.append("0")
        elif char == "{":
            open_braces.append(False)
        elif char == "}" and open_braces and open_braces.pop():
            string = True
            out.append(" ")
        elif not string:
            out.append(char)
        at += 1
    return "".join(out)


def expressions(value):
    """Every expression in a block, as code."""
    if isinstance(value, str):
        yield code(value[2:-1] if value.startswith("${") and value.endswith("}") else value)
    elif isinstance(value, list):
        for part in value:
            yield from expressions(part)
    elif isinstance(value, dict):
        for key, part in items(value):
            yield from expressions(part)


class Module:
    """A directory of Terraform, or the text of one file."""

    def __init__(self, text, path=TEMPLATES):
        self.path = path
        parsed = hcl2.loads(text)
        self.blocks = {"resource": {}, "data": {}}
        for key, found in self.blocks.items():
            for entry in parsed.get(key, []):
                for kind, named in items(entry):
                    for name, body in items(named):
                        found[(plain(kind), plain(name))] = body
        one = {"variable": {}, "output": {}, "module": {}, "provider": {}}
        for key, found in one.items():
            for entry in parsed.get(key, []):
                found.update({plain(name): body for name, body in items(entry)})
        self.variables, self.outputs = one["variable"], one["output"]
        self.modules = one["module"]
        self.providers = one["provider"]
        self.locals = {name: it for entry in parsed.get("locals", []) for name, it in items(entry)}

    @classmethod
    def read(cls, path):
        files = sorted(path.glob("*.tf"))
        return cls("\n".join(file.read_text(encoding="utf-8") for file in files), path)

    def bodies(self):
        """Every block that may refer to something, by the name that a message has for it."""
        for key, found in self.blocks.items():
            for (kind, name), body in found.items():
                yield f"{key} {kind}.{name}", body
        for key in ("variables", "outputs", "modules", "providers"):
            for name, body in getattr(self, key).items():
                yield f"{key[:-1]} {name}", body
        for name, value in self.locals.items():
            yield f"local {name}", {name: value}

    def references(self, body):
        for text in expressions(body):
            for found in REFERENCE.finditer(text):
                yield found["root"], found["name"], found["attribute"]


def of_block(where, body, known):
    """What is wrong with a block's arguments, by the provider's schema."""
    dynamic = {}
    for entry in body.get("dynamic", []):
        for name, it in items(entry):
            dynamic.setdefault(plain(name), []).extend(it["content"])
    given = set(dynamic)
    for name, value in items(body):
        given.add(name)
        if name in META or name in META_BLOCKS:
            continue
        blocks = isinstance(value, list) and value and all(is_block(it) for it in value)
        if blocks and name in known["blocks"]:
            for one in value:
                yield from of_block(f"{where}: {name}", one, known["blocks"][name])
        elif blocks or name not in known["arguments"]:
            yield f"{where}: there is no {'block' if blocks else 'argument'} {name}"
    for name, contents in dynamic.items():
        if name not in known["blocks"]:
            yield f"{where}: there is no block {name}"
            continue
        for one in contents:
            yield from of_block(f"{where}: {name}", one, known["blocks"][name])
    needed = {name for name, required in known["arguments"].items() if required}
    needed |= {name for name, it in known["blocks"].items() if it["required"]}
    for name in sorted(needed - given):
        yield f"{where}: {name} is required"


def of_arguments(module):
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    for key, found in module.blocks.items():
        for (kind, name), body in found.items():
            known = schema[key].get(kind)
            if known is None:
                yield f"{key} {kind}.{name}: make aws_schema.json anew, or there is no such type"
                continue
            yield from of_block(f"{key} {kind}.{name}", body, known)


def called(module, name):
    source = plain(module.modules[name]["source"])
    return Module.read((module.path / source).resolve())


def of_references(module):
    """References to what is not declared, and attributes that are not exported."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    for where, body in module.bodies():
        for root, name, attribute in module.references(body):
            if root == "each":
                if "for_each" not in body:
                    yield f"{where}: each.{name} without for_each"
            elif root in ("var", "local", "module"):
                known = {"var": module.variables, "local": module.locals, "module": module.modules}
                if name not in known[root]:
                    yield f"{where}: {root}.{name} is not declared"
                elif root == "module" and attribute not in called(module, name).outputs:
                    yield f"{where}: module {name} has no output {attribute}"
            else:
                key = "data" if root.startswith("data.") else "resource"
                kind = root.removeprefix("data.")
                if (kind, name) not in module.blocks[key]:
                    yield f"{where}: {root}.{name} is not declared"
                elif attribute and attribute not in schema[key][kind]["attributes"]:
                    yield f"{where}: {kind} has no attribute {attribute}"


def of_counts(module):
    """How many there are of something must be known before anything is made."""

    def roots(value, seen):
        for root, name, _ in module.references(value):
            if root == "local" and name not in seen and name in module.locals:
                yield from roots(module.locals[name], seen | {name})
            yield root, name

    for key, found in module.blocks.items():
        for (kind, name), body in found.items():
            for it in {"for_each", "count"} & set(body):
                for root, other in roots(body[it], set()):
                    if root not in ("var", "local"):
                        yield f"{key} {kind}.{name}: {it} hangs on {root}.{other}, known too late"


def of_declarations(module):
    """What is declared and not used, or not explained."""
    used = {found for _, body in module.bodies() for found in module.references(body)}
    used = {(root, name) for root, name, _ in used}
    for name, body in module.variables.items():
        if "type" not in body or len(body.get("description", "")) < 8:
            yield f"variable {name}: it needs a type and a description"
        # A variable's own validation is no use of it.
        others = (it for where, it in module.bodies() if where != f"variable {name}")
        if not any(("var", name) == found[:2] for it in others for found in module.references(it)):
            yield f"variable {name}: it is not used"
    for name in module.locals:
        if ("local", name) not in used:
            yield f"local {name}: it is not used"
    for kind, name in module.blocks["data"]:
        if (f"data.{kind}", name) not in used:
            yield f"data {kind}.{name}: it is not used"
    for name, body in module.outputs.items():
        if "value" not in body or len(body.get("description", "")) < 8:
            yield f"output {name}: it needs a value and a description"


def of_calls(module):
    """Calls of modules: inputs that are missing or unknown."""
    for name, body in module.modules.items():
        inputs = called(module, name).variables
        given = {key for key, _ in items(body)} - META - {"source", "version", "providers"}
        for key in sorted(given - set(inputs)):
            yield f"module {name}: it has no input {key}"
        needed = {key for key, it in inputs.items() if "default" not in it}
        for key in sorted(needed - given):
            yield f"module {name}: {key} is required"


def complaints(module):
    for check in (of_arguments, of_references, of_counts, of_declarations, of_calls):
        yield from check(module)
