"""The module's check of settings is the program's: both are asked about the same values."""

import os
import re
import subprocess
import unittest

from inputs import ModuleCase
from natha import NATHA, ROOT
from settings import PATH, known, text

# Of each kind: values that are right, and values that are wrong.
VALUES = {
    "bool": (["true", "false"], ["yes", "", "True"]),
    "text": (["eth0"], [""]),
    "accept_mode": (["lo", "redirect"], ["", "eth0"]),
    "address": (["10.0.0.4"], ["10.0.0.300", "10.0.0", "nat-a"]),
    "network": (["10.0.0.0/16"], ["10.0.0.1/16", "10.0.0.0/33", "10.0.0.0"]),
    "instance": (["i-0123456789abcdef0", "i-01234567"], ["i-0", "i-012345678", "vpc-01234567"]),
    "probe": (
        ["icmp:1.1.1.1", "8.8.8.8", "tcp:1.1.1.1:443", "tcp:[2606:4700::1111]:443"],
        ["udp:1.1.1.1:53", "tcp:1.1.1.1", "icmp:1.1.1.300"],
    ),
    "transit": (["off", "192.0.2.0/30"], ["192.0.2.0/29", "192.0.2.1/30", "on"]),
    "listener": (
        ["off", "0.0.0.0:9100", "[::1]:9100"],
        ["9100", "0.0.0.0:0", "0.0.0.0:70000", "0.0.0.0"],
    ),
}
# Inputs of the module in their own right.
INPUTS = {"cluster", "api.region", "notify.sns_topic"}


def span(milliseconds):
    """A duration as natha reads it."""
    return f"{milliseconds // 1000}s {milliseconds % 1000}ms"


def values(it):
    """What is right and what is wrong for a setting."""
    low, high = it["limits"]
    if it["kind"] == "number":
        # Three as with durations, so that all are low or high at once, as rules between them ask.
        return [str(low), str(high), str(high)], [str(low - 1), str(high + 1), "", "1.5", "many"]
    if it["kind"] == "duration":
        right = [span(low), span(high), f"{high // 1000}s"]
        wrong = [span(high + 1), str(max(low, 1)), "1 fortnight", ""]
        return right, wrong + ([span(low - 1)] if low else [])
    right, wrong = VALUES[it["kind"]]
    if it["list"]:
        right = [*right, ", ".join(right)]
        wrong = [one for one in wrong if one] + [f"{right[0]},{right[0]}"]
    return right, wrong


def asked(settings):
    """The exit status of natha itself with these settings, and what it says."""
    environment = {name: it for name, it in os.environ.items() if not name.startswith("NATHA_")}
    command = [NATHA, "policy", "--cluster", "blue"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**environment, "NATHA_CONFIG": "/dev/null"},
        timeout=300,
    )
    return done.returncode, done.stderr


def by_natha(key, value):
    """Whether natha itself takes the value. What it says of other settings, or of rules between
    them, does not count."""
    _, said = asked({key: value})
    if "no such setting" in said:
        raise AssertionError(f"{key}: {said}")
    fault = r"(`.*` )?(is|has|lists)"
    return not re.search(rf'{re.escape(key)} = ".*" \(flag --set\): {fault} ', said)


class Settings(ModuleCase):
    def test_the_list_is_that_of_the_reference(self):
        written = PATH.read_text(encoding="utf-8")
        self.assertEqual(written, text(), "run tests/templates/settings.py")
        reference = (ROOT / "docs/config.md").read_text(encoding="utf-8")
        tags = set(re.findall(r" \| `natha:([\w.]+)` \| ", reference))
        found = dict(known())
        self.assertEqual(set(found), tags)
        self.assertGreater(len(found), 50)

    def test_natha_and_the_module_take_the_same_values(self):
        """The module is asked about a value of every setting at once."""
        given = {key: values(it) for key, it in known() if key not in INPUTS}
        for key, (right, wrong) in given.items():
            for value in right:
                self.assertTrue(by_natha(key, value), f"natha refuses {key} = {value!r}")
            for value in wrong:
                self.assertFalse(by_natha(key, value), f"natha takes {key} = {value!r}")
        for number in range(max(len(right) for right, _ in given.values())):
            chosen = {key: right[number % len(right)] for key, (right, _) in given.items()}
            # With repair, the extremes of the others break rules, and the ports are equal.
            chosen["repair.enabled"] = "false"
            chosen["replicate.relay"] = "false"
            tags = self.planned(settings=chosen).of("aws_instance").popitem()[1]["tags"]
            self.assertEqual({key: tags[f"natha:{key}"] for key in chosen}, chosen)
        for number in range(max(len(wrong) for _, wrong in given.values())):
            chosen = {key: wrong[number % len(wrong)] for key, (_, wrong) in given.items()}
            said = self.refused_settings(chosen)
            for key, value in chosen.items():
                self.assertIn(f' {key} = "{value}": it may be ', said)

    def refused_settings(self, chosen):
        return self.refused(
            name="blue",
            vpc_id="vpc-1",
            vpc_az_maps={
                f"eu-west-1{it}": {"public_subnet_id": "subnet-1", "route_table_ids": {}}
                for it in "ab"
            },
            settings=chosen,
        )

    def test_natha_and_the_module_have_the_same_rules_between_settings(self):
        """Each value that breaks one, and the nearest one that does not."""
        replicated = {"replicate.enabled": "true", "replicate.port": "7000"}
        closed = {"host.protect": "true"}
        cases = [
            (
                {"failover.first_contact": "1s", "heartbeat.interval": "200ms"},
                {"failover.first_contact": "1s", "heartbeat.interval": "199ms"},
            ),
            ({"heartbeat.interval": "6s"}, {"repair.enabled": "false", "heartbeat.interval": "5s"}),
            ({"failover.read_valid": "4999ms"}, {"failover.read_valid": "5s"}),
            ({"hand_back.hold": "31m"}, {"hand_back.hold": "30m"}),
            ({"replicate.min_rate": "16385"}, {"replicate.min_rate": "16384"}),
            (
                {"failover.read_valid": "2s", "api.timeout": "1s"},
                {"failover.read_valid": "2s", "api.timeout": "1s", "repair.enabled": "false"},
            ),
            ({"repair.after": "25s 539ms"}, {"repair.after": "25s 540ms"}),
            ({"repair.settle": "24s 999ms"}, {"repair.settle": "25s"}),
            ({"repair.stagger": "15s 539ms"}, {"repair.stagger": "15s 540ms"}),
            (
                {"api.timeout": "6s", "failover.read_valid": "6s", "repair.settle": "27s"},
                {"api.timeout": "6s", "failover.read_valid": "6s", "repair.settle": "28s"},
            ),
            (
                {**replicated, "metrics.listen": "0.0.0.0:7000"},
                {**replicated, "metrics.listen": "127.0.0.1:7000"},
            ),
            (
                {"replicate.enabled": "true", "replicate.relay_port": "6284"},
                {"replicate.enabled": "true", "replicate.relay_port": "6285"},
            ),
            (
                {**closed, "host.accept": "192.168.9.9"},
                {**closed, "host.accept": "192.168.9.9", "host.protect_except": "10.0.5.0/24"},
            ),
        ]
        for wrong, right in cases:
            with self.subTest(wrong=wrong):
                status, said = asked(wrong)
                self.assertEqual(status, 2, said)
                self.assertNotIn("it may be", said)
                refused = self.refused_settings(wrong)
                self.assertRegex(refused, r"it must be at least|use another one|let the hosts")
                status, said = asked(right)
                self.assertTrue(status == 0 or "no cluster key" in said, said)
                self.planned(settings=right)

    def test_what_natha_does_not_know_is_refused_by_its_name(self):
        chosen = {"hand_back.holds": "1m", "home": "a", "state_dir": "/tmp"}
        said = self.refused_settings(chosen)
        for key in chosen:
            self.assertIn(f"{key}: natha has no such setting that can be a tag", said)

    def test_what_is_an_input_is_refused_with_the_input_s_name(self):
        values_of = {"cluster": "red", "api.region": "eu-west-1", "notify.sns_topic": "arn:x"}
        said = self.refused_settings(values_of)
        for key, name in (("cluster", "name"), ("api.region", "region")):
            self.assertIn(f"{key}: it is the input {name}.", said)
        self.assertIn("notify.sns_topic: it is the input sns_topic_arn.", said)
        self.assertEqual(set(values_of), INPUTS)

    def test_a_value_is_no_longer_than_a_tag_may_be(self):
        networks = ",".join(f"10.{it}.0.0/16" for it in range(30))
        said = self.refused_settings({"host.sources": networks})
        self.assertIn("host.sources: a tag's value has at most 256 characters", said)


if __name__ == "__main__":
    unittest.main()
