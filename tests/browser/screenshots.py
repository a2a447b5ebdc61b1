"""Pictures of the dashboard for people to look at, kept below `var/screenshots`: `make screenshots`, and for some of them
`.venv/bin/python -m tests.browser.screenshots NAME...`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from playwright.sync_api import Page

from tests.browser.watching import DESKTOP, PHONE, Size, launched, tab
from tests.markdown import ROOT
from tests.serving.test_gunicorn import SERVE, started

FOLDER = ROOT / "var" / "screenshots"


def as_it_is(_: Page) -> None:
    """The page as it opens."""


class Shot(NamedTuple):
    """A picture: the address, the window, the colours, and what is done on the page before."""

    path: str
    size: Size = DESKTOP
    scheme: str = "light"
    prepare: Callable[[Page], None] = as_it_is


SHOTS = {
    "today-light": Shot("/"),
    "today-dark": Shot("/", scheme="dark"),
    "today-phone": Shot("/", PHONE),
    "replay": Shot("/dashboard/SPY?date=2024-06-12&time=14:00"),
    "record": Shot("/dashboard/SPY/record"),
    "model": Shot("/dashboard/SPY/model"),
    "system": Shot("/dashboard/system", scheme="dark"),
    "unknown": Shot("/dashboard/nothing"),
}


def take(names: list[str]) -> None:
    """Take the pictures of these names."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        data = Path(stack.enter_context(TemporaryDirectory()))
        browser = stack.enter_context(launched())
        server = stack.enter_context(
            started(SERVE, data / "log", MARKET="demo", DATA_DIR=data, RATE_LIMIT_OTHER=100_000)
        )
        server.wait_ready()
        for name in names:
            shot, file = SHOTS[name], FOLDER / f"{name}.png"
            with tab(browser, server.base, shot.size, scheme=shot.scheme) as shown:
                shot.prepare(shown.open(shot.path))
                shown.page.screenshot(path=file, full_page=True)
            print(file.relative_to(ROOT), *shown.wrong)


if __name__ == "__main__":
    take(sys.argv[1:] or list(SHOTS))
