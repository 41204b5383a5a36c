"""Looks at the monitor's page with Chromium, while one node of the cluster dies.

Usage: look.py URL GROUP HOLDER HEIR DIRECTORY

Waits until the page shows that all is well and HOLDER has GROUP, then prints `loaded` on a line.
Waits until it shows that HEIR has GROUP, without loading it anew, and until it has been open for
12 s. Looks at it at two widths, light
and dark, and puts a picture of each into DIRECTORY. Ends with an error if the page logs one, has
something without an accessible name, or is wider than the window.
"""

import sys
from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

import chromium

PATIENCE_S = 30
# The monitor ends the page's stream earlier, and the browser connects again.
OPEN_MS = 12_000
UNNAMED = """
const named = (node) => node.getAttribute('aria-label') || node.getAttribute('aria-labelledby');
const unnamed = [...document.querySelectorAll('section, svg[role=img]')].filter((n) => !named(n));
return unnamed.map((node) => node.outerHTML.slice(0, 120));
"""


def wait(driver, what, condition):
    WebDriverWait(driver, PATIENCE_S).until(condition, f"the page does not show that {what}")


def holder(driver, group):
    arrow = driver.find_element(By.CSS_SELECTOR, f'[data-arrow="{group}"]')
    return arrow.get_attribute("data-holder")


def main():
    url, group, first, heir, directory = sys.argv[1:]
    driver = chromium.start()
    try:
        driver.set_window_size(1200, 900)
        driver.get(url)
        state = lambda driver: driver.find_element(By.ID, "state").text
        wait(driver, "all is well", lambda driver: state(driver) == "All is well.")
        assert holder(driver, group) == first, holder(driver, group)
        driver.execute_script("window.sameDocument = true")
        print("loaded", flush=True)
        wait(driver, f"{heir} has {group}", lambda driver: holder(driver, group) == heir)
        wait(driver, "something is wrong", lambda driver: "attention" in state(driver))
        wait(
            driver,
            "a takeover was made",
            lambda driver: "takeover-done" in driver.find_element(By.ID, "changes").text,
        )
        assert driver.execute_script("return window.sameDocument"), "the page was loaded anew"
        unnamed = driver.execute_script(UNNAMED)
        assert not unnamed, unnamed
        for width in (1200, 400):
            for scheme in ("light", "dark"):
                media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
                driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
                size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
                driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
                wide = driver.execute_script("return document.documentElement.scrollWidth")
                assert wide <= width, f"{wide} pixels wide in a window of {width}"
                driver.save_screenshot(str(Path(directory) / f"page-{scheme}-{width}.png"))
        opened = lambda driver: driver.execute_script("return performance.now()")
        wait(driver, "12 s are over", lambda driver: opened(driver) >= OPEN_MS)
        log = [line for line in driver.get_log("browser") if line["level"] != "INFO"]
        assert not log, log
    finally:
        driver.quit()


main()
