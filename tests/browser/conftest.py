"""A browser, a server with the demo market, and a tab on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from typing import Any

import pytest
from playwright.sync_api import Browser

from app.config.api_keys import new_key
from tests.browser.watching import Tab, build, tab
from tests.serving.test_gunicorn import SERVE, Server, started


@pytest.fixture(scope="session")
def browser(chromium: Browser) -> Browser:
    """The browser of all tests, once the page is built."""
    build()
    return chromium


@pytest.fixture(scope="session")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the demo market, as `make serve` starts it, for tests that only look. It has no limits, since all tests
    come from one address."""
    folder = tmp_path_factory.mktemp("server")
    limits = {f"RATE_LIMIT_{group}": 100_000 for group in ("DIRECTIONS", "ANALYSIS", "REPLAY", "STREAMS", "OTHER")}
    with started(SERVE, folder / "log", MARKET="demo", DATA_DIR=folder / "data", **limits) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="session")
def guarded(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    """A server with keys, without a key for market data, that takes one connection of each client; and the secret of a key."""
    folder = tmp_path_factory.mktemp("guarded")
    secret, key = new_key("trader", "standard", date(2100, 1, 1))
    with started(
        SERVE, folder / "log", API_KEYS=key, SOCKETS_PER_CLIENT=1, MARKET="polygon", DATA_DIR=folder / "data"
    ) as running:
        running.wait_ready()
        yield running, secret


@pytest.fixture
def open_tab(browser: Browser, server: Server) -> Iterator[Callable[..., Tab]]:
    """Opens tabs on the server: `open_tab(PHONE, scheme="dark")`. A test fails if anything goes wrong on one of them."""
    with ExitStack() as stack:
        tabs: list[Tab] = []

        def begin(*size: Any, **options: Any) -> Tab:
            tabs.append(stack.enter_context(tab(browser, server.base, *size, **options)))
            return tabs[-1]

        yield begin
        assert [wrong for one in tabs for wrong in one.wrong] == []
