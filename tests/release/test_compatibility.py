"""The numbers in docs/compatibility.md are those of the program."""

import re
import unittest

from tree import ROOT

PAGE = (ROOT / "docs/compatibility.md").read_text()
# An integer that says which form of something the program reads or writes.
CONSTANT = re.compile(r"^(?:pub |pub\(\w+\) )?const (?:VERSION|FORMAT): u\d+ = (\d+);$", re.M)


def section(heading):
    _, rest = PAGE.split(f"\n## {heading}\n")
    return rest.split("\n## ")[0]


def rows(heading):
    """The cells of the tables of a section, without their heads."""
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    head = 1 + next(at for at, line in enumerate(lines) if line.startswith("|--"))
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[head:]]


def code(text):
    return re.findall(r"`([^`]+)`", text)


class Page(unittest.TestCase):
    def test_every_format_has_the_number_of_its_source(self):
        told = {}
        for row in rows("Formats"):
            ((path,), number) = code(row[-1]), row[1]
            told[path] = number
        found = {}
        for path in sorted((ROOT / "src").rglob("*.rs")):
            numbers = CONSTANT.findall(path.read_text())
            if numbers:
                (found[str(path.relative_to(ROOT))],) = numbers
        self.assertGreaterEqual(len(found), 6)
        self.assertEqual(told, found)

    def test_the_pages_of_the_formats_give_the_same_number(self):
        places = [
            ("src/record/header.rs", "docs/recordings.md", r"`natha_recording` \| .*: (\d+) \|"),
            ("src/history/fact.rs", "docs/history.md", r"`natha_history` \(.*, (\d+)\)"),
            ("src/notify/notice.rs", "docs/notices.md", r"`natha_notice` \| (\d+) \|"),
        ]
        numbers = {code(row[-1])[0]: row[1] for row in rows("Formats")}
        for source, page, pattern in places:
            told = re.findall(pattern, (ROOT / page).read_text())
            self.assertEqual(told, [numbers[source]], page)

    def test_the_exit_statuses_are_those_of_the_help(self):
        text = (ROOT / "src/cli.rs").read_text()
        listed = text.split("Exit codes:\n")[1].split('";')[0]
        statuses = re.findall(r"^  (\d+)  ", listed, re.M)
        self.assertEqual(statuses, ["0", "1", "2", "3"])
        self.assertEqual([row[0] for row in rows("Exit statuses")], statuses)

    def test_what_holds_a_promise_exists(self):
        held = [path for row in rows("What is promised") for path in code(row[-1])]
        self.assertGreaterEqual(len(held), 12)
        for path in held:
            self.assertTrue((ROOT / path).exists(), path)

    def test_requirements_are_those_of_the_packages_and_templates(self):
        needs = {row[0]: row[1] for row in rows("What was tried on what")}
        rust = re.search(r'^rust-version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.M)[1]
        control = (ROOT / "packaging/deb/control").read_text()
        nft = re.search(r"nftables \(>= ([\d.]+)\)", control)[1]
        systemd = re.search(r"systemd \(>= (\d+)\)", control)[1]
        plugins = (ROOT / "ami/plugins.pkr.hcl").read_text()
        packer = re.search(r'required_version = ">= ([\d.]+?)(?:\.0)?"', plugins)[1]
        versions = (ROOT / "templates/terraform/versions.tf").read_text()
        terraform = re.search(r'required_version = ">= ([\d.]+)"', versions)[1]
        provider = re.search(r'version = ">= ([\d.]+)"\n    }', versions)[1]
        self.assertEqual(needs["Rust, to build"], rust)
        self.assertEqual(needs["nft"], nft)
        self.assertTrue(needs["systemd"].startswith(systemd + ";"), needs["systemd"])
        self.assertEqual(needs["packer"], packer)
        self.assertEqual(needs["Terraform, AWS provider"], f"{terraform}, {provider}")
