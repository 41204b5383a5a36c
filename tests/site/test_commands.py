"""Every command on a page exists, with its options, and every other code block can be read.

Nothing is run. A command that these checks do not know fails, so that a misspelt one is found: add
it to PLAIN, or to the checks if its options can be checked.
"""

import json
import re
import subprocess
import sys
import tomllib
import unittest
from pathlib import Path

import hcl2
import tree_sitter_bash
import yaml
from awscli.clidriver import create_clidriver
from tree_sitter import Language, Parser

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/site.d"))
import pages  # noqa: E402

BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:sudo )?natha [a-z][^`]*)`")
OPTION = re.compile(r"--?[a-zA-Z][\w-]*")
# Programs of a Unix system and of its shell. Their options are not checked.
PLAIN = set(
    "awk cat cp curl echo gpg gpgv grep install ip iptables-legacy iptables-legacy-save jq "
    "journalctl less mktemp openssl pcs printf read sha256sum sleep tee zcat".split()
)
# Commands of programs that are not here to be asked, as their documentation has them.
VERBS = {
    "apt-get": "install update upgrade",
    "cargo": "build clippy nextest test",
    "dnf": "install update upgrade",
    "docker": "build run",
    "git": "clone fetch log pull push switch tag",
    "nmcli": "connection device",
    "packer": "build console fmt init validate",
    "systemctl": "daemon-reload disable enable is-active reload restart start status stop",
    "terraform": "apply destroy fmt import init output plan state validate",
}
OPTIONS = {
    "packer": "-only -var -var-file",
    "systemctl": "--now",
    "terraform": "-auto-approve -backend -out -replace -target -var -var-file",
}
# Programs of this repository that are not in docs/cli.md, and their sources.
BUILT = {"natha-lab": "tests/lab/src", "natha-prove": "tests/prove/src"}
# Words in the place of a command that stand for any command.
ANY = {"COMMAND", "VERB"}


class Unknown(Exception):
    """A command or an option that does not exist."""


def blocks(text):
    """The language and the text of each code block, without the indentation of a list."""
    for indent, language, code in BLOCK.findall(text):
        yield language, re.sub(f"^{indent}", "", code, flags=re.MULTILINE)


def shell_commands(code):
    """The words of each simple command in a shell text, and the functions that it defines."""
    commands, functions = [], set()
    to_visit = [Parser(Language(tree_sitter_bash.language())).parse(code.encode()).root_node]
    while to_visit:
        node = to_visit.pop()
        if node.type == "command":
            words = [child for child in node.children if child.type != "variable_assignment"]
            commands.append([child.text.decode().strip("\"'") for child in words])
        elif node.type == "function_definition":
            functions.add(node.child_by_field_name("name").text.decode())
        to_visit.extend(node.children)
    return commands, functions


def options_of(words):
    """The options among the words of a command, each without its value."""
    words = words[: words.index("--")] if "--" in words else words
    found = (OPTION.match(word) for word in words)
    return [match[0] for match in found if match]


class Natha:
    """What docs/cli.md says of natha; tests/cli_doc.rs holds it to the program."""

    def __init__(self):
        text = (ROOT / "docs/cli.md").read_text("utf-8")
        _, everywhere, verbs = re.split(
            r"^## (?:Global options|Commands)$", text, flags=re.MULTILINE
        )
        self.everywhere = self.named(everywhere) | {"-h", "--help", "-V", "--version"}
        sections = (part.split("\n", 1) for part in verbs.split("\n### natha ")[1:])
        self.verbs = {verb: self.named(body) for verb, body in sections}

    def named(self, section):
        cells = re.findall(r"^\| `([^`]*)`", section, flags=re.MULTILINE)
        return {option for cell in cells for option in re.findall(r"(?<!\S)--?[a-z][\w-]*", cell)}

    def check(self, words):
        options = options_of(words)
        verb = next((word for word in words if not word.startswith("-")), None)
        known = self.everywhere
        if verb is not None and verb not in ANY:
            after = words[words.index(verb) + 1 :]
            longer = f"{verb} {after[0]}" if after else verb
            name = longer if longer in self.verbs else verb
            if name not in self.verbs:
                raise Unknown(f"natha has no command {verb}")
            known = known | self.verbs[name]
        wrong = [option for option in options if option not in known]
        if wrong:
            raise Unknown(f"natha {verb or ''} has no option {wrong[0]}")


class Aws:
    """The AWS CLI's own tables of its commands. It asks no service."""

    def __init__(self):
        self.driver = create_clidriver()

    def check(self, words):
        names = [word for word in words if not word.startswith("-")]
        table, command, path = self.driver._get_command_table(), self.driver, []
        for name in names:
            if name not in table:
                break
            command = table[name]
            path.append(name)
            table = self.below(command)
        # A group of commands has no options of its own.
        if not path or (table and not command.arg_table):
            raise Unknown(
                f"aws has no command {' '.join([*path, *names[len(path) : len(path) + 1]])}"
            )
        known = {f"--{name}" for name in [*command.arg_table, *self.driver._get_argument_table()]}
        wrong = [option for option in options_of(words) if option not in known]
        if wrong:
            raise Unknown(f"aws {' '.join(path)} has no option {wrong[0]}")

    def below(self, command):
        if hasattr(command, "_get_command_table"):
            table = command._get_command_table()
        else:
            table = getattr(command, "subcommand_table", {})
        return {name: below for name, below in table.items() if name != "help"}


class Commands:
    def __init__(self):
        self.natha, self.aws = Natha(), Aws()

    def check(self, words, functions):
        """Raises Unknown if the words are no command."""
        if not words:
            return
        name, *rest = words
        if name == "sudo":
            self.check(rest, functions)
        elif name == "natha":
            self.natha.check(rest)
            if rest[:1] == ["when-safe"] and "--" in rest:
                self.check(rest[rest.index("--") + 1 :], functions)
        elif name == "aws":
            self.aws.check(rest)
        elif name in VERBS:
            self.check_verb(name, rest)
        elif Path(name).name in BUILT:
            self.check_built(Path(name).name, rest)
        elif name.startswith(("scripts/", "tests/")):
            self.check_script(name, rest)
        elif name not in PLAIN | functions:
            raise Unknown(f"{name} is not known: see tests/site/test_commands.py")

    def check_verb(self, name, words):
        verb = next((word for word in words if not word.startswith("-")), None)
        if verb not in VERBS[name].split():
            raise Unknown(f"{name} has no command {verb}")
        known = OPTIONS.get(name, "").split()
        wrong = [option for option in options_of(words) if known and option not in known]
        if wrong:
            raise Unknown(f"{name} {verb} has no option {wrong[0]}")

    def check_built(self, name, words):
        sources = (ROOT / BUILT[name]).rglob("*.rs")
        text = "\n".join(source.read_text("utf-8") for source in sources)
        # What a host of the lab runs is another program's.
        words = words[: words.index("exec")] if "exec" in words else words
        for option in options_of(words):
            field = option.lstrip("-").replace("-", "_")
            if option != "--help" and not re.search(rf"\b{field}: |\"{option}\"", text):
                raise Unknown(f"{name} has no option {option}")

    def check_script(self, name, words):
        script = ROOT / name
        if not script.is_file():
            raise Unknown(f"there is no {name}")
        text = script.read_text("utf-8")
        for option in options_of(words):
            if not re.search(rf"(?<![\w-]){option}(?![\w-])", text):
                raise Unknown(f"{name} has no option {option}")


class ThePages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.commands = Commands()
        cls.texts = {page: (ROOT / page).read_text("utf-8") for page in pages.pages()}

    def in_language(self, *languages):
        for page, text in self.texts.items():
            for language, code in blocks(text):
                if language in languages:
                    yield page, code

    def test_every_shell_block_is_shell(self):
        for page, code in self.in_language("sh", "bash"):
            with self.subTest(page=page, code=code):
                outcome = subprocess.run(["bash", "-n"], input=code, text=True, capture_output=True)
                self.assertEqual((outcome.returncode, outcome.stderr), (0, ""))

    def test_every_command_in_a_block_exists(self):
        checked = 0
        for page in self.texts:
            found = [
                shell_commands(code) for at, code in self.in_language("sh", "bash") if at == page
            ]
            functions = {name for _, defined in found for name in defined}
            for words in (words for commands, _ in found for words in commands):
                with self.subTest(page=page, command=" ".join(words)):
                    self.commands.check(words, functions)
                    checked += 1
        self.assertGreater(checked, 130)

    def test_every_command_of_natha_in_a_text_exists(self):
        checked = 0
        for page, text in self.texts.items():
            text = BLOCK.sub("", text)
            for command in INLINE.findall(text):
                with self.subTest(page=page, command=command):
                    for words in shell_commands(" ".join(command.split()))[0]:
                        self.commands.check(words, ANY)
                    checked += 1
        self.assertGreater(checked, 150)

    def test_every_other_block_can_be_read(self):
        readers = {
            "hcl": hcl2.loads,
            "json": json.loads,
            "toml": tomllib.loads,
            "yaml": yaml.safe_load,
        }
        for language, read in readers.items():
            found = list(self.in_language(language))
            self.assertTrue(found, language)
            for page, code in found:
                with self.subTest(page=page, code=code):
                    read(code)

    def test_every_block_has_a_known_language(self):
        known = {"", "hcl", "ini", "json", "promql", "sh", "text", "toml", "yaml"}
        for page, text in self.texts.items():
            self.assertLessEqual({language for language, _ in blocks(text)}, known, page)
            self.assertEqual(text.count("\n```") % 2, 0, page)


class TheChecks(unittest.TestCase):
    """What does not exist is found."""

    @classmethod
    def setUpClass(cls):
        cls.commands = Commands()

    def check(self, command):
        for words in shell_commands(command)[0]:
            self.commands.check(words, {"mine"})

    def test_what_exists_is_accepted(self):
        for command in (
            "sudo natha status --json | jq .view",
            "natha when-safe --within 1h -- apt-get -y install /root/natha.deb",
            "natha notify test --json",
            'X=$(aws ec2 describe-route-tables --filters "Name=a,Values=b" --query Z)',
            "aws cloudformation deploy --stack-name a --template-file b",
            "aws ec2 wait instance-running --instance-ids i-1",
            "packer build -only=a -var b=c ami/",
            "scripts/test --quick",
            "mine a",
        ):
            self.check(command)

    def test_what_does_not_exist_is_refused(self):
        for command in (
            "natha stauts",
            "natha status --jsn",
            "natha notify test --all",
            "sudo natha when-safe -- natha drian",
            "aws ec2 describe-routes",
            "aws ec2 describe-route-tables --filter a",
            "aws cloudformation deploy --template a",
            "aws ec2 wait instance-dead",
            "aws ecc describe-route-tables",
            "if terraform aply; then true; fi",
            "terraform apply -replaced=a",
            "scripts/tset",
            "scripts/test --quickly",
            "tests/lab/natha-lab ec2 --no-such-option",
            "frobnicate",
        ):
            with self.assertRaises(Unknown, msg=command):
                self.check(command)


if __name__ == "__main__":
    unittest.main()
