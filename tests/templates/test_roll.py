"""scripts/roll replaces one node after the other, and stops where something is not as it should
be. fake_tools.py stands in for AWS and Terraform: which commands run, and in which order."""

import json
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

from natha import ROOT

FAKE = Path(__file__).with_name("fake_tools.py")


class Roll(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name)
        for name in ("aws", "terraform"):
            (self.directory / name).symlink_to(FAKE)
        self.state = {
            "instances": [
                {"id": f"i-{it}", "name": f"blue-zone-{it}", "group": None} for it in "ab"
            ],
            "results": {},
            "plan": 0,
            "refresh": "Successful",
            "launched": 0,
            "calls": [],
            "commands": [],
        }

    def roll(self, *arguments, status=0):
        """What it says. Its calls are in self.calls."""
        path = self.directory / "state.json"
        path.write_text(json.dumps(self.state), encoding="utf-8")
        environment = {
            **os.environ,
            "PATH": f"{self.directory}:{os.environ['PATH']}",
            "FAKE_STATE": str(path),
            "NATHA_ROLL_PAUSE": "0.01",
        }
        done = subprocess.run(
            [ROOT / "scripts/roll", *arguments],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=600,
        )
        self.assertEqual(done.returncode, status, done.stderr)
        self.state = json.loads(path.read_text(encoding="utf-8"))
        self.calls = self.state["calls"]
        return done.stderr

    def test_every_node_is_replaced_after_the_other(self):
        replaced = 'terraform apply -replace=module.natha.aws_instance.this["zone-%s"]'
        said = self.roll("--cluster", "blue", "--yes")
        self.assertIn("replaced: zone-a zone-b", said)
        of_a = ["i-b: natha status", "i-a: natha drain", replaced % "a"]
        of_a += ["i-new1: natha status", "i-b: natha status"]
        of_b = ["i-new1: natha status", "i-b: natha drain", replaced % "b"]
        of_b += ["i-new2: natha status", "i-new1: natha status"]
        self.assertEqual(self.calls, of_a + of_b)

    def test_an_instance_of_a_group_is_replaced_by_the_group(self):
        for it in self.state["instances"]:
            it["group"] = f"group-{it['id']}"
        self.roll("--cluster", "blue", "--yes", "zone-b")
        self.assertIn("refresh group-i-b", self.calls)
        self.assertFalse(any(it.startswith("terraform") for it in self.calls))

    def test_it_waits_until_the_cluster_is_well(self):
        self.state["results"]["i-new1: natha status"] = [1, 3, 0]
        self.roll("--cluster", "blue", "--yes", "--module", "module.nat", "zone-a")
        self.assertEqual(self.calls.count("i-new1: natha status"), 3)
        self.assertEqual(self.calls[-1], "i-b: natha status")

    def test_a_cluster_that_is_not_well_is_left_alone(self):
        self.state["results"]["i-b: natha status"] = [3]
        said = self.roll("--cluster", "blue", "--yes", status=3)
        self.assertIn("natha status on i-b ended with 3: it ended with 3", said)
        self.assertEqual(self.calls, ["i-b: natha status"])

    def test_it_stops_at_the_first_failure(self):
        cases = [
            ({"results": {"i-a: natha drain": [3]}}, "i-a does not drain and is not replaced"),
            (
                {"results": {"i-new1: natha status": [3]}},
                "the cluster is not well 1 s after zone-a",
            ),
            ({"plan": 2}, "has changes: run terraform apply first"),
            ({"plan": 1}, "terraform plan fails"),
        ]
        before = self.state
        for change, expected in cases:
            with self.subTest(expected):
                self.state = {**before, **change, "calls": []}
                said = self.roll("--cluster", "blue", "--yes", "--limit", "1", status=1)
                self.assertIn(expected, said)
                self.assertNotIn("i-b: natha drain", self.calls)

    def test_a_refresh_that_fails_ends_it(self):
        for it in self.state["instances"]:
            it["group"] = f"group-{it['id']}"
        self.state["refresh"] = "Failed"
        said = self.roll("--cluster", "blue", "--yes", status=1)
        self.assertIn("the refresh refresh-1 of group-i-a ended as Failed", said)

    def test_nothing_happens_without_a_yes(self):
        said = self.roll("--cluster", "blue", status=1)
        self.assertIn("stopped before zone-a", said)
        self.assertEqual(self.calls, ["i-b: natha status"])

    def test_a_node_alone_is_not_replaced(self):
        del self.state["instances"][1]
        said = self.roll("--cluster", "blue", "--yes", status=1)
        self.assertIn("has no node but zone-a", said)

    def test_what_is_not_there_is_named(self):
        said = self.roll("--cluster", "blue", "--yes", "zone-c", status=1)
        self.assertIn("there is not one instance with the name blue-zone-c, but: none", said)
        self.state["instances"] = []
        said = self.roll("--cluster", "red", "--yes", status=1)
        self.assertIn("no instance has the tag natha:cluster with the value red", said)

    def test_wrong_usage_is_told(self):
        for arguments, expected in (
            ([], "--cluster is missing"),
            (["--cluster"], "--cluster needs a value"),
            (["--nonsense"], "unknown option --nonsense"),
            (["--cluster", "blue", "--limit", "soon"], "--limit takes seconds, not soon"),
            (["--cluster", "blue", "--dir", "/nowhere"], "--dir: /nowhere is not a directory"),
        ):
            self.assertIn(expected, self.roll(*arguments, status=2))


if __name__ == "__main__":
    unittest.main()
