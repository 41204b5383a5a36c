"""Makes templates/terraform/settings_known.tf anew from the table in docs/config.md, which a test
compares with the program.

    target/venv/bin/python tests/templates/settings.py
"""

import re

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


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
