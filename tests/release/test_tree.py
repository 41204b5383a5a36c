"""scripts/release versions, check and notes: a tree that can be released, and each that cannot."""

import datetime
import subprocess
import unittest

from tree import ROOT, TODAY, VERSION, Tree


LAB = f'name = "natha-lab"\nversion = "{VERSION}"'


class Case(unittest.TestCase):
    def setUp(self):
        self.tree = Tree()
        self.addCleanup(self.tree.close)

    def refused(self, message, *arguments):
        """The command ends with status 1, prints this, and says nothing else is wrong."""
        status, out, err = self.tree.release(*arguments)
        self.assertEqual((status, out), (1, ""), err)
        self.assertIn(message, err)
        faults = [line for line in err.splitlines() if line.startswith("error: ")]
        self.assertEqual(len(faults), 2, err)
        self.assertIn("error: 1 of these must be corrected first", err)


class This(unittest.TestCase):
    def test_the_documents_of_this_tree_name_its_version(self):
        command = [ROOT / "scripts/release", "versions"]
        done = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)


class Check(Case):
    def test_a_good_tree(self):
        for version in (VERSION, "v" + VERSION):
            status, _, err = self.tree.release("check", version)
            self.assertEqual(status, 0, err)
            self.assertIn(self.tree.git("rev-parse", "HEAD").strip(), err)

    def test_a_tag_of_this_commit_is_right_and_of_another_wrong(self):
        self.tree.git("tag", "--annotate", "--message", "x", "v" + VERSION)
        self.assertEqual(self.tree.release("check", VERSION)[0], 0)
        self.tree.git("commit", "--quiet", "--allow-empty", "--message", "later")
        self.refused(f"the tag v{VERSION} is commit ", "check", VERSION)

    def test_another_version_than_that_of_the_manifest(self):
        self.tree.change("CHANGELOG.md", "## " + VERSION, "## 1.3.0")
        self.refused("Cargo.toml has version 1.2.3", "check", "1.3.0")

    def test_a_changed_and_a_new_file(self):
        self.tree.write("README.md", (self.tree.path / "README.md").read_text() + "x\n")
        self.refused(" M README.md", "check", VERSION)
        self.tree.commit()
        self.tree.write("new", "x")
        self.refused("?? new", "check", VERSION)

    def test_a_section_that_is_missing(self):
        self.tree.change("CHANGELOG.md", f"## {VERSION} - {TODAY}\n", "")
        status, _, err = self.tree.release("check", VERSION)
        self.assertEqual(status, 1)
        self.assertIn("the first version in CHANGELOG.md is 1.2.2, not 1.2.3", err)

    def test_a_section_below_an_older_one(self):
        text = (self.tree.path / "CHANGELOG.md").read_text()
        swapped = text.replace("1.2.2 - 2024-02-29", f"{VERSION} - {TODAY}")
        swapped = swapped.replace(f"{VERSION} - {TODAY}", "1.2.4 - 2024-02-28", 1)
        self.tree.change("CHANGELOG.md", text, swapped)
        self.refused("the first version in CHANGELOG.md is 1.2.4, not 1.2.3", "check", VERSION)

    def test_a_section_without_entries(self):
        self.tree.change("CHANGELOG.md", "### Fixed\n\n- A fault.\n", "")
        self.refused("CHANGELOG.md says nothing about 1.2.3", "check", VERSION)

    def test_a_date_that_is_missing_wrong_or_in_the_future(self):
        heading = f"## {VERSION} - {TODAY}"
        later = TODAY + datetime.timedelta(days=2)
        wrong = "has no date: ## 1.2.3 - YYYY-MM-DD"
        cases = [
            ("", wrong),
            (" - 2026-02-30", wrong),
            (" - 2026-2-3", wrong),
            (f" - {later}", f"dates 1.2.3 to the future, {later}"),
        ]
        before = heading
        for date, message in cases:
            with self.subTest(date):
                self.tree.change("CHANGELOG.md", before, f"## {VERSION}{date}")
                before = f"## {VERSION}{date}"
                self.refused(message, "check", VERSION)

    def test_a_heading_in_brackets(self):
        self.tree.change("CHANGELOG.md", f"## {VERSION} -", f"## [{VERSION}] -")
        self.assertEqual(self.tree.release("check", VERSION)[0], 0)

    def test_entries_that_are_still_unreleased(self):
        self.tree.change("CHANGELOG.md", "## Unreleased\n", "## Unreleased\n\n- Another.\n")
        self.refused("CHANGELOG.md has entries under Unreleased", "check", VERSION)

    def test_a_document_that_says_there_is_no_release(self):
        for said in (
            "No version has been released.",
            "Text.\nNo version has\nbeen released yet.",
            "There is no release and no\npublic image yet.",
            "| releases | none exist yet |",
        ):
            with self.subTest(said):
                self.tree.write("SECURITY.md", said + "\n")
                self.tree.commit()
                self.refused("  SECURITY.md: ", "check", VERSION)
        self.tree.write("SECURITY.md", "No version is without a key. It was released today.\n")
        self.tree.commit()
        self.assertEqual(self.tree.release("check", VERSION)[0], 0)

    def test_no_public_key(self):
        (self.tree.path / "packaging/release-key.gpg").unlink()
        self.tree.commit()
        self.refused("there is no packaging/release-key.gpg", "check", VERSION)

    def test_every_fault_is_named(self):
        self.tree.change("SECURITY.md", "# Security\n", "No version has been released.\n")
        self.tree.change("Cargo.lock", LAB, LAB.replace(VERSION, "1.2.2"))
        status, _, err = self.tree.release("check", VERSION)
        self.assertEqual(status, 1)
        self.assertIn("error: 2 of these must be corrected first", err)


class Versions(Case):
    def test_a_good_tree_and_other_numbers(self):
        self.tree.change("README.md", "packer", "fck-nat 1.4.0, natha:cluster, 10.1.2.3: packer")
        self.assertEqual(self.tree.release("versions"), (0, "", ""))

    def test_a_crate_of_another_version(self):
        self.tree.change("Cargo.lock", LAB, LAB.replace(VERSION, "1.2.2"))
        self.refused("Cargo.lock has natha-lab 1.2.2, and Cargo.toml 1.2.3", "versions")

    def test_a_document_that_names_another_version(self):
        text = (self.tree.path / "README.md").read_text()
        package = "./natha_1.2.4-1_amd64.deb"
        for line in (package, "natha-1.2.4.x86_64", "version=1.2.4", "?ref=v1.2.4"):
            with self.subTest(line):
                self.tree.write("README.md", text + line + "\n")
                self.refused("README.md:2 names version 1.2.4, and Cargo.toml 1.2.3", "versions")
        self.tree.write("README.md", text)
        for name in ("docs/packages.md", "ami/natha.pkr.hcl", "templates/terraform/README.md"):
            with self.subTest(name):
                text = (self.tree.path / name).read_text()
                self.tree.write(name, text.replace(VERSION, "1.2.4"))
                self.refused(f"{name}:1 names version 1.2.4, and Cargo.toml 1.2.3", "versions")
                self.tree.write(name, text)


class Notes(Case):
    def test_they_are_the_section(self):
        self.assertEqual(self.tree.release("notes", VERSION), (0, "### Fixed\n\n- A fault.\n", ""))
        self.assertEqual(self.tree.release("notes", "v1.2.2"), (0, "- An older one.\n", ""))

    def test_without_the_links_below_them(self):
        links = "\n[1.2.2]: https://example.com\n"
        self.tree.change("CHANGELOG.md", "- An older one.\n", "- A.\n" + links)
        self.assertEqual(self.tree.release("notes", "1.2.2"), (0, "- A.\n", ""))

    def test_each_paragraph_and_each_item_is_one_line(self):
        entry = (
            "Text that\nis wrapped.\n\n#### Heading\n\n- An item\n  that is\n  wrapped.\n"
            "- Another\n  one.\n  1. Of\n     its own.\n\n| a | b |\n|---|---|\n\n"
            "```sh\nnatha setup\n  natha monitor\n```\nThe end\nof it.\n"
        )
        wanted = (
            "Text that is wrapped.\n\n#### Heading\n\n- An item that is wrapped.\n"
            "- Another one.\n  1. Of its own.\n\n| a | b |\n|---|---|\n\n"
            "```sh\nnatha setup\n  natha monitor\n```\nThe end of it.\n"
        )
        self.tree.change("CHANGELOG.md", "- An older one.\n", entry)
        self.assertEqual(self.tree.release("notes", "1.2.2"), (0, wanted, ""))

    def test_of_what_is_to_come(self):
        self.assertEqual(self.tree.release("notes", "Unreleased")[0], 1)
        self.tree.change("CHANGELOG.md", "## Unreleased\n", "## Unreleased\n\n- Another.\n")
        self.assertEqual(self.tree.release("notes", "Unreleased"), (0, "- Another.\n", ""))

    def test_of_a_version_that_is_not_there(self):
        # Each dot is a dot: 1.2.3 is no 1x2.3, and 1.2 no beginning of 1.2.3.
        for version in ("1.2.4", "11.2.3", "1.2.33"):
            status, out, err = self.tree.release("notes", version)
            self.assertEqual((status, out), (1, ""))
            self.assertIn(f"CHANGELOG.md says nothing about {version}", err)


class Usage(Case):
    def test_wrong_usage(self):
        for arguments in (
            [],
            ["publish"],
            ["check"],
            ["check", "1.2"],
            ["check", "1.2.3-rc1"],
            ["check", "1.2.3", "1.2.4"],
            ["notes", "unreleased"],
            ["versions", "1.2.3"],
            ["sums"],
            ["sign", "."],
            ["sign", ".", "--key"],
            ["verify", ".", "--key", "x"],
            ["sums", ".", "--public", "x"],
            ["check", "--strict", "1.2.3"],
        ):
            with self.subTest(arguments):
                status, out, err = self.tree.release(*arguments)
                self.assertEqual((status, out), (2, ""), err)
                self.assertIn("Usage: scripts/release", err)

    def test_help(self):
        for arguments in (["--help"], ["sign", "-h"]):
            status, out, err = self.tree.release(*arguments)
            self.assertEqual((status, err), (0, ""))
            self.assertTrue(out.startswith("Checks that a version can be released"), out)
            self.assertNotIn("set -euo", out)
