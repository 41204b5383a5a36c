"""Reads HTML: what a page links to, loads, and says."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

# Elements that part words from each other.
BLOCKS = set(
    "p li ul ol table tr td th pre blockquote h1 h2 h3 h4 h5 h6 div br hr dl dt dd".split()
)
# Elements that give a text its meaning, whatever program made the HTML.
STRUCTURE = set("ul ol li table tr td th pre blockquote h1 h2 h3 h4 h5 h6 em strong code a".split())
# Attributes whose URLs a browser loads without being asked.
LOADED = {
    ("img", "src"), ("img", "srcset"), ("script", "src"), ("source", "src"), ("source", "srcset"),
    ("iframe", "src"), ("video", "src"), ("audio", "src"), ("object", "data"), ("embed", "src"),
}  # fmt: skip
LOADED_LINKS = {"stylesheet", "icon", "preload", "prefetch", "modulepreload", "manifest"}


class Reader(HTMLParser):
    """One HTML text. With `within`, only what is in elements of this name has text."""

    def __init__(self, html, within=None):
        super().__init__()
        self.ids, self.links, self.loads = set(), [], []
        self.structure, self.headings, self.said = [], [], []
        self.within, self.inside, self.silent = within, 0 if within else 1, 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = {name: value or "" for name, value in attrs}
        self.ids.update(attributes[name] for name in ("id", "name") if name in attributes)
        self.find_urls(tag, attributes)
        if tag == self.within:
            self.inside += 1
        if self.is_silent(tag, attributes):
            self.silent += 1
        elif self.inside and not self.silent and tag in STRUCTURE:
            if tag != "a" or "href" in attributes:
                self.structure.append(tag)
            if re.fullmatch("h[1-6]", tag):
                self.headings.append(int(tag[1]))
        self.part(tag)

    def handle_endtag(self, tag):
        if tag == self.within:
            self.inside -= 1
        # What is silent has no elements within that end with the same name.
        if self.silent and tag in ("a", "script", "style"):
            self.silent -= 1
        self.part(tag)

    def handle_data(self, data):
        if self.inside and not self.silent:
            self.said.append(data)

    def is_silent(self, tag, attributes):
        """Links beside headings, and what is not text."""
        return tag in ("script", "style") or attributes.get("class") == "headerlink"

    def find_urls(self, tag, attributes):
        is_loaded_link = LOADED_LINKS & set(attributes.get("rel", "").split())
        for name, value in attributes.items():
            if (tag, name) in LOADED or (tag == "link" and name == "href" and is_loaded_link):
                urls = value.split(",") if name == "srcset" else [value]
                self.loads.extend(url.split()[0] for url in urls if url.strip())
            elif name == "href":
                self.links.append(value)
            for url in re.findall(r"url\(([^)]*)\)", value) if name == "style" else []:
                self.loads.append(url.strip("'\" "))

    def part(self, tag):
        if tag in BLOCKS:
            self.handle_data(" ")

    @property
    def words(self):
        return "".join(self.said).split()


class Site:
    """A directory of HTML files, as a browser sees it when it is published below a path."""

    def __init__(self, directory, below="/"):
        self.directory, self.below = Path(directory), below
        files = sorted(self.directory.rglob("*.html"))
        self.pages = {
            file.relative_to(self.directory).as_posix(): Reader(file.read_text("utf-8"))
            for file in files
        }

    def resolve(self, page, url):
        """The file that a URL in a page leads to, None if it is none of this site; its anchor."""
        url, anchor = urldefrag(url)
        parts = urlsplit(url)
        if parts.scheme or parts.netloc:
            return None, anchor
        path = unquote(parts.path)
        if not path:
            return page, anchor
        outside = f"{url}, which is outside of the site"
        root = self.directory.resolve()
        if path.startswith(self.below):
            where = (root / path.removeprefix(self.below)).resolve()
        elif path.startswith("/"):
            return outside, anchor
        else:
            where = (root / Path(page).parent / path).resolve()
        if not where.is_relative_to(root):
            return outside, anchor
        if where.is_dir():
            where = where / "index.html"
        return where.relative_to(root).as_posix(), anchor

    def faults(self):
        """Every link and every loaded file that does not work, and every file that another host
        would have to give."""
        for page, reader in self.pages.items():
            for url in reader.links + reader.loads:
                path, anchor = self.resolve(page, url)
                if path is None:
                    if url in reader.loads and not url.startswith("data:"):
                        yield f"{page} loads {url}"
                elif not (self.directory / path).is_file():
                    yield f"{page}: {url} leads to {path}, which is not there"
                elif anchor and path in self.pages and anchor not in self.pages[path].ids:
                    if not anchor.startswith("only-"):
                        yield f"{page}: {url}: {path} has no such anchor"
        for file in sorted(self.directory.rglob("*.css")):
            for url in re.findall(r"url\(([^)]*)\)|@import\s+([^;]*);", file.read_text("utf-8")):
                url = "".join(url).strip("'\" ")
                if urlsplit(url).netloc:
                    yield f"{file.name} loads {url}"

    def reached(self, start="index.html"):
        """The pages that links lead to from the first one."""
        seen, to_read = {start}, [start]
        while to_read:
            page = to_read.pop()
            for url in self.pages[page].links:
                path, _ = self.resolve(page, url)
                if path in self.pages and path not in seen:
                    seen.add(path)
                    to_read.append(path)
        return seen
