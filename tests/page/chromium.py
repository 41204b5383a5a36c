"""Debian's Chromium without a window, driven by its own driver."""

from selenium import webdriver
from selenium.webdriver.chrome.service import Service


def start(*flags, **logs):
    """A browser with further flags. It keeps what its pages log, and other logs by their level."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        *flags,
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", **logs})
    return webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
