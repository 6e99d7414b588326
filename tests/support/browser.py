"""A real browser for the tests of pages: Debian's Chromium, or another, without a window, driven by Playwright.

A browser test that cannot run fails: what is never seen to work in a browser does not work there.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["Watched", "find_chromium", "install_chromium", "launched", "watched"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Tests may run as root, on a machine without a graphics card, and send no request that no page asked for."""
INSTALL = 600
"""Seconds."""


def find_chromium() -> str | None:
    """Path of a browser: `CHROMIUM` if it is set, else the system's, else the one that Playwright has downloaded."""
    if named := os.environ.get("CHROMIUM"):
        return named
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    return found or _playwrights_own()


def _playwrights_own() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


def install_chromium() -> None:
    """Install one where there is none: Debian's package as root, else Playwright's own download."""
    if find_chromium():
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
        subprocess.run([*apt, "update"], check=False, timeout=INSTALL, stdout=subprocess.DEVNULL)
        done = subprocess.run(
            [*apt, "install", "-y", "--no-install-recommends", "chromium"],
            timeout=INSTALL,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        )
        if done.returncode == 0:
            return
    subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True, timeout=INSTALL)


@contextmanager
def launched() -> Iterator["Browser"]:
    """A browser without a window. Raises `RuntimeError` where there is none."""
    from playwright.sync_api import sync_playwright

    path = find_chromium()
    if path is None:
        raise RuntimeError("There is no Chromium. Install one, or name it in CHROMIUM; `make test` does.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass(slots=True)
class Watched:
    """A page with all that it said and asked for."""

    page: "Page"
    errors: list[str] = field(default_factory=list)
    """What it threw, and what it wrote to the console as an error."""
    requests: list[str] = field(default_factory=list)

    def strange_requests(self) -> list[str]:
        """URLs beyond the page's own file, this machine, and data that is in the page itself."""
        return [url for url in self.requests if not _is_near(url)]


def _is_near(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("file", "data", "blob", "about") or parts.hostname in ("127.0.0.1", "localhost")


@contextmanager
def watched(
    browser: "Browser",
    *,
    width: int = 1280,
    height: int = 800,
    dark: bool = False,
    reduced_motion: bool = False,
    touch: bool = False,
) -> Iterator[Watched]:
    """A page of its own, watched from its first request on."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce" if reduced_motion else "no-preference",
        has_touch=touch,
        accept_downloads=True,
    )
    found = Watched(page=context.new_page())
    found.page.on("pageerror", lambda error: found.errors.append(str(error)))
    found.page.on("console", lambda said: found.errors.append(said.text) if said.type == "error" else None)
    found.page.on("request", lambda request: found.requests.append(request.url))
    try:
        yield found
    finally:
        context.close()


if __name__ == "__main__":
    install_chromium()
