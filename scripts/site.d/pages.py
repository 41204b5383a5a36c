"""Prepares the pages of the site: what scripts/site gives to the site generator.

Usage: pages.py DIRECTORY

The pages keep their places: DIRECTORY has README.md, docs/costs.md and so on, so that the links
between them work as they are. Other Markdown that a page links to becomes a page too, a directory
stands for its README.md, another file becomes a page with its text; pictures and data are copied.
What the site's Markdown reads otherwise than the repository's host does is rewritten: the
indentation in lists, quotes that follow each other, pipes in tables, pictures for light and dark.
Links get the titles of pages for the names of files.
Ends with 1 and names the link if a page links to something that is not there.
"""

import os
import re
import shutil
import sys
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
FIXED = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
# Files that a browser shows without another program.
SHOWN = {".json", ".png", ".svg"}
LANGUAGES = {".sh": "sh", ".yaml": "yaml", ".tf": "hcl", ".toml": "toml", ".py": "python"}
PICTURE = re.compile(
    r'<picture>\s*<source\s+media="\(prefers-color-scheme: dark\)"\s+srcset="(?P<dark>[^"]+)">'
    r'\s*<img\s+alt="(?P<alt>[^"]+)"\s+src="(?P<light>[^"]+)">\s*</picture>'
)
LINK = re.compile(r"(?<=\]\()(?P<path>[^)#\s:]+)(?P<anchor>#[^)\s]*)?(?=\))")
# A link that has the name of a page for its text.
NAMED = re.compile(
    r"(?<=\[)(?P<text>[\w./-]+\.md)(?=\]\((?P<path>[^)#\s:]+)(?P<anchor>#[^)\s]*)?\))"
)
ITEM = re.compile(r"(?P<indent> *)(?P<marker>[-*+]|\d+[.)])(?P<gap> +|$)")


class BadPage(Exception):
    """Something in a page that would be broken on the site, and where."""


def pages():
    """Every page, relative to the repository."""
    found = sorted((ROOT / "docs").rglob("*.md"))
    return FIXED + [path.relative_to(ROOT).as_posix() for path in found]


def target(page, link):
    """The path from the repository that a link in a page leads to."""
    return os.path.normpath(os.path.join(os.path.dirname(page), link))


def anchor_of(heading):
    """The anchor that the repository's host makes of a heading."""
    kept = (letter for letter in heading.lower() if letter.isalnum() or letter in " -_")
    return "".join(kept).replace(" ", "-")


def heading_at(path, anchor):
    """A page's title, or the heading with an anchor."""
    text = (ROOT / path).read_text(encoding="utf-8")
    headings = [line.lstrip("#").strip() for line in text.split("\n") if line.startswith("#")]
    if anchor:
        headings = [heading for heading in headings if anchor_of(heading) == anchor]
    return headings[0] if headings else None


def name_links(page, text):
    """A link to a page by its file's name has the title of the page, or of the section, instead:
    on the site, pages have no such names."""

    def title(match):
        path = target(page, match["path"])
        if not path.endswith(match["text"]) or not (ROOT / path).is_file():
            return match["text"]
        return heading_at(path, (match["anchor"] or "")[1:]) or match["text"]

    return NAMED.sub(title, text)


def list_items(text):
    """For each line that is in a list: (depth of its item from 0, column of the item's content,
    whether the item begins there). And the lines at which a list follows a paragraph at once."""
    lines = text.split("\n")
    placed, abrupt, depth = {}, set(), -1
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type in ("bullet_list_open", "ordered_list_open") and depth == -1:
            if token.map[0] > 0 and lines[token.map[0] - 1].strip():
                abrupt.add(token.map[0])
        elif token.type == "list_item_open":
            depth += 1
            first, end = token.map
            item = ITEM.match(lines[first])
            if item:
                for at in range(first, end):
                    placed[at] = (depth, item.end() if item["gap"] else item.end() + 1, at == first)
        elif token.type == "list_item_close":
            depth -= 1
    return placed, abrupt


def fit_lists(text):
    """What belongs to an item is indented by four columns for each level. An item that follows a
    further paragraph or the code of another begins after a blank line."""
    placed, abrupt = list_items(text)
    out, block_is_list = [""], False
    for at, line in enumerate(text.split("\n")):
        depth, column, begins = placed.get(at, (0, 0, False))
        if at in abrupt or (begins and out[-1] and not block_is_list):
            out.append("")
        if not out[-1]:
            block_is_list = begins
        if begins:
            line = " " * 4 * depth + line.lstrip(" ")
        elif at in placed and line.strip():
            indent = len(line) - len(line.lstrip(" "))
            line = " " * 4 * (depth + 1) + line[min(indent, column) :]
        out.append(line)
    return "\n".join(out[1:])


def free_pipes(text):
    """A pipe in code needs no backslash, in a cell of a table either."""
    in_code = lambda match: match[0].replace("\\|", "|")
    in_row = lambda match: re.sub(r"`[^`]*`", in_code, match[0])
    return re.sub(r"^\|.*$", in_row, text, flags=re.MULTILINE)


def part_quotes(text):
    """A blank line between two quotes parts them."""
    return re.sub(r"^(>.*)\n\n(?=>)", r"\1\n\n<!-- -->\n\n", text, flags=re.MULTILINE)


def width_of(picture):
    """The width of a picture in pixels: an SVG's by its attribute, a PNG's by its first chunk."""
    if picture.suffix == ".png":
        return int.from_bytes(picture.read_bytes()[16:20], "big")
    found = re.search(r'<svg\b[^>]*\bwidth="(\d+)"', picture.read_text(encoding="utf-8"))
    if not found:
        raise BadPage(f"{picture.relative_to(ROOT)}: the picture has no width in pixels")
    return int(found[1])


def both_pictures(page, text):
    """Two pictures of which the style shows one: the reader may choose colours other than the
    system's."""

    def figure(match):
        alt = " ".join(match["alt"].split())
        images = "".join(
            f'<img alt="{alt}" src="{match[scheme]}#only-{scheme}">' for scheme in ("light", "dark")
        )
        width = f"--width: {width_of(ROOT / target(page, match['light']))}px"
        attributes = 'class="picture" tabindex="0" role="group" aria-label="Picture"'
        return f'<p {attributes} style="{width}">{images}</p>'

    return PICTURE.sub(figure, text)


def open_details(text):
    """What can be folded up is Markdown too."""
    return re.sub("^<details>$", '<details markdown="1">', text, flags=re.MULTILINE)


def outside_code(text, change):
    """Changes what is outside of code blocks."""
    parts = re.split(r"(^ *```.*?^ *```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if at % 2 else change(part) for at, part in enumerate(parts))


class Site:
    """The directory that gets the pages."""

    def __init__(self, directory):
        self.directory = directory
        self.pages = pages()

    def write(self, path, text):
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def copy(self, path, to=None):
        file = self.directory / (to or path)
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, file)

    def link(self, page, link):
        """The same link on the site. What it leads to is put there, if it is no page."""
        path = target(page, link)
        if (ROOT / path / "README.md").is_file():
            path, link = f"{path}/README.md", f"{link.rstrip('/')}/README.md"
        if path in self.pages:
            return link
        if not (ROOT / path).is_file():
            raise BadPage(f"{page}: the link to {link} leads to no file of the repository")
        if Path(path).suffix in SHOWN:
            self.copy(path)
            return link
        if Path(path).suffix == ".md":
            self.pages.append(path)
            self.add(path)
            return link
        language = LANGUAGES.get(Path(path).suffix, "text")
        text = (ROOT / path).read_text(encoding="utf-8").rstrip("\n")
        fence = "````" if "```" in text else "```"
        self.write(f"{path}.md", f"# {path}\n\n{fence}{language}\n{text}\n{fence}\n")
        return f"{link}.md"

    def prepare(self, page, text):
        """A page of the repository as a page of the site."""

        def change(part):
            for match in PICTURE.finditer(part):
                self.link(page, match["light"])
                self.link(page, match["dark"])
            part = open_details(both_pictures(page, part))
            if "<picture" in part or "<source" in part:
                raise BadPage(
                    f"{page}: a picture is not written as scripts/site.d/pages.py reads it"
                )
            part = name_links(page, part)
            relink = lambda match: self.link(page, match["path"]) + (match["anchor"] or "")
            return free_pipes(part_quotes(LINK.sub(relink, part)))

        return fit_lists(outside_code(text, change))

    def add(self, page):
        self.write(page, self.prepare(page, (ROOT / page).read_text(encoding="utf-8")))

    def make(self):
        for page in pages():
            self.add(page)
        for file in ("style.css", "mark.svg"):
            self.copy(f"scripts/site.d/{file}", f"site.d/{file}")


def main():
    (directory,) = sys.argv[1:]
    shutil.rmtree(directory, ignore_errors=True)
    try:
        Site(Path(directory)).make()
    except BadPage as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
