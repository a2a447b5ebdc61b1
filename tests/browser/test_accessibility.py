"""axe finds nothing wrong, of any level, on any view and in any state of the server: at both
sizes and in both colour schemes."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import date
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from app.config.api_keys import new_key
from app.config.settings import ARTEFACTS
from tests.browser.watching import ALL_LOOKS, DESKTOP, PHONE, SOME_LOOKS, Look, Tab, tab
from tests.serving.test_gunicorn import SERVE, Server, started
from tests.support import promoted_set
from tests.waiting import wait_for

OpenTab = Callable[..., Tab]
Opened = Callable[[Browser, Server], AbstractContextManager[Tab]]
VIEWS: tuple[tuple[str, Look], ...] = (
    ("/", (DESKTOP, "light")),
    ("/", (PHONE, "dark")),
    ("/dashboard/QQQ?date=2024-06-12&time=14:00", (DESKTOP, "dark")),
    ("/dashboard/SPY/record", (DESKTOP, "light")),
    ("/dashboard/SPY/model", (PHONE, "dark")),
    ("/dashboard/system", (DESKTOP, "dark")),
    ("/dashboard/nothing", (PHONE, "light")),
)
ALSO_SEEN_ELSEWHERE = (VIEWS[0], VIEWS[-1])
"""In CI other tests look at the first view like this, and the last holds nothing; the soak has all views in all looks."""
LOOKS = (pytest.param(SOME_LOOKS[:1], id="one"), pytest.param(ALL_LOOKS, id="all", marks=pytest.mark.soak))
BAND = "[data-word]"
TRADING_DIRECTIONS = "/v2/trading-directions"


@pytest.mark.parametrize(("path", "look"), [view for view in VIEWS if view not in ALSO_SEEN_ELSEWHERE])
def test_axe_finds_nothing_on_a_view(open_tab: OpenTab, path: str, look: Look) -> None:
    size, scheme = look
    shown = open_tab(size, scheme=scheme)
    filled(shown, path)
    assert shown.looked_at((look,)) == []


@pytest.mark.soak
@pytest.mark.parametrize("path", dict(VIEWS))
def test_axe_finds_nothing_on_a_view_in_any_look(open_tab: OpenTab, path: str) -> None:
    shown = open_tab()
    filled(shown, path)
    for details in shown.page.locator("details").all():
        details.evaluate("(one) => { one.open = true }")
    for button in shown.page.get_by_role("button", name="Table").all():
        button.press("Enter")
    assert shown.looked_at(ALL_LOOKS) == []


def filled(shown: Tab, path: str) -> None:
    """Open a view, and wait until nothing of it is asked for any more."""
    page = shown.open(path)
    expect(page.get_by_role("heading", level=2).first).to_be_visible()
    expect(page.get_by_text("asking the server")).to_have_count(0)


@pytest.fixture(scope="module")
def guarded(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with API keys and no key for market data, which takes one connection and few requests of a client."""
    folder = tmp_path_factory.mktemp("guarded")
    _, key = new_key("trader", "standard", date(2100, 1, 1))
    limits = {"SOCKETS_PER_CLIENT": 1, "RATE_LIMIT_DIRECTIONS": 1, "RATE_LIMIT_ANALYSIS": 1}
    with started(SERVE, folder / "log", API_KEYS=key, MARKET="polygon", DATA_DIR=folder / "data", **limits) as running:
        running.wait_ready()
        yield running


@contextmanager
def without_key(browser: Browser, server: Server) -> Iterator[Tab]:
    """A page that sends no key."""
    with tab(browser, server.base) as shown:
        yield shown


@contextmanager
def with_wrong_key(browser: Browser, server: Server) -> Iterator[Tab]:
    """A page whose key the server does not know."""
    with tab(browser, server.base) as shown:
        shown.page.add_init_script("sessionStorage.setItem('api-key', 'predict_wrong')")
        yield shown


@contextmanager
def limited(browser: Browser, server: Server) -> Iterator[Tab]:
    """A page that the server refuses a connection, as another one has it, and answers, as there were too many requests."""
    with tab(browser, server.base) as first, tab(browser, server.base) as shown:
        expect(first.open().locator(BAND)).to_have_attribute("data-word", "NO DATA KEY")
        for path in (TRADING_DIRECTIONS, "/v2/structure/SPY"):
            wait_for(lambda path=path: server.get(path).status_code == 429, "there may be more requests")
        yield shown


@pytest.mark.parametrize("looks", LOOKS)
@pytest.mark.parametrize(
    ("path", "word", "opened"),
    [
        ("/", "KEY NEEDED", with_wrong_key),
        pytest.param("/dashboard/system", "KEY NEEDED", with_wrong_key, marks=pytest.mark.soak),
        pytest.param("/", "LIMITED", limited, marks=pytest.mark.soak),
        ("/", "NO DATA KEY", without_key),
    ],
)
def test_axe_finds_nothing_where_the_server_refuses_or_lacks_something(
    browser: Browser, guarded: Server, path: str, word: str, opened: Opened, looks: tuple[Look, ...]
) -> None:
    with opened(browser, guarded) as shown:
        page = shown.open(path)
        expect(page.locator(BAND)).to_have_attribute("data-word", word)
        assert shown.looked_at(looks) == []


@pytest.fixture(scope="module")
def untrained(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the demo market that has no model of SPY."""
    folder = tmp_path_factory.mktemp("untrained")
    models = Path(shutil.copytree(ARTEFACTS, folder / "models"))
    for file in promoted_set(models).glob("v6_SPY.*"):
        file.unlink()
    with started(SERVE, folder / "log", MARKET="demo", MODELS_DIR=models, DATA_DIR=folder / "data") as running:
        running.wait_ready()
        yield running


@pytest.mark.parametrize("looks", LOOKS)
def test_axe_finds_nothing_where_there_is_no_model(
    browser: Browser, untrained: Server, looks: tuple[Look, ...]
) -> None:
    with tab(browser, untrained.base) as shown:
        page = shown.open()
        expect(page.locator(BAND)).to_have_attribute("data-word", "NO MODEL")
        assert shown.looked_at(looks) == []
