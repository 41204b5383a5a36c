"""templates/terraform: formatted, and without a name, an argument or a reference that is wrong."""

import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from natha import ROOT, heartbeat_port, policy
from terraform import MODULES, TEMPLATES, Module, complaints, expressions

SOURCES = sorted(TEMPLATES.rglob("*.tf"))
MODULE = Module.read(TEMPLATES)


def formatted(text):
    """Whether packer, whose language this is too, would write it so."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "it.pkr.hcl"
        # Packer 1.6 writes a space after this operator, as Terraform once did.
        path.write_text(re.sub(r"!(?=\w)", "! ", text), encoding="utf-8")
        command = ["packer", "fmt", "-check", "-diff", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return done.returncode == 0, done.stdout + done.stderr


class Written(unittest.TestCase):
    def test_is_formatted(self):
        self.assertGreaterEqual(len(SOURCES), 9)
        for path in SOURCES:
            good, said = formatted(path.read_text(encoding="utf-8"))
            self.assertTrue(good, f"{path}: terraform fmt would change it:\n{said}")

    def test_what_is_not_formatted_is_found(self):
        good, said = formatted('variable "a" {\n  type = string\n  default     = ""\n}\n')
        self.assertFalse(good)
        self.assertIn("+  type    = string", said)


class Right(unittest.TestCase):
    def test_nothing_is_wrong_as_far_as_names_tell(self):
        for path in MODULES:
            module = Module.read(path)
            self.assertTrue(list(module.bodies()), path)
            self.assertEqual(list(complaints(module)), [], path)

    def test_what_is_wrong_is_found(self):
        """Each of these was made of something right, by one change."""
        group = 'resource "aws_security_group" "a" {\n  vpc_id = %s\n}\n'
        eip = 'resource "aws_eip" "a" {\n  domain = %s\n}\n'
        rule = 'resource "aws_security_group_rule" "a" {\n  %s\n}\n'
        template = 'resource "aws_launch_template" "a" {\n  %s\n}\n'
        natha = 'module "natha" {\n  source = "."\n  %s\n}\n'
        samples = [
            (eip % '"vpc"\n  nonsense = 1', ["there is no argument nonsense"]),
            (eip % '"vpc"\n  filter {}', ["there is no block filter"]),
            (template % "ebs_optimised = true", ["there is no argument ebs_optimised"]),
            (template % "metadata_options = { http_tokens = 1 }", ["no argument metadata_options"]),
            (template % "metadata_options {\n http_token = 1\n}", ["no argument http_token"]),
            (template % 'dynamic "nonsense" {\n for_each = []\n content {}\n}', ["block nonsense"]),
            (
                template % 'dynamic "metadata_options" {\n for_each = []\n content {\n x = 1\n}\n}',
                ["metadata_options: there is no argument x"],
            ),
            (
                rule % 'protocol = "-1"\n from_port = 0\n to_port = 0\n type = "egress"',
                ["security_group_id is required"],
            ),
            ('resource "aws_elastic_ip" "a" {}', ["or there is no such type"]),
            (group % "var.vpc", ["var.vpc is not declared"]),
            (group % '"${local.vpc}"', ["local.vpc is not declared"]),
            (group % "aws_eip.b.id", ["aws_eip.b is not declared"]),
            (group % "data.aws_vpc.a.id", ["data.aws_vpc.a is not declared"]),
            (group % "aws_security_group.a.idd", ["has no attribute idd"]),
            (group % "aws_security_group.a[local.b[0]].idd", ["attribute idd", "local.b is not"]),
            (group % "each.key", ["each.key without for_each"]),
            (
                eip % "local.a\n for_each = local.a\n}\nlocals {\n a = toset([aws_eip.a.id])",
                ["for_each hangs on aws_eip.a, known too late"],
            ),
            (group % "module.b.id", ["module.b is not declared"]),
            ('variable "a" {\n type = string\n}', ["needs a type and a des", "is not used"]),
            ("locals {\n a = 1\n}", ["local a: it is not used"]),
            ('data "aws_vpc" "a" {\n id = 1\n}', ["data aws_vpc.a: it is not used"]),
            ('output "a" {\n value = 1\n}', ["output a: it needs a value and a description"]),
            (
                natha % 'name = "a"\n vpc = 1',
                ["has no input vpc", "ami_id is req", "vpc_az_maps is req", "vpc_id is req"],
            ),
            (
                'output "a" {\n description = "All of it."\n value = module.natha.ip\n}\n'
                + natha % 'name = "a"\n vpc_id = 1\n ami_id = 1\n vpc_az_maps = []',
                ["module natha has no output ip"],
            ),
        ]
        for text, expected in samples:
            found = list(complaints(Module(text)))
            self.assertEqual(len(found), len(expected), f"{text}: {found}")
            for part in expected:
                self.assertTrue(any(part in one for one in found), f"{text}: {part}: {found}")

    def test_what_is_literal_is_no_reference(self):
        text = 'locals {\n a = "var.x ${local.a} \\" $${local.y} {"\n # var.z\n}\n'
        self.assertEqual(list(complaints(Module(text))), [])


class Agreed(unittest.TestCase):
    """What must be the same here and in natha."""

    REFERENCES = ["--cluster-ref", "var.name", "--vpc-ref", "var.vpc_id"]
    KEY = ["--key-parameter-ref", "var.key_parameter"]
    TOPIC = ["--sns-topic-ref", "var.sns_topic_arn"]

    def test_the_policy_is_what_natha_prints(self):
        text = (TEMPLATES / "policy.tf").read_text(encoding="utf-8")
        written = "".join(re.findall(r"^(?!#).*\n", text, re.M)).lstrip("\n")
        printed = policy("terraform", *self.REFERENCES, *self.KEY, *self.TOPIC)
        self.assertEqual(written, printed, "write what the first lines of policy.tf tell into it")

    def test_what_is_left_out_is_what_natha_would_leave_out(self):
        def sids(*arguments):
            return set(re.findall(r'sid = "(\w+)"', policy("terraform", *arguments)))

        given = [*self.REFERENCES, *self.KEY, *self.TOPIC]
        every = sids(*given)
        self.assertEqual(every - sids(*given, "--set", "repair.enabled=false"), {"Repair"})
        self.assertEqual(every - sids(*self.REFERENCES, *self.TOPIC), {"ReadKey"})
        self.assertEqual(every - sids(*self.REFERENCES, *self.KEY), {"PublishNotices"})
        text = MODULE.locals["not_needed"]
        found = re.findall(r'\[\\?"(\w+)\\?"\]', text)
        self.assertEqual(found, ["Repair", "ReadKey", "PublishNotices"], text)

    def test_heartbeats_have_natha_s_port(self):
        found = re.findall(r'"heartbeat.port\\?", \\?"(\d+)', MODULE.locals["heartbeat_port"])
        self.assertEqual(found, [str(heartbeat_port())])

    def test_the_document_has_every_input_and_output(self):
        text = (ROOT / "docs/templates.md").read_text(encoding="utf-8")
        for name in [*MODULE.variables, *MODULE.outputs]:
            self.assertIn(f"`{name}`", text, f"docs/templates.md does not tell of {name}")

    def test_no_default_route_is_terraform_s(self):
        """It would be led back to a failed node."""
        self.assertNotIn("aws_route", {kind for kind, _ in MODULE.blocks["resource"]})
        for path in MODULES[1:]:
            for (kind, name), body in Module.read(path).blocks["resource"].items():
                text = " ".join(expressions(body))
                if kind == "aws_route":
                    self.assertIn("aws_internet_gateway", text, name)
                self.assertFalse(kind == "aws_route_table" and "route" in body, name)


if __name__ == "__main__":
    unittest.main()
