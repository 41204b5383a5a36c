"""The built site has every page, says what the repository's pages say, and has no dead link."""

import os
import subprocess
import sys
import tempfile
import unittest
import unittest.mock
from pathlib import Path

import yaml
from html_pages import Reader, Site
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts/site.d"))
import pages  # noqa: E402

BUILT = Path(os.environ["NATHA_SITE"])
# The path below which tests/site/run publishes it.
BELOW = "/docs/"


def built(page):
    """The HTML file of a page of the repository."""
    path = Path(page)
    is_index = path.name == "README.md"
    return (path.parent if is_index else path.with_suffix("")).joinpath("index.html").as_posix()


def rendered(text):
    """A page as the repository's host shows it."""
    return Reader(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))


def first_difference(told, wanted):
    for at, (one, other) in enumerate(zip(told, wanted)):
        if one != other:
            return (
                f"at {at}: {told[max(0, at - 8) : at + 3]}, not {wanted[max(0, at - 8) : at + 3]}"
            )
    return (
        f"{len(told)} instead of {len(wanted)}, after {wanted[min(len(told), len(wanted)) - 8 :]}"
    )


class Config(yaml.SafeLoader):
    """Reads mkdocs.yml without what only the generator understands."""


Config.add_multi_constructor("!", lambda *_: None)
Config.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def navigation():
    """The pages under each heading of the navigation."""
    with open(ROOT / "mkdocs.yml", encoding="utf-8") as file:
        config = yaml.load(file, Config)
    path = lambda entry: entry if isinstance(entry, str) else next(iter(entry.values()))
    sections = {}
    for entry in config["nav"]:
        ((heading, below),) = entry.items()
        sections[heading] = [path(each) for each in below] if isinstance(below, list) else [below]
    return sections


def index():
    """The pages that each section of docs/README.md links to."""
    sections = {}
    text = (ROOT / "docs/README.md").read_text("utf-8")
    for section in text.split("\n## ")[1:]:
        heading, _, body = section.partition("\n")
        targets = [
            pages.target("docs/README.md", link["path"]) for link in pages.LINK.finditer(body)
        ]
        sections[heading] = set(targets)
    return sections


class TheSite(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.site = Site(BUILT, BELOW)

    def test_every_page_is_built(self):
        missing = [page for page in pages.pages() if built(page) not in self.site.pages]
        self.assertEqual(missing, [])
        self.assertGreater(len(pages.pages()), 35)

    def test_every_link_and_every_anchor_works_and_no_other_host_is_asked(self):
        self.assertEqual(list(self.site.faults()), [])
        links = sum(len(reader.links) for reader in self.site.pages.values())
        self.assertGreater(links, 1000)

    def test_links_reach_every_page(self):
        self.assertEqual(set(self.site.pages) - self.site.reached(), {"404.html"})

    def test_each_page_says_what_it_says_in_the_repository(self):
        for page in pages.pages():
            with self.subTest(page=page):
                text = (ROOT / page).read_text("utf-8")
                named = lambda part: pages.name_links(page, part)
                wanted = rendered(pages.outside_code(text, named))
                html = (BUILT / built(page)).read_text("utf-8")
                told = Reader(html, within="article")
                for what in ("words", "structure"):
                    told_it, wanted_it = getattr(told, what), getattr(wanted, what)
                    self.assertTrue(
                        told_it == wanted_it, f"{what}: {first_difference(told_it, wanted_it)}"
                    )

    def test_each_page_has_one_title_and_no_heading_skips_a_level(self):
        for page in pages.pages():
            with self.subTest(page=page):
                headings = rendered((ROOT / page).read_text("utf-8")).headings
                self.assertEqual(headings.count(1), 1)
                self.assertEqual(headings[0], 1)
                steps = zip(headings, headings[1:])
                self.assertTrue(all(after <= before + 1 for before, after in steps), headings)

    def test_the_navigation_has_the_headings_and_the_pages_of_the_index(self):
        sections, wanted = navigation(), index()
        named = [page for below in sections.values() for page in below]
        self.assertEqual(sorted(named), sorted(set(named)), "a page is named twice")
        self.assertEqual(set(named), set(pages.pages()))
        self.assertEqual([each for each in sections if each in wanted], list(wanted))
        self.assertEqual(set(sections) - set(wanted), {"Home", "Project"})
        for heading, below in wanted.items():
            self.assertLessEqual(set(sections[heading]), below, heading)


class TheChecks(unittest.TestCase):
    """A site with a fault is caught."""

    def faults(self, html, css=""):
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "index.html").write_text(html, "utf-8")
            Path(directory, "other").mkdir()
            Path(directory, "other/index.html").write_text('<p id="here"></p>', "utf-8")
            Path(directory, "style.css").write_text(css, "utf-8")
            return list(Site(directory, "/below/").faults())

    def test_what_is_right_has_no_fault(self):
        right = '<a href="other/#here">a</a><a href="https://example.com">b</a>'
        right += '<link href="/below/other/">'
        self.assertEqual(self.faults(right, "a{background:url(style.css)}"), [])

    def test_each_fault_is_found(self):
        for html in (
            '<a href="nothing/">a</a>',
            '<a href="other/#there">a</a>',
            '<a href="#there">a</a>',
            '<a href="../other/">a</a>',
            '<a href="/other/">a</a>',
            '<img src="nothing.svg">',
            '<img src="https://example.com/a.png">',
            '<script src="//example.com/a.js"></script>',
            '<link rel="stylesheet" href="https://example.com/a.css">',
            '<p style="background: url(https://example.com/a.png)">a</p>',
        ):
            self.assertEqual(len(self.faults(html)), 1, html)
        self.assertEqual(len(self.faults("", "@import 'https://example.com/a.css';")), 1)
        self.assertEqual(len(self.faults("", "a{src:url(https://example.com/a)}")), 1)

    def test_a_list_that_lost_its_code_has_another_structure(self):
        in_list = rendered("1. one\n\n   ```sh\n   a\n   ```\n2. two\n")
        after_list = rendered("1. one\n\n```sh\na\n```\n2. two\n")
        self.assertEqual(in_list.words, after_list.words)
        self.assertNotEqual(in_list.structure, after_list.structure)


class ThePages(unittest.TestCase):
    """What scripts/site.d/pages.py does to a page."""

    def prepare(self, text, page="docs/costs.md"):
        with tempfile.TemporaryDirectory() as directory:
            return pages.Site(Path(directory)).prepare(page, text)

    def test_what_belongs_to_an_item_is_indented_by_four(self):
        told = self.prepare(
            "a\n1. one\n   more\n\n   ```sh\n   if\n     b\n   ```\n   - two\nlazy\n"
        )
        wanted = "a\n\n1. one\n    more\n\n    ```sh\n    if\n      b\n    ```\n"
        wanted += "\n    - two\n        lazy\n"
        self.assertEqual(told, wanted)

    def test_quotes_are_parted_and_code_is_left_alone(self):
        self.assertEqual(self.prepare("> a\n\n> b\n"), "> a\n\n<!-- -->\n\n> b\n")
        code = "```\n> a\n\n> b\n[c](d)\n```\n"
        self.assertEqual(self.prepare(code), code)

    def test_a_picture_is_there_for_both_schemes_and_keeps_its_width(self):
        picture = (
            '<picture>\n  <source media="(prefers-color-scheme: dark)" '
            'srcset="pictures/saving-dark.svg">\n  <img alt="One\n  two"\n  '
            'src="pictures/saving-light.svg">\n</picture>'
        )
        told = self.prepare(picture)
        self.assertIn('style="--width: 700px"', told)
        for scheme in ("light", "dark"):
            self.assertIn(f'alt="One two" src="pictures/saving-{scheme}.svg#only-{scheme}"', told)

    def test_the_width_of_a_png_is_in_its_header(self):
        with tempfile.TemporaryDirectory() as directory:
            picture = Path(directory, "a.png")
            header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
            picture.write_bytes(header + (1280).to_bytes(4, "big") + (900).to_bytes(4, "big"))
            self.assertEqual(pages.width_of(picture), 1280)

    def test_what_is_folded_up_is_markdown(self):
        self.assertEqual(self.prepare("<details>\n"), '<details markdown="1">\n')

    def test_a_link_by_the_name_of_a_file_gets_the_title(self):
        for link, title in (
            ("[limits.md](limits.md)", "Limits"),
            ("[docs/limits.md](limits.md)", "Limits"),
            ("[limits.md](limits.md#what-was-tried-on-what)", "What was tried on what"),
            ("[config.md](limits.md)", "config.md"),
            ("[these limits](limits.md)", "these limits"),
        ):
            self.assertTrue(self.prepare(link).startswith(f"[{title}]("), link)

    def test_a_file_becomes_a_page(self):
        with tempfile.TemporaryDirectory() as directory:
            told = pages.Site(Path(directory)).prepare(
                "docs/image.md", "[a](../ami/user-data/vip.sh)"
            )
            self.assertEqual(told, "[a](../ami/user-data/vip.sh.md)")
            page = Path(directory, "ami/user-data/vip.sh.md").read_text("utf-8")
            script = (ROOT / "ami/user-data/vip.sh").read_text("utf-8")
            self.assertEqual(page, f"# ami/user-data/vip.sh\n\n```sh\n{script}```\n")

    def test_other_markdown_becomes_a_page_and_a_directory_stands_for_its_readme(self):
        with tempfile.TemporaryDirectory() as directory:
            root, site = Path(directory, "root"), Path(directory, "site")
            (root / "docs").mkdir(parents=True)
            (root / "parts").mkdir()
            (root / "parts/README.md").write_text("[b](more.md#a)", "utf-8")
            (root / "parts/more.md").write_text("[c](README.md)", "utf-8")
            with unittest.mock.patch.object(pages, "ROOT", root):
                told = pages.Site(site).prepare("docs/a.md", "[a](../parts) [b](../parts/#a)")
            self.assertEqual(told, "[a](../parts/README.md) [b](../parts/README.md#a)")
            self.assertEqual((site / "parts/README.md").read_text("utf-8"), "[b](more.md#a)")
            self.assertEqual((site / "parts/more.md").read_text("utf-8"), "[c](README.md)")

    def test_what_cannot_work_is_an_error_that_names_it(self):
        for text in (
            "[a](../nothing.sh)",
            "[a](../packaging)",
            '<picture><img alt="a" src="pictures/saving-light.svg"></picture>',
            '<picture><source media="(prefers-color-scheme: dark)" srcset="pictures/none.svg">'
            '<img alt="a" src="pictures/none.svg"></picture>',
        ):
            with self.assertRaisesRegex(pages.BadPage, "^docs/costs.md: "):
                self.prepare(text)


class TheScript(unittest.TestCase):
    def run_script(self, *arguments):
        command = [str(ROOT / "scripts/site"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)

    def test_wrong_usage_is_refused(self):
        for arguments in (
            ["--url", "natha.example"],
            ["--repository", ""],
            ["--out"],
            ["--serve", "0"],
            ["--serve", "65536"],
            ["docs"],
        ):
            outcome = self.run_script(*arguments)
            self.assertEqual(outcome.returncode, 2, arguments)
            self.assertRegex(outcome.stderr, "^error: .*\nUsage: |^error: ", arguments)

    def test_a_directory_with_files_is_left_alone(self):
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "mine").write_text("a", "utf-8")
            outcome = self.run_script("--out", directory)
            self.assertEqual(outcome.returncode, 1)
            self.assertIn(f"{directory} is not an empty directory", outcome.stderr)
            self.assertEqual(os.listdir(directory), ["mine"])


if __name__ == "__main__":
    unittest.main()
