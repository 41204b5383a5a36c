"""Works out what a module of Terraform would make, without Terraform: packer's console evaluates
the same language with most of the same functions.

Every resource becomes a local value of a template of packer: a map by the keys of its for_each, or
the one object. What only AWS knows is a text that tells where it came from, such as
`<aws_instance.this[eu-west-1a].id>`; what data sources find is told by the test.
"""

import json
import re
import subprocess
import tempfile
from pathlib import Path

from terraform import META, SCHEMA, is_block, items, plain

def text_of(value):
    """A value of the reader's, as source."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(text_of(it) for it in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {text_of(it)}" for key, it in items(value)) + "}"
    if value is None:
        return "null"
    text = str(value)
    return f"({text[2:-1]})" if text.startswith("${") and text.endswith("}") else text


def local(root, name):
    return f"{root}_{name}".replace("data.", "data_")


def renamed(source):
    """The source with references that packer's console can follow."""
    source = re.sub(r"(?<![\w.-])each\.(key|value)\b", r"each_\1", source)
    reference = r"(?<![\w.-])(data\.aws_\w+|aws_\w+)\.(\w+)"
    return re.sub(reference, lambda it: f"local.{local(*it.groups())}", source)


def body_of(body):
    """A block as an object: blocks in it are lists, and preconditions a list of what they say."""
    parts = []
    for name, value in items(body):
        if name in META or name == "lifecycle":
            continue
        if name == "dynamic":
            for entry in value:
                for label, it in items(entry):
                    kind = plain(label)
                    content = re.sub(rf"\b{kind}\.value\b", "each_one", body_of(it["content"][0]))
                    over = text_of(it["for_each"])
                    parts.append(f"{kind} = [for each_one in {over} : {content}]")
        elif isinstance(value, list) and value and all(is_block(it) for it in value):
            parts.append(f"{name} = [" + ", ".join(body_of(it) for it in value) + "]")
        else:
            parts.append(f"{name} = {text_of(value)}")
    conditions = [
        f"({text_of(it['condition'])} ? \"\" : {text_of(it['error_message'])})"
        for lifecycle in body.get("lifecycle", [])
        for it in lifecycle.get("precondition", [])
    ]
    parts.append("refused = [" + ", ".join(conditions) + "]")
    return "{" + ", ".join(parts) + "}"


def made(kind, name, body, over):
    """What can be referred to of a resource: what was said of it, and what only AWS knows."""
    where = f"{kind}.{name}" + ("[${each_key}]" if over else "")
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    attributes = schema["resource"][kind]["attributes"]
    told = {key: it for key, it in items(body) if key not in META and not isinstance(it, list)}
    fields = [
        f"{it} = " + (renamed(text_of(told[it])) if it in told else f'"<{where}.{it}>"')
        for it in attributes
    ]
    fields = "{" + ", ".join(fields) + "}"
    return f"{{for each_key, each_value in {over} : each_key => {fields}}}" if over else fields


class Plan:
    """What comes of a module with these inputs, and what its data sources find."""

    def __init__(self, module, data, **inputs):
        self.module = module
        resources = module.blocks["resource"]
        lines = [f"{name} = {text_of(value)}" for name, value in module.locals.items()]
        for (kind, name), found in data.items():
            lines.append(f"{local('data.' + kind, name)} = {json.dumps(found)}")
        wanted, made_here = {}, []
        for (kind, name), body in resources.items():
            over = text_of(body["for_each"]) if "for_each" in body else ""
            told = body_of(body)
            if "count" in body:
                told = f"[for each_key in range({text_of(body['count'])}) : {told}]"
            if over:
                told = f"{{for each_key, each_value in {over} : each_key => {told}}}"
            wanted[f"{kind}.{name}"] = f"plan_{kind}_{name}"
            lines.append(f"plan_{kind}_{name} = {told}")
            made_here.append(f"{local(kind, name)} = {made(kind, name, body, over)}")
        for name, body in module.modules.items():
            wanted[f"module {name}"] = f"module_{name}"
            given = {key: it for key, it in body.items() if key != "source"}
            lines.append(f"module_{name} = {body_of(given)}")
        for name, body in module.outputs.items():
            if "module.natha" in body["value"]:
                continue
            wanted[f"output {name}"] = f"output_{name}"
            lines.append(f"output_{name} = {text_of(body['value'])}")
        for name, body in module.variables.items():
            for place, it in enumerate(body.get("validation", [])):
                key = f"validation_{name}_{place}"
                wanted[key.replace("_", " ", 1)] = key
                condition, message = text_of(it["condition"]), text_of(it["error_message"])
                condition = self.matched(condition, inputs)
                lines.append(f'{key} = {condition} ? "" : {message}')
        lines = [renamed(it) for it in lines] + made_here
        self.found = evaluated(self.variables(inputs), lines, wanted)

    def variables(self, inputs):
        unknown = set(inputs) - set(self.module.variables)
        if unknown:
            raise AssertionError(f"there is no input {unknown}")
        for name, body in self.module.variables.items():
            default = json.dumps(inputs[name]) if name in inputs else text_of(body["default"])
            # Packer's merge fails where a map is empty, and not where an object is.
            kind = text_of(body["type"])
            kind = "" if "map(" in kind else f"  type = {kind}\n"
            yield f'variable "{name}" {{\n{kind}  default = {default}\n}}'

    def matched(self, condition, inputs):
        """A condition with its regular expressions worked out: packer 1.6 has none."""

        def found(it):
            default = self.module.variables[it[2]].get("default", "")
            return str(bool(re.search(it[1], inputs.get(it[2], plain(default))))).lower()

        return re.sub(r'can\(regex\("([^"\\]*)", var\.(\w+)\)\)', found, condition)

    def of(self, kind, name="this"):
        return self.found[f"{kind}.{name}"]

    def output(self, name):
        return self.found[f"output {name}"]

    def call(self, name):
        """What a module is called with."""
        return {key: it for key, it in self.found[f"module {name}"].items() if key != "refused"}

    def refused(self):
        """What the module says against its inputs."""
        for key, it in self.found.items():
            if key.startswith("validation ") and it:
                yield it
            elif key.startswith("aws_"):
                several = it if isinstance(it, list) else it.values()
                for one in [it] if "refused" in it else several:
                    yield from (message for message in one["refused"] if message)


def evaluated(variables, lines, wanted):
    """The wanted local values, by packer's console."""
    source = "\n".join([*variables, "locals {", *(f"  {line}" for line in lines), "}"]) + "\n"
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "plan.pkr.hcl"
        path.write_text(source, encoding="utf-8")
        # Of several lines, it prints the last one's value.
        fields = ", ".join(f'"{key}" = local.{name}' for key, name in wanted.items())
        command = ["packer", "console", str(path)]
        asked = f"jsonencode({{{fields}}})\n"
        done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=120)
        if "Error" not in done.stdout + done.stderr:
            return json.loads(done.stdout)
        # The console hides why a value is not there; this tells.
        why = ["packer", "validate", str(path)]
        told = subprocess.run(why, capture_output=True, text=True, timeout=120)
    raise AssertionError(f"{done.stdout}{done.stderr}{told.stdout}{told.stderr}"[:3000])
