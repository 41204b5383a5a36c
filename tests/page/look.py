"""Looks at the monitor's page with Chromium, while one node of the cluster dies.

Usage: look.py URL GROUP HOLDER HEIR DIRECTORY

Waits until the page shows that all is well and HOLDER has GROUP, then prints `loaded` on a line.
Waits until it shows that HEIR has GROUP, without loading it anew, and the takeover with its phases,
and until it has been open for 12 s. Looks at it at two widths, light and dark, and puts a picture
of each into DIRECTORY. Ends with an error if the page logs one, has something without an accessible
name, or is wider than the window.
"""

import sys

import board
import chromium

# The monitor ends the page's stream earlier, and the browser connects again.
OPEN_MS = 12_000
# In one script: the page draws its changes anew each second.
PHASES = """
const all = document.querySelectorAll('[data-change=takeover] .phases');
return [...all].map((node) => node.textContent).join(' ');
"""


def phases(driver):
    """The phases of the takeovers, as the page shows them."""
    return driver.execute_script(PHASES)


def main():
    url, group, first, heir, directory = sys.argv[1:]
    driver = chromium.start()
    try:
        board.load(driver, url, group, first)
        board.wait(
            driver, f"{heir} has {group}", lambda driver: board.holder(driver, group) == heir
        )
        board.wait(
            driver, "something is wrong", lambda driver: "attention" in board.text(driver, "state")
        )
        board.wait(
            driver,
            "a takeover was made",
            lambda driver: "takeover-done" in board.text(driver, "events"),
        )
        board.wait(
            driver,
            "the takeover has phases",
            lambda driver: all(
                part in phases(driver)
                for part in ("noticed", "decided", "asked", "accepted", "confirmed", " later")
            ),
        )
        board.read(driver, directory, "page")
        opened = lambda driver: driver.execute_script("return performance.now()")
        board.wait(driver, "12 s are over", lambda driver: opened(driver) >= OPEN_MS)
        board.check_log(driver)
    finally:
        driver.quit()


main()
