"""The modules of templates/terraform as text: what they declare, and what of it is not used or not
explained. Terraform itself checks the rest (plan.py).
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "templates/terraform"
EXAMPLES = sorted(path.parent for path in TEMPLATES.glob("examples/*/main.tf"))
MODULES = [TEMPLATES, *EXAMPLES]
SCHEMA = Path(__file__).with_name("aws_schema.json")

TYPE = re.compile(r'^(resource|data) "(\w+)" "(\w+)"', re.M)
NAMED = re.compile(r'^(variable|output|module) "([\w-]+)" \{\n(.*?)^\}', re.M | re.S)
LOCALS = re.compile(r"^locals \{\n(.*?)^\}", re.M | re.S)
LOCAL = re.compile(r"^  (\w+) +=", re.M)


class Module:
    """The text of a directory of Terraform, without its comments."""

    def __init__(self, text):
        self.text = re.sub(r"^ *#.*\n", "", text, flags=re.M)
        self.types = [found.groups() for found in TYPE.finditer(self.text)]
        self.named = {"variable": {}, "output": {}, "module": {}}
        for kind, name, body in NAMED.findall(self.text):
            self.named[kind][name] = body
        self.locals = [name for it in LOCALS.findall(self.text) for name in LOCAL.findall(it)]

    @classmethod
    def read(cls, path):
        files = sorted(path.glob("*.tf"))
        return cls("\n".join(file.read_text(encoding="utf-8") for file in files))

    @property
    def variables(self):
        return list(self.named["variable"])

    @property
    def outputs(self):
        return list(self.named["output"])


def complaints(module):
    """What is declared and not used, or not explained: Terraform does not mind."""

    def is_used(reference, text=module.text):
        return re.search(rf"(?<![\w.]){re.escape(reference)}(?!\w)", text) is not None

    for name, body in module.named["variable"].items():
        # A variable's own validation is no use of it.
        if not is_used(f"var.{name}", module.text.replace(body, "")):
            yield f"variable {name} is not used"
    for kind in ("variable", "output"):
        for name, body in module.named[kind].items():
            described = re.search(r'^  description = "(.*)"$', body, re.M)
            if not described or len(described[1]) < 8 or not described[1].endswith("."):
                yield f"{kind} {name} needs a description: a sentence"
    for name in module.locals:
        if not is_used(f"local.{name}"):
            yield f"local {name} is not used"
    for kind, of, name in module.types:
        if kind == "data" and not is_used(f"data.{of}.{name}"):
            yield f"data {of}.{name} is not used"
