"""Looks at the monitor's page with Chromium, while no node of the cluster can serve.

Usage: fallback.py URL GROUP HOLDER GATEWAY DIRECTORY

Waits until the page shows that all is well and HOLDER has GROUP, then prints `loaded` on a line.
Waits until it shows GATEWAY, which GROUP's routes lead to, and the event about it. Looks at it at
two widths, light and dark, and puts a picture of each into DIRECTORY. Ends with an error if the
page logs one, has something without an accessible name, or is wider than the window.
"""

import sys

from selenium.webdriver.common.by import By

import board
import chromium

# Every member is out for 30 s before a route moves to a fallback.
PATIENCE_S = 100


def main():
    url, group, first, gateway, directory = sys.argv[1:]
    driver = chromium.start()
    try:
        board.load(driver, url, group, first)
        board.wait(
            driver,
            f"{group} is at {gateway}",
            lambda driver: board.holder(driver, group) == gateway,
            PATIENCE_S,
        )
        drawn = driver.find_element(By.CSS_SELECTOR, f'[data-gateway="{gateway}"]')
        shown = drawn.get_attribute("textContent")
        assert gateway in shown and "fallback" in shown, shown
        topology = driver.find_element(By.CSS_SELECTOR, "#topology svg")
        name = topology.get_attribute("aria-label")
        assert f"The fallback {gateway} serves {group}." in name, name
        board.wait(
            driver,
            f"an event names {gateway}",
            lambda driver: gateway in board.text(driver, "events"),
        )
        board.read(driver, directory, "fallback")
        board.check_log(driver)
    finally:
        driver.quit()


main()
