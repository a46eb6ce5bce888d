"""Chromium for the tests that look at what a reader sees.

A test module asks for it with `pytest_plugins = ["tests.course.browser"]`. The browser is the machine's own; where
there is none it is installed, by apt-get where this is root's Debian, elsewhere by Playwright.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, Error, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
APT = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]


def on_the_machine() -> str | None:
    """The path of a browser that Playwright can drive, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def install() -> str | None:
    """Why no browser could be installed, or None if one was."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        steps = [[*APT, "update"], [*APT, "install", "--yes", "--no-install-recommends", "chromium"]]
    else:
        steps = [[sys.executable, "-m", "playwright", "install", "chromium"]]
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, timeout=900, check=False)
        except subprocess.TimeoutExpired:
            return f"{' '.join(step)} took more than 15 minutes"
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            return f"{' '.join(step)} failed: {' '.join(last)}"
    return None


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    """The path of chromium, or None for Playwright's own; skips, with the reason, where none can be had."""
    with FileLock(tmp_path_factory.getbasetemp().parent / "browser.lock"):  # one of pytest's workers installs
        found = on_the_machine()
        if found:
            return found
        with sync_playwright() as playwright:
            if os.path.exists(playwright.chromium.executable_path):
                return None
        if reason := install():
            pytest.skip(f"No browser can be installed here: {reason}")
        return on_the_machine()


@pytest.fixture(scope="module")  # not for the session: while it is open, asyncio.run fails in the same process
def browser(chromium: str | None) -> Iterator[Browser]:
    """A running Chromium without a window."""
    with sync_playwright() as playwright:
        # As root Chromium starts only without its sandbox; /dev/shm is small in containers.
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        try:
            started = playwright.chromium.launch(executable_path=chromium, args=options)
        except Error as error:
            pytest.skip(f"Chromium doesn't start here: {error.message.splitlines()[0]}")
        yield started
        started.close()
