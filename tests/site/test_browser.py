"""Chromium shows the site: narrow and wide, light and dark, with nothing from another host."""

import functools
import http.server
import itertools
import json
import os
import sys
import threading
import unittest
from pathlib import Path
from urllib.parse import urldefrag

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/page"))
import chromium  # noqa: E402

BUILT = Path(os.environ["NATHA_SITE"])
SHOTS = ROOT / "target/site/looks"
PATIENCE_S = 60
# The first page, one with a picture, and the one with the longest tables.
PAGES = {"home": "", "costs": "docs/costs/", "config": "docs/config/"}
WIDTHS = (400, 1280)
# What the theme calls each colour scheme.
SCHEMES = {"light": "default", "dark": "slate"}
# What a person operates or navigates by, and that a screen reader must be able to name.
NAMED_ROLES = {"button", "checkbox", "heading", "link", "radio", "searchbox", "textbox"}

# What is wider than the window and cannot be scrolled to.
OUTSIDE = """
const scrolls = (node) => ['auto', 'scroll'].includes(getComputedStyle(node).overflowX);
const fits = (node) => node.getBoundingClientRect().right <= window.innerWidth + 1;
const reachable = (node) => {
  for (let above = node; above; above = above.parentElement)
    if (scrolls(above) && fits(above)) return true;
  return false;
};
return [...document.querySelectorAll('article *')]
  .filter((node) => node.getClientRects().length && !fits(node) && !reachable(node))
  .map((node) => node.outerHTML.slice(0, 100));
"""
PICTURES = """
return [...document.querySelectorAll('article .picture img')]
  .filter((image) => image.getClientRects().length)
  .map((image) => [image.src, image.naturalWidth]);
"""
SEARCH = "[...document.querySelectorAll('body > *')].map((node) => node.shadowRoot)"
SEARCH_FIELD = f"{SEARCH}.map((root) => root?.querySelector('input')).find((field) => field)"
SEARCH_LINKS = f"{SEARCH}.flatMap((root) => [...root?.querySelectorAll('a') ?? []])"
SEARCH_RESULTS = f"{SEARCH_LINKS}.map((link) => link.href)"
BRIGHTNESS = """
const colour = getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).map(Number);
return (colour[0] + colour[1] + colour[2]) / 3;
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


class TheSite(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        handler = functools.partial(Quiet, directory=str(BUILT))
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.addClassCleanup(cls.server.server_close)
        cls.addClassCleanup(cls.server.shutdown)
        cls.origin = f"http://127.0.0.1:{cls.server.server_port}"
        cls.driver = chromium.start("--hide-scrollbars", performance="ALL")
        cls.addClassCleanup(cls.driver.quit)
        SHOTS.mkdir(parents=True, exist_ok=True)

    def setUp(self):
        # The site remembers the colours that a reader chose.
        stored = {"origin": self.origin, "storageTypes": "local_storage"}
        self.driver.execute_cdp_cmd("Storage.clearDataForOrigin", stored)

    def tearDown(self):
        said = [entry["message"] for entry in self.driver.get_log("browser")]
        self.assertEqual(said, [], "the console has messages")
        asked = set(self.requests())
        others = {url for url in asked if not url.startswith((f"{self.origin}/", "data:", "blob:"))}
        self.assertEqual(others, set(), "another host is asked")
        self.assertTrue(asked, "the browser's log has no requests")

    def requests(self):
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                yield message["params"]["request"]["url"]

    def show(self, path, width, scheme):
        """Loads a page in a window of this width, for a system with this colour scheme."""
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get(f"{self.origin}/{path}")
        self.wait("the page is complete", lambda _: self.js("document.readyState") == "complete")

    def js(self, expression):
        return self.driver.execute_script(f"return {expression}")

    def wait(self, what, condition):
        return WebDriverWait(self.driver, PATIENCE_S).until(condition, f"not seen: {what}")

    def assert_fits(self, width):
        self.assertLessEqual(self.js("document.documentElement.scrollWidth"), width)
        self.assertEqual(self.driver.execute_script(OUTSIDE), [])

    def assert_colours(self, scheme):
        """The page has this scheme, and of each picture the variant for it is shown."""
        brightness = self.driver.execute_script(BRIGHTNESS)
        self.assertTrue(brightness > 200 if scheme == "light" else brightness < 60, brightness)
        shown = self.driver.execute_script(PICTURES)
        for url, width in shown:
            self.assertRegex(url, rf"-{scheme}\.(png|svg)")
            self.assertGreater(width, 0, f"{url} is not loaded")
        pairs = self.js("document.querySelectorAll('article .picture').length")
        self.assertEqual(len(shown), pairs)
        return pairs

    def assert_is_named(self):
        """Chromium's accessibility tree: each link, button and heading has a name."""
        nodes = self.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        nodes = [node for node in nodes if not node["ignored"]]
        roles = {node["role"]["value"] for node in nodes}
        self.assertLessEqual({"heading", "link", "main", "navigation"}, roles)
        for node in nodes:
            if node["role"]["value"] in NAMED_ROLES:
                self.assertTrue(node["name"]["value"].strip(), node)
        self.assertTrue(self.js("[...document.images].every((image) => image.alt)"))

    def test_three_pages_at_two_widths_in_both_schemes(self):
        pictures = 0
        for (name, path), width, scheme in itertools.product(PAGES.items(), WIDTHS, SCHEMES):
            with self.subTest(page=name, width=width, scheme=scheme):
                self.show(path, width, scheme)
                self.driver.save_screenshot(str(SHOTS / f"{name}-{width}-{scheme}.png"))
                self.assert_fits(width)
                self.assertEqual(self.js("document.querySelectorAll('h1').length"), 1)
                self.assert_is_named()
                pictures += self.assert_colours(scheme)
        self.assertGreaterEqual(pictures, 2 * len(WIDTHS) * len(SCHEMES))

    def test_every_page_fits_a_narrow_window(self):
        for file in sorted(BUILT.rglob("index.html")):
            with self.subTest(page=file.parent.name):
                self.show(f"{file.parent.relative_to(BUILT).as_posix()}/", WIDTHS[0], "light")
                self.assert_fits(WIDTHS[0])

    def test_the_reader_chooses_other_colours_than_the_system(self):
        self.show(PAGES["costs"], WIDTHS[1], "light")
        for scheme in ("light", "dark"):
            self.wait("a switch for the colours", self.switch).click()
            self.wait(f"the {scheme} colours", lambda _: self.scheme() == SCHEMES[scheme])
            self.assertGreaterEqual(self.assert_colours(scheme), 1)

    def switch(self, _):
        labels = self.driver.find_elements(By.CSS_SELECTOR, "[data-md-component=palette] label")
        return next((label for label in labels if label.is_displayed()), None)

    def scheme(self):
        return self.js("document.body.getAttribute('data-md-color-scheme')")

    def test_a_search_finds_a_page(self):
        self.show("", WIDTHS[1], "light")
        self.driver.find_element(By.TAG_NAME, "body").send_keys(Keys.CONTROL, "k")
        field = self.wait("a field for the search", lambda _: self.js(SEARCH_FIELD))
        field.send_keys("replication")
        wanted = f"{self.origin}/docs/connections/"
        found = lambda: {urldefrag(url)[0].split("?")[0] for url in self.js(SEARCH_RESULTS)}
        self.wait("a page about replication", lambda _: wanted in found())
        self.driver.save_screenshot(str(SHOTS / "search.png"))


if __name__ == "__main__":
    unittest.main()
