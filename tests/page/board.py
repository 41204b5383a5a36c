"""The monitor's page in Chromium: what it shows, and whether it can be read."""

from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

PATIENCE_S = 30
UNNAMED = """
const named = (node) => node.getAttribute('aria-label') || node.getAttribute('aria-labelledby');
const all = document.querySelectorAll('section, svg[role=img], ol.phases');
return [...all].filter((node) => !named(node)).map((node) => node.outerHTML.slice(0, 120));
"""


def wait(driver, what, condition, patience=PATIENCE_S):
    WebDriverWait(driver, patience).until(condition, f"the page does not show that {what}")


def text(driver, name):
    """The text of the element with this id."""
    return driver.find_element(By.ID, name).text


def holder(driver, group):
    """Where the arrow of a group leads."""
    arrow = driver.find_element(By.CSS_SELECTOR, f'[data-arrow="{group}"]')
    return arrow.get_attribute("data-holder")


def load(driver, url, group, first):
    """Opens the page. Waits until it shows that all is well, with the group at its first holder."""
    driver.set_window_size(1200, 900)
    driver.get(url)
    wait(driver, "all is well", lambda driver: text(driver, "state") == "All is well.")
    assert holder(driver, group) == first, holder(driver, group)
    driver.execute_script("window.sameDocument = true")
    print("loaded", flush=True)


def read(driver, directory, name):
    """Looks at the page at two widths, light and dark, and puts pictures into the directory.

    Fails if something has no accessible name, or if the page is wider than the window.
    """
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
            driver.save_screenshot(str(Path(directory) / f"{name}-{scheme}-{width}.png"))


def check_log(driver):
    """Fails if the page has logged an error."""
    log = [line for line in driver.get_log("browser") if line["level"] != "INFO"]
    assert not log, log
