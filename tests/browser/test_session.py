"""The whole of a recorded session, played to the page: whenever one looks, it shows what the API says of that moment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.reading import TICKERS, band_of, missing
from tests.browser.recorded import DAY, import_days
from tests.browser.turned import TurnedClock, turned
from tests.browser.watching import Tab, tab
from tests.serving.test_gunicorn import Server
from tests.waiting import wait_for

CHECKPOINTS = ("09:20", "09:45", "10:00", "10:30", "11:30", "12:30", "13:30", "14:30", "15:55", "16:05")
WORDS = {"live": "RECORDED", "delayed": "DELAYED", "stale": "STALE", "closed": "CLOSED"}


class Market(NamedTuple):
    """A server of the recorded market, and its clock."""

    server: Server
    clock: TurnedClock

    def signals(self) -> list[dict[str, Any]]:
        """What the API says now."""
        return self.server.get("/v2/trading-directions").json()["signals"]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def market(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    folder = tmp_path_factory.mktemp("session")
    import_days(folder / "data")
    clock = TurnedClock(folder / "clock")
    clock.set(f"{DAY} 09:00")
    with turned(folder, clock, MARKET="recorded") as server:
        yield Market(server, clock)
        assert "Traceback" not in server.log.read_text()


@pytest.fixture
def shown(browser: Browser, market: Market) -> Iterator[Tab]:
    """A page on it. The recorded bars are of five minutes, so that there are none of a minute."""
    no_minutes = f"404 (NOT FOUND) {market.server.base}/v2/bars/SPY?span=1m"
    with tab(browser, market.server.base) as found:
        found.open()
        yield found
        assert [wrong for wrong in found.wrong if no_minutes not in wrong] == []


def differences(page: Page, market: Market) -> list[str]:
    """What the page shows otherwise than the API says at this moment, at which the clock stands still."""
    signals = market.signals()
    assert [signal["ticker"] for signal in signals] == list(TICKERS)
    found = [f"{signal['ticker']}: {words}" for signal in signals for words in missing(page, signal)]
    word = WORDS[signals[0]["freshness"]]
    return found if band_of(page).startswith(word) else [*found, f"{word}: {band_of(page)}"]


def check(page: Page, market: Market, at: str) -> None:
    """The page comes to show what the API says at this moment."""
    try:
        wait_for(lambda: not differences(page, market), every_s=0.2)
    except AssertionError:
        raise AssertionError(f"{at}: {differences(page, market)}") from None


def test_at_every_checkpoint_of_a_session_the_page_shows_what_the_api_says(market: Market, shown: Tab) -> None:
    shown.page.evaluate("window.same = true")
    hours, actions = set(), set()
    for at in CHECKPOINTS:
        market.clock.set(f"{DAY} {at}")
        check(shown.page, market, at)
        signals = market.signals()
        hours |= {signal["decision_hour"] for signal in signals}
        actions |= {signal["action"] for signal in signals}
    assert hours == {None, 10, 11, 12, 13, 14, 15}
    assert actions == {"BUY_CALL", "BUY_PUT", "NO_TRADE"}, "the day has all of them, so all of them were compared"
    assert shown.page.evaluate("window.same"), "without loading the page again"


@pytest.mark.soak
@pytest.mark.parametrize(
    ("at", "state"),
    [("08:00", "CLOSED"), ("09:35", "RECORDED"), ("10:30", "BUY CALL"), ("12:30", "NO TRADE")],
)
def test_axe_finds_nothing_in_any_state_of_the_market(market: Market, shown: Tab, at: str, state: str) -> None:
    market.clock.set(f"{DAY} {at}")
    check(shown.page, market, at)
    assert state in shown.page.inner_text("body")
    assert shown.looked_at() == []


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_session_that_runs_two_hundred_times_as_fast_shows_what_the_api_says_wherever_it_is_stopped(
    market: Market, shown: Tab
) -> None:
    """The clock runs for two seconds, nearly seven minutes of the session, and stands still for the look."""
    market.clock.set(f"{DAY} 09:15")
    checkpoints = 0
    while market.clock().strftime("%H:%M") < "16:05":
        market.clock.run(200.0)
        shown.page.wait_for_timeout(2_000)
        market.clock.run(0.0)
        check(shown.page, market, market.clock().strftime("%H:%M:%S"))
        checkpoints += 1
    print(f"{checkpoints} checkpoints")
    assert checkpoints > 40


def heap_bytes(page: Page) -> int:
    """What the page's scripts hold, garbage apart."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    return int(metrics["JSHeapUsedSize"])


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_eight_hours_of_events_leave_the_memory_of_the_page_as_it_was(market: Market, shown: Tab) -> None:
    """From 08:30 to 16:30, five hundred times as fast."""
    market.clock.set(f"{DAY} 08:30", speed=500.0)
    sizes = []
    while market.clock().strftime("%H:%M") < "16:30":
        shown.page.wait_for_timeout(7_200)
        sizes.append(heap_bytes(shown.page))
    market.clock.run(0.0)
    print("heap each hour, MB:", *(f"{size / 1e6:.1f}" for size in sizes))
    assert sizes[-1] < 1.25 * sizes[1]
