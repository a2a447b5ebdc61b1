"""A live market: whatever breaks, the page says so, loses its colour, and comes back by itself without being loaded again; and
however many tabs are open, that costs the server and the provider nothing."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from app.market.feed_transport import FeedTransport
from app.simulator.server import PolygonSimulator
from tests.browser.played import DAY, Played
from tests.browser.reading import CARD, TICKERS, band_of, missing, wait_shown
from tests.browser.turned import TurnedClock
from tests.browser.watching import PHONE, Tab, tab
from tests.serving.test_streams import value
from tests.support import CALENDAR, demo_feed
from tests.waiting import wait_for

STAGES = "predict_stage_seconds_count"
COMPUTED = ("compute-structure", "compute-rpe", "compute-v6", "policy")
"""Stages of the pipeline that a look at the market runs through."""
CHART = ".canvas canvas"
DRAWING_IS_LOADED = "performance.getEntriesByType('resource').some(({ name }) => /plot-[^/]*[.]js$/.test(name))"
"""Asked from outside again and again: a page that repeats a question by itself needs an `eval` that its policy refuses."""
TRUSTED = f"{CARD}[data-trusted=true]"


@pytest.fixture(scope="module")
def played(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("faults")
    clock = TurnedClock(folder / "clock")
    clock.set(f"{DAY} 11:30:40")
    with PolygonSimulator(FeedTransport(demo_feed(), CALENDAR, clock), clock=clock) as provider:
        found = Played(folder, provider, clock)
        with found.relay:
            found.start()
            yield found
            found.kill()


@pytest.fixture
def shown(browser: Browser, played: Played) -> Iterator[Tab]:
    """A page that shows the present moment in colour, and is not loaded again until the test ends."""
    with tab(browser, played.relay.base) as found:
        page = found.open()
        page.evaluate("window.same = true")
        wait_live(page, played)
        yield found
        assert page.evaluate("window.same"), "the page was loaded again"
        assert [wrong for wrong in found.wrong if not is_of_the_network(wrong)] == []


def is_of_the_network(wrong: str) -> bool:
    """What the browser itself says of requests and sockets that fail."""
    return bool(re.search(r"net::ERR_|WebSocket connection to|status of 50\d", wrong))


def wait_live(page: Page, played: Played) -> None:
    """It says LIVE, shows what the API says, and has its colours."""

    def is_live() -> bool:
        signals = played.server.get("/v2/trading-directions").json()["signals"]
        is_same = not any(missing(page, signal) for signal in signals)
        return is_same and band_of(page).startswith("LIVE") and page.locator(TRUSTED).count() == len(TICKERS)

    wait_shown(page, is_live, "the page does not become live")


def wait_said(page: Page, words: str) -> float:
    """The page says one of these words (a pattern), and has lost all colours. Returns after how many seconds."""
    began = time.monotonic()
    wait_shown(page, lambda: re.match(words, band_of(page)), f"the page does not say {words}")
    took = time.monotonic() - began
    wait_shown(page, lambda: page.locator(TRUSTED).count() == 0, "something keeps its colour")
    return took


def test_a_server_that_is_killed_is_said_and_the_page_comes_back_by_itself(shown: Tab, played: Played) -> None:
    played.kill()
    wait_said(shown.page, "DISCONNECTED")
    assert shown.looked_at() == []
    played.start()
    wait_live(shown.page, played)


def test_a_connection_that_is_cut_is_said_and_the_page_comes_back_by_itself(shown: Tab, played: Played) -> None:
    played.relay.refuse()
    wait_said(shown.page, "DISCONNECTED")
    played.relay.mend()
    wait_live(shown.page, played)


def test_a_chart_that_is_looked_at_first_when_the_connection_is_gone_is_drawn(browser: Browser, played: Played) -> None:
    with tab(browser, played.relay.base, PHONE) as found:
        page = found.open()
        wait_live(page, played)
        wait_for(lambda: page.evaluate(DRAWING_IS_LOADED))
        expect(page.locator(CHART)).to_have_count(0)
        played.relay.refuse()
        wait_said(page, "DISCONNECTED")
        page.locator(".canvas").scroll_into_view_if_needed()
        expect(page.locator(CHART).first).to_be_visible()
        played.relay.mend()
        wait_live(page, played)


def test_a_connection_that_says_nothing_is_noticed_and_mended(browser: Browser, played: Played) -> None:
    """A minute of the page's own time passes at once."""
    with tab(browser, played.relay.base) as found:
        found.page.clock.install()
        page = found.open()
        wait_live(page, played)
        played.relay.stall()
        page.clock.run_for(60_000)
        wait_said(page, "SILENT|DISCONNECTED")
        played.relay.mend()
        page.clock.run_for(10_000)
        wait_live(page, played)


def test_prices_that_stop_are_called_stale_and_have_no_colour_until_they_come_again(shown: Tab, played: Played) -> None:
    played.provider.inject_fault("silence")
    played.forward("11:38:40")
    wait_said(shown.page, "STALE")
    assert shown.looked_at() == []
    played.provider.clear_fault()
    wait_live(shown.page, played)


def computed(played: Played) -> dict[str, float]:
    """How often the server has run each stage of the pipeline."""
    return {stage: value(played.server, STAGES, stage=stage) for stage in COMPUTED}


def wait_computed(shown: Tab, played: Played) -> None:
    """The server has computed all that the present moment asks for: for seconds nothing is added."""

    def is_done() -> bool:
        before = computed(played)
        shown.page.wait_for_timeout(2_000)
        return computed(played) == before

    wait_for(is_done, "the server goes on computing")


def minute(shown: Tab, played: Played, at: str) -> tuple[float, int]:
    """How many stages are computed and calls made for one more minute of the market, `at`, until all is done."""
    before = sum(computed(played).values()), len(played.provider.calls)
    played.forward(at)
    wait_live(shown.page, played)
    wait_computed(shown, played)
    return sum(computed(played).values()) - before[0], len(played.provider.calls) - before[1]


@pytest.mark.soak
def test_three_open_tabs_cost_no_more_computing_and_no_more_calls_than_one(
    browser: Browser, played: Played, shown: Tab
) -> None:
    played.forward("11:46:40")
    wait_live(shown.page, played)
    wait_computed(shown, played)
    stages, calls = minute(shown, played, "11:47:40")
    assert stages > 0
    assert calls > 0
    with tab(browser, played.relay.base) as second, tab(browser, played.relay.base) as third:
        for one in (second, third):
            wait_live(one.open(), played)
        wait_computed(shown, played)
        assert value(played.server, "predict_socket_connections") == 3
        more_stages, more_calls = minute(shown, played, "11:48:40")
        for one in (second, third):
            wait_live(one.page, played)
        assert more_stages <= stages
        assert more_calls <= calls


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_what_breaks_is_said_within_three_seconds(shown: Tab, played: Played) -> None:
    """How long it takes until the page says it and has lost its colours: ten times for cuts and ends, once for prices. These
    stop a few minutes after bars that came: a server whose bars are a quarter of an hour old waits for newer ones first."""
    took: dict[str, list[float]] = {"cut": [], "killed": [], "stale": []}
    played.forward("11:50:40")
    wait_live(shown.page, played)
    for _ in range(10):
        played.relay.refuse()
        took["cut"].append(wait_said(shown.page, "DISCONNECTED"))
        played.relay.mend()
        wait_live(shown.page, played)
        played.kill()
        took["killed"].append(wait_said(shown.page, "DISCONNECTED"))
        played.start()
        wait_live(shown.page, played)
    played.provider.inject_fault("silence")
    played.forward("11:58:40")
    took["stale"].append(wait_said(shown.page, "STALE"))
    played.provider.clear_fault()
    wait_live(shown.page, played)
    for fault, seconds in took.items():
        print(f"{fault}: said after {min(seconds):.2f} to {max(seconds):.2f} s")
    assert max(map(max, took.values())) < 3.0
