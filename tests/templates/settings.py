"""Makes templates/terraform/settings_known.tf anew from the table in docs/config.md, which a test
compares with the program, and the patterns of the parameters Setting1 to Setting4 in
templates/cloudformation.

    target/venv/bin/python tests/templates/settings.py
"""

import re

import cloudformation
from natha import ROOT
from terraform import TEMPLATES

PATH = TEMPLATES / "settings_known.tf"
ROW = re.compile(
    r"^\| `(?P<key>[\w.]+)` \| (?P<default>.*?) \| (?P<range>[^|]+) \| [^|]+ "
    r"\| (?P<tag>[^|]+) \| "
)
HEAD = """\
# The settings that can be tags, and their values; durations in milliseconds. Written by
# tests/templates/settings.py from docs/config.md: do not edit.

locals {
  known_settings = {
"""
# Of what is in words: the kind of value, and how many of them a list may have, 0 where it is none.
KINDS = {
    "true or false": ("bool", 0),
    "text": ("text", 0),
    "interface name": ("text", 0),
    "a region such as eu-west-1": ("text", 0),
    "ARN of an SNS topic": ("text", 0),
    "lo or redirect": ("accept_mode", 0),
    "IPv4 address": ("address", 0),
    "IPv4 addresses": ("address", 1000),
    "IPv4 networks": ("network", 1000),
    "1 to 16 instance ids": ("instance", 16),
    "icmp:ADDRESS or tcp:ADDRESS:PORT": ("probe", 1000),
    "a /30 or off": ("transit", 0),
    "ADDRESS:PORT or off": ("listener", 0),
}
# What a stack sets itself, and the ports, which are those of its security group.
OF_STACK = {"cluster", "api.region", "notify.sns_topic", "repair.enabled"}
OF_STACK |= {"heartbeat.port", "replicate.port", "replicate.relay_port", "metrics.listen"}
PATTERN = re.compile(r'^    AllowedPattern: "\(\|\(.*\\\n(?:.*\\\n)*.*"\n', re.M)
COLUMNS = 98
UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "day": 86_400_000, "days": 86_400_000}


def amount(text):
    """A duration of the reference in milliseconds."""
    parts = re.findall(r"(\d+)([a-z]+)", text)
    return sum(int(number) * UNITS[unit] for number, unit in parts)


def known():
    """Each setting that can be a tag: its kind, limits, and its range in words."""
    text = (ROOT / "docs/config.md").read_text(encoding="utf-8")
    table = text.partition("<!-- settings begin -->")[2].partition("<!-- settings end -->")[0]
    for line in table.splitlines():
        found = ROW.match(line)
        if not found or found["tag"] == "–":
            continue
        words, limits, default = found["range"], (0, 0), found["default"].strip("`")
        if words in KINDS:
            kind, most = KINDS[words]
        elif re.fullmatch(r"\d+ to \d+", words):
            kind, most = "number", 0
            limits = tuple(int(it) for it in words.split(" to "))
        else:
            kind, most = "duration", 0
            limits = tuple(amount(it) for it in words.split(" to "))
        # Of what rules between settings are about.
        if kind == "duration":
            default = amount(default.replace(" ", ""))
        elif kind != "number" or not default.isdigit():
            default = "null"
        told = {"kind": kind, "list": most, "limits": limits, "words": words}
        yield found["key"], {**told, "default": default}


def text():
    lines = []
    width = max(len(key) for key, _ in known()) + 2
    for key, it in known():
        low, high = it["limits"]
        label = f'"{key}"'.ljust(width)
        values = f'kind = "{it["kind"]}", list = {it["list"]}, min = {low}, max = {high}'
        values += f", default = {it['default']}"
        lines.append(f'    {label} = {{ {values}, words = "{it["words"]}" }}\n')
    return HEAD + "".join(lines) + "  }\n}\n"


def pattern():
    """What a stack's parameters of settings take: KEY=VALUE, or nothing. The sections of the keys
    are in it once, because the text of a template is limited (docs/templates.md)."""
    sections = {}
    for key, _ in known():
        if key not in OF_STACK:
            section, _, name = key.partition(".")
            sections.setdefault(section, []).append(name)
    keys = []
    for section, names in sections.items():
        within = names[0] if len(names) == 1 else f"({'|'.join(names)})"
        keys.append(rf"{section}\.{within}" if within else section)
    return f"(|({'|'.join(keys)})=[^=]{{1,200}})"


def wrapped(regex):
    """The pattern as lines of a parameter."""
    lines, line = [], '    AllowedPattern: "'
    for part in re.findall(r"[^|]*\||[^|]+$", regex.replace("\\", "\\\\")):
        if len(line + part) > COLUMNS:
            lines.append(line + "\\\n")
            line = "      "
        line += part
    return "".join(lines) + line + '"\n'


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
    for path in sorted(cloudformation.TEMPLATES.glob("*.yaml")):
        template, found = PATTERN.subn(
            lambda _: wrapped(pattern()), path.read_text(encoding="utf-8")
        )
        if found != 4:
            raise SystemExit(f"{path} has {found} patterns of settings, not 4")
        path.write_text(template, encoding="utf-8")
