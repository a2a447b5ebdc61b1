"""A page of a real browser, and all that goes wrong on it: errors, what the policy refuses, requests to other hosts."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from tests.chromium import CHROMIUM, NO_CHROMIUM
from tests.markdown import ROOT
from tests.waiting import PATIENCE_S, wait_for

FLAGS = (
    *(
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-quic",
        "--no-first-run",
        "--disable-extensions",
    ),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
AXE = ROOT / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
BUILT = ROOT / "dashboard" / "dist" / "index.html"
DESKTOP, PHONE, SMALL_PHONE = (1280, 900), (390, 844), (360, 740)
Size = tuple[int, int]
Look = tuple[Size, str]
"""The size of a window, and `light` or `dark`."""
ALL_LOOKS: tuple[Look, ...] = tuple(product((DESKTOP, SMALL_PHONE), ("light", "dark")))
FITS = "document.documentElement.scrollWidth <= innerWidth"
"""Whether a page need not be scrolled sideways, said in JavaScript."""
SOME_LOOKS: tuple[Look, ...] = ((DESKTOP, "light"), (SMALL_PHONE, "dark"))
expect.set_options(timeout=PATIENCE_S * 1000)


def build() -> None:
    """Build the dashboard if its sources have changed. Skips the test where it cannot be built."""
    if shutil.which("npm") is None:
        pytest.skip("no npm: apt-get install npm (Debian), brew install node (macOS)")
    (ROOT / "var").mkdir(exist_ok=True)
    with (ROOT / "var" / "dashboard.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(["make", "--silent", "dashboard"], cwd=ROOT, capture_output=True, text=True)
    if "npm cannot install" in done.stdout:
        pytest.skip("npm cannot install the packages of dashboard/")
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def launched() -> Iterator[Browser]:
    """Chromium. Skips the test where there is none."""
    if CHROMIUM is None:
        pytest.skip(NO_CHROMIUM)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS])
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """One page in a window of its own, and what goes wrong on it. `base`: the address of the server."""

    def __init__(self, context: BrowserContext, base: str) -> None:
        self.base = base
        self.wrong: list[str] = []
        self._pending = 0
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE_S * 1000)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.wrong.append(f"exception: {error}"))
        self.page.on("request", self._begin)
        for end in ("requestfinished", "requestfailed"):
            self.page.on(end, self._end)  # type: ignore[call-overload]
        self.page.on("websocket", lambda socket: self._see(socket.url.replace("ws", "http", 1)))

    def open(self, path: str = "/") -> Page:
        """Open a path of the server, and wait until the page has all of its panels."""
        self.page.goto(self.base + path)
        self.page.wait_for_selector("main[aria-busy=false]")
        return self.page

    def settle(self) -> None:
        """Wait until the page has asked for nothing for a while."""

        def is_quiet() -> bool:
            for _ in range(5):
                self.page.wait_for_timeout(100)
                if self._pending:
                    return False
            return True

        wait_for(is_quiet, "the page goes on asking")

    def axe(self) -> list[str]:
        """What axe finds wrong, of any level."""
        self.page.evaluate(AXE.read_text())
        found: dict[str, Any] = self.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        return [
            f"{rule['id']} ({rule['impact']}): {rule['help']}: {node['html']}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]

    def looked_at(self, looks: tuple[Look, ...] = SOME_LOOKS) -> list[str]:
        """What axe finds wrong in each look, and whether the page has to be scrolled sideways. The window is then as it was."""
        size = self.page.viewport_size
        assert size is not None
        found = []
        for (width, height), scheme in looks:
            self.page.set_viewport_size({"width": width, "height": height})
            self.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            found += [f"{width} px, {scheme}: {wrong}" for wrong in self.axe()]
            if not self.page.evaluate(FITS):
                found.append(f"{width} px: the page is scrolled sideways")
        self.page.set_viewport_size(size)
        self.page.emulate_media(color_scheme="light")
        return found

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.type}: {message.text} {message.location.get('url', '')}")

    def _begin(self, request: Request) -> None:
        self._pending += 1
        self._see(request.url)

    def _end(self, _: Request) -> None:
        self._pending -= 1

    def _see(self, url: str) -> None:
        if urlsplit(url).netloc != urlsplit(self.base).netloc:
            self.wrong.append(f"request to another host: {url}")


@contextmanager
def tab(browser: Browser, base: str, size: Size = DESKTOP, *, scheme: str = "light", **options: Any) -> Iterator[Tab]:
    """A tab in a window of its own: nothing is kept of earlier ones. `options`: of Playwright's `new_context`."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, timezone_id="America/New_York", **options
    )
    try:
        yield Tab(context, base)
    finally:
        context.close()


def gzipped(path: Path) -> int:
    """Bytes of a built file as the server sends it with gzip."""
    return path.with_name(path.name + ".gz").stat().st_size
