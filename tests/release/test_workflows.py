"""The workflows and forms of .github/: by the linters, and for what these do not know."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

from ruamel.yaml import YAML

from tree import ROOT

BIN = pathlib.Path(os.environ["NATHA_PYTHON"]).parent
SCHEMAS = {
    "vendor.github-workflows": "workflows/*.yml",
    "custom.github-workflows-require-timeout": "workflows/*.yml",
    "vendor.github-issue-forms": "ISSUE_TEMPLATE/[!c]*.yml",
    "vendor.github-issue-config": "ISSUE_TEMPLATE/config.yml",
    "vendor.dependabot": "dependabot.yml",
}
FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
PINNED = re.compile(r"uses: (?P<action>[\w./-]+)@(?P<hash>[0-9a-f]{40}) # v\d+\.\d+\.\d+$")


def run(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def conforms(schema, files):
    return run(BIN / "check-jsonschema", "--builtin-schema", schema, *files)


def audit(directory):
    """What zizmor finds, without asking the network."""
    options = ["--offline", "--no-progress", "--strict-collection", "--pedantic", "--color=never"]
    return run(BIN / "zizmor", *options, directory)


def read(path):
    # YAML 1.2: in 1.1, the key "on" is true.
    return YAML(typ="safe", pure=True).load(path)


WORKFLOWS = {path.name: read(path) for path in FILES}
JOBS = {
    (name, job): what
    for name, workflow in WORKFLOWS.items()
    for job, what in workflow["jobs"].items()
}
STEPS = [(where, step) for where, job in JOBS.items() for step in job.get("steps", [])]


class Linters(unittest.TestCase):
    def test_every_file_conforms_to_its_schema(self):
        for schema, pattern in SCHEMAS.items():
            with self.subTest(schema):
                files = sorted((ROOT / ".github").glob(pattern))
                self.assertTrue(files, pattern)
                status, told = conforms(schema, files)
                self.assertEqual(status, 0, told)

    def test_nothing_is_found_in_the_workflows(self):
        status, told = audit(ROOT / ".github")
        self.assertEqual(status, 0, told)

    def test_every_command_is_clean_shell(self):
        commands = [(where, step["run"]) for where, step in STEPS if "run" in step]
        self.assertGreater(len(commands), 10)
        with tempfile.TemporaryDirectory() as work:
            for count, (where, command) in enumerate(commands):
                path = pathlib.Path(work, f"{count}.sh")
                path.write_text(f"#!/usr/bin/env bash\nset -e\n{command}\n")
                status, told = run("shellcheck", path)
                self.assertEqual(status, 0, f"{where}: {told}")


class Seeded(unittest.TestCase):
    """Each linter can fail."""

    def changed(self, name, old, new):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        copy = pathlib.Path(directory.name, ".github")
        shutil.copytree(ROOT / ".github", copy)
        text = (copy / name).read_text()
        self.assertIn(old, text)
        (copy / name).write_text(text.replace(old, new, 1))
        return copy

    def test_a_wrong_key_a_wrong_type_and_no_time_limit(self):
        cases = [
            ("vendor.github-workflows", "workflows/ci.yml", "runs-on:", "run-on:"),
            ("custom.github-workflows-require-timeout", "workflows/ci.yml", "timeout-minutes", "#"),
            ("vendor.github-issue-forms", "ISSUE_TEMPLATE/bug.yml", "dropdown", "menu"),
            ("vendor.github-issue-config", "ISSUE_TEMPLATE/config.yml", "false", "maybe"),
            ("vendor.dependabot", "dependabot.yml", "monthly", "often"),
        ]
        for schema, name, old, new in cases:
            with self.subTest(schema):
                status, told = conforms(schema, [self.changed(name, old, new) / name])
                self.assertEqual(status, 1, told)

    def test_what_zizmor_is_for(self):
        hash_of_it = PINNED.search((ROOT / ".github/workflows/ci.yml").read_text())["hash"]
        cases = [
            ("unpinned-uses", "ci.yml", hash_of_it, "v7"),
            ("artipacked", "ci.yml", "persist-credentials: false", "clean: true"),
            ("dangerous-triggers", "ci.yml", "pull_request:", "pull_request_target:"),
            ("template-injection", "release.yml", "$GITHUB_REF_NAME", "${{ github.ref_name }}"),
            ("excessive-permissions", "ci.yml", "permissions: {}", "permissions: write-all"),
        ]
        for rule, name, old, new in cases:
            with self.subTest(rule):
                status, told = audit(self.changed("workflows/" + name, old, new))
                self.assertNotEqual(status, 0)
                self.assertIn(f"[{rule}]", told)


class Rules(unittest.TestCase):
    def test_every_action_is_pinned_once_with_its_version(self):
        pins = {}
        for path in FILES:
            for line in path.read_text().splitlines():
                if "uses:" not in line or "uses: $/" in line:
                    continue
                found = PINNED.search(line)
                self.assertTrue(found, f"{path.name}: {line}")
                pins.setdefault(found["action"], set()).add(found["hash"])
        self.assertGreater(len(pins), 5)
        for action, hashes in pins.items():
            self.assertEqual(len(hashes), 1, action)

    def test_every_script_and_workflow_that_is_called_exists(self):
        called = set()
        for _, step in STEPS:
            called |= set(re.findall(r"(?<!\S)(?:scripts|tests|\.ci)/\S+", step.get("run", "")))
        for job in JOBS.values():
            if "uses" in job:
                called.add(job["uses"].removeprefix("$/"))
        self.assertLessEqual({".ci/run", ".ci/rust", "scripts/package", "scripts/release"}, called)
        for name in sorted(called):
            self.assertTrue((ROOT / name).is_file(), f"{name} does not exist")

    def test_a_pull_request_gets_no_secret_and_no_right_to_write(self):
        reached = [name for name, what in WORKFLOWS.items() if "pull_request" in what["on"]]
        self.assertEqual(reached, ["ci.yml"])
        for name in reached:
            self.assertNotIn("secrets", (ROOT / ".github/workflows" / name).read_text())
            for job in WORKFLOWS[name]["jobs"].values():
                self.assertEqual(job["permissions"], {"contents": "read"})
                self.assertNotIn("environment", job)

    def test_a_workflow_has_no_rights_but_those_of_its_jobs(self):
        for name, workflow in WORKFLOWS.items():
            self.assertEqual(workflow["permissions"], {}, name)
        writes = {
            (*where, right)
            for where, job in JOBS.items()
            for right, value in job["permissions"].items()
            if value == "write"
        }
        wanted = {
            ("release.yml", "draft", "contents"),
            ("release.yml", "image", "id-token"),
            ("site.yml", "deploy", "id-token"),
            ("site.yml", "deploy", "pages"),
        }
        self.assertEqual(writes, wanted)

    def test_secrets_and_the_role_are_behind_an_approval(self):
        """An environment is where the repository's settings ask for a reviewer."""
        guarded = {
            where: job["environment"]
            for where, job in JOBS.items()
            if "secrets." in str(job) or "role-to-assume" in str(job)
        }
        wanted = {("release.yml", "sign"): "release", ("release.yml", "image"): "images"}
        self.assertEqual(guarded, wanted)
        for _, step in STEPS:
            for key in ("aws-access-key-id", "aws-secret-access-key"):
                self.assertNotIn(key, step.get("with", {}))

    def test_what_is_published_was_verified_first(self):
        for name in ("draft", "image"):
            steps = [step.get("run", "") for step in JOBS["release.yml", name]["steps"]]
            verified = steps.index("scripts/release verify dist")
            used = next(at for at, step in enumerate(steps) if "dist/" in step)
            self.assertLess(verified, used, name)
