"""templates/terraform: formatted, valid for Terraform, and the same as natha where it must be."""

import re
import tempfile
import unittest
from pathlib import Path

from natha import ROOT, heartbeat_port, policy
from plan import Case, Refused, Terraform
from terraform import EXAMPLES, MODULES, TEMPLATES, Module, complaints

MODULE = Module.read(TEMPLATES)


class Written(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.terraform = Terraform()
        cls.addClassCleanup(cls.terraform.close)

    def test_is_formatted(self):
        status, said, error = self.terraform.run(TEMPLATES, "fmt", "-check", "-diff", "-recursive")
        self.assertEqual((status, said), (0, ""), error)

    def test_what_is_not_formatted_is_found(self):
        with tempfile.TemporaryDirectory() as directory:
            text = 'variable "a" {\n  type = string\n  default     = ""\n}\n'
            (Path(directory) / "main.tf").write_text(text, encoding="utf-8")
            status, said, _ = self.terraform.run(directory, "fmt", "-check", "-diff")
        self.assertEqual(status, 3)
        self.assertIn("+  type    = string", said)

    def test_what_is_declared_is_used_and_explained(self):
        for path in MODULES:
            self.assertEqual(list(complaints(Module.read(path))), [], path)

    def test_what_is_not_used_or_explained_is_found(self):
        description = '  description = "All of it."\n'
        samples = [
            ('variable "a" {\n  type = string\n}\n', ["a is not used", "a needs a description"]),
            ('variable "a" {\n' + description + "}\n# var.a\n", ["variable a is not used"]),
            ("locals {\n  a = 1\n}\n", ["local a is not used"]),
            ('data "aws_vpc" "a" {\n  id = 1\n}\n', ["data aws_vpc.a is not used"]),
            ('output "a" {\n  value = 1\n}\n', ["output a needs a description"]),
        ]
        for text, expected in samples:
            found = list(complaints(Module(text)))
            self.assertEqual(len(found), len(expected), f"{text}: {found}")
            for part, one in zip(expected, found, strict=True):
                self.assertIn(part, one)


class Valid(Case):
    """What the stand-in for the provider has Terraform find."""

    def test_the_module_is_valid(self):
        self.assertIn("The configuration is valid", self.workspace.validate())

    def test_what_is_wrong_is_found(self):
        """Each of these was made of something right, by one change."""
        eip = 'resource "aws_eip" "a" {\n  domain = %s\n}\n'
        launch = 'resource "aws_launch_template" "a" {\n  %s\n}\n'
        samples = [
            (eip % '"vpc"\n  nonsense = 1', 'An argument named "nonsense" is not expected here'),
            (eip % '"vpc"\n  filter {}', 'Blocks of type "filter" are not expected here'),
            (eip % "var.nowhere", 'An input variable with the name "nowhere"'),
            (eip % "local.nowhere", 'A local value with the name "nowhere"'),
            (eip % "aws_eip.b.id", 'A managed resource "aws_eip" "b" has not been declared'),
            (eip % "aws_security_group.this.idd", "has no argument, nested block, or exported"),
            (eip % "each.key", 'The "each" object can be used only in "module" or'),
            (launch % "metadata_options {\n http_token = 1\n}", 'named "http_token" is not exp'),
            (launch % 'ebs_optimized = ["a"]', "Inappropriate value for attribute"),
            ('resource "aws_elastic_ip" "a" {}', 'does not support resource type "aws_elastic_ip"'),
            (
                'resource "aws_ec2_tag" "a" {\n  key   = 1\n  value = 1\n}',
                'The argument "resource_id" is required',
            ),
        ]
        path = self.workspace.directory / "wrong.tf"
        self.addCleanup(path.unlink)
        for text, expected in samples:
            path.write_text(text, encoding="utf-8")
            with self.subTest(expected), self.assertRaises(Refused) as found:
                self.workspace.validate()
            self.assertIn(expected, str(found.exception))


class Agreed(unittest.TestCase):
    """What must be the same here and in natha."""

    REFERENCES = ["--cluster-ref", "var.name", "--vpc-ref", "var.vpc_id"]
    KEY = ["--key-parameter-ref", "var.key_parameter"]
    TOPIC = ["--sns-topic-ref", "var.sns_topic_arn"]

    def test_the_policy_is_what_natha_prints(self):
        text = (TEMPLATES / "policy.tf").read_text(encoding="utf-8")
        written = "".join(re.findall(r"^(?!#).*\n", text, re.M)).lstrip("\n")
        printed = policy("terraform", *self.REFERENCES, *self.KEY, *self.TOPIC)
        region = 'data "aws_region" "current" {%s}'
        self.assertEqual(printed.count(region % ""), 1)
        printed = printed.replace(region % "", region % "\n  region = var.region\n")
        self.assertEqual(written, printed, "write what the first lines of policy.tf tell into it")

    def test_what_is_left_out_is_what_natha_would_leave_out(self):
        def sids(*arguments):
            return set(re.findall(r'sid = "(\w+)"', policy("terraform", *arguments)))

        given = [*self.REFERENCES, *self.KEY, *self.TOPIC]
        every = sids(*given)
        self.assertEqual(every - sids(*given, "--set", "repair.enabled=false"), {"Repair"})
        self.assertEqual(every - sids(*self.REFERENCES, *self.TOPIC), {"ReadKey"})
        self.assertEqual(every - sids(*self.REFERENCES, *self.KEY), {"PublishNotices"})
        [text] = re.findall(r"not_needed = concat\((.*?)\n  \)", MODULE.text, re.S)
        found = re.findall(r'\["(\w+)"\]', text)
        self.assertEqual(found, ["Repair", "ReadKey", "PublishNotices"], text)

    def test_heartbeats_have_natha_s_port(self):
        [found] = re.findall(r'"heartbeat.port", "(\d+)"', MODULE.text)
        self.assertEqual(int(found), heartbeat_port())

    def test_no_default_route_is_terraform_s(self):
        """It would be led back to a failed node."""
        self.assertNotIn("aws_route", {kind for _, kind, _ in MODULE.types})
        for path in EXAMPLES:
            text = Module.read(path).text
            for body in re.findall(r'^resource "aws_route" .*?^\}', text, re.M | re.S):
                self.assertIn("aws_internet_gateway", body, path)
            for body in re.findall(r'^resource "aws_route_table" .*?^\}', text, re.M | re.S):
                self.assertNotIn("route {", body, path)


class Documented(unittest.TestCase):
    """docs/templates.md has a row for every input and output, and the inputs' defaults."""

    TEXT = (ROOT / "docs/templates.md").read_text(encoding="utf-8")

    def rows(self, head):
        table = self.TEXT.partition(head)[2].partition("\n\n")[0]
        for line in table.splitlines():
            cells = [it.strip() for it in line.strip("| ").split(" | ")]
            for name in re.findall(r"`(\w+)`", cells[0]):
                yield name, cells

    def test_every_input_has_a_row_with_its_default(self):
        found = dict(self.rows("| input | default | meaning |\n|---|---|---|\n"))
        self.assertEqual(set(found), set(MODULE.variables))
        for name, body in MODULE.named["variable"].items():
            default = re.search(r"^  default +?= (.*)$", body, re.M)
            wanted = default[1].strip() if default else "–"
            shown = found[name][1].strip("`").replace("null", "").replace("empty", '""')
            shown = {"–": "–", "": "null"}.get(shown, shown)
            self.assertIn(wanted, (shown, f'"{shown}"'), name)

    def test_every_output_has_a_row(self):
        found = dict(self.rows("| output | meaning |\n|---|---|\n"))
        self.assertEqual(set(found), set(MODULE.outputs))


if __name__ == "__main__":
    unittest.main()
