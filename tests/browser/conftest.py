"""A headless Chromium, for what only a browser can say of a page; without one the tests skip and say why."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

REQUIRED = os.environ.get("INNERLOOP_BROWSER") == "required"  # where nothing may skip
CHROMIUM = (
    os.environ.get("INNERLOOP_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
)


def missing() -> str:
    """What the tests need and do not have; empty where they have all."""
    if CHROMIUM is None:
        return "no Chromium: apt-get install chromium, or name one in INNERLOOP_CHROMIUM"
    try:
        import axe_playwright_python  # noqa: F401
        import playwright  # noqa: F401
    except ImportError as failure:
        return f"{failure.name} is not installed; `tox -e browser` brings it"
    return ""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if why := missing():
        (pytest.fail if REQUIRED else pytest.skip)(why)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # A container's root may not have a sandbox; the pages are our own.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
