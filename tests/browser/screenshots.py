"""Pictures of the dashboard for people to look at, kept below `var/screenshots`: `make screenshots`, and for some of them
`.venv/bin/python -m tests.browser.screenshots NAME...`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from playwright.sync_api import Browser

from app.market.feed_transport import FeedTransport
from app.simulator.server import PolygonSimulator
from tests.browser import recorded
from tests.browser.played import DAY, Played
from tests.browser.reading import band_of, wait_shown
from tests.browser.turned import TurnedClock, turned
from tests.browser.watching import DESKTOP, PHONE, Size, Tab, launched, tab
from tests.markdown import ROOT
from tests.support import CALENDAR, demo_feed
from tests.waiting import wait_for

FOLDER = ROOT / "var" / "screenshots"


class Shot(NamedTuple):
    """A picture. at: the time of the market's clock, New York; words: what the band says then; fault: what is broken before."""

    path: str = "/"
    at: str = "10:30"
    words: str = ""
    size: Size = DESKTOP
    scheme: str = "light"
    fault: str = ""


PAST = f"/dashboard/QQQ?date={recorded.DAY}&time=10:30"
RECORDED = {
    "closed": Shot(at="08:00", words="CLOSED"),
    "closed-dark-phone": Shot(at="08:00", words="CLOSED", size=PHONE, scheme="dark"),
    "signal": Shot(words="RECORDED"),
    "signal-dark": Shot(words="RECORDED", scheme="dark"),
    "signal-phone": Shot(words="RECORDED", size=PHONE),
    "no-trade": Shot("/dashboard/SPY", at="12:30", words="RECORDED"),
    "after-close": Shot(at="16:30", words="CLOSED"),
    "late": Shot("/dashboard/IWM", at="15:40", words="RECORDED"),
    "replay": Shot(PAST, at="15:40", words="REPLAY"),
    "replay-phone-dark": Shot(PAST, at="15:40", words="REPLAY", size=PHONE, scheme="dark"),
    "record": Shot("/dashboard/QQQ/record", at="16:30"),
    "record-phone": Shot("/dashboard/QQQ/record", at="16:30", size=PHONE),
    "model": Shot("/dashboard/SPY/model", at="16:10"),
    "model-dark": Shot("/dashboard/SPY/model", at="16:10", scheme="dark"),
    "system": Shot("/dashboard/system"),
    "system-phone-dark": Shot("/dashboard/system", size=PHONE, scheme="dark"),
    "unknown": Shot("/dashboard/nothing"),
}
"""In the recorded market."""

LIVE = {
    "live": Shot(at="11:30:40", words="LIVE"),
    "live-phone": Shot(at="11:31:40", words="LIVE", size=PHONE),
    "disconnected": Shot(at="11:32:40", words="DISCONNECTED", fault="cut"),
    "disconnected-phone-dark": Shot(at="11:33:40", words="DISCONNECTED", fault="cut", size=PHONE, scheme="dark"),
    "stale": Shot(at="11:42:40", words="STALE", fault="silence"),
    "stale-dark": Shot(at="11:52:40", words="STALE", fault="silence", scheme="dark"),
}
"""In a live market, that of the simulated provider."""


def seen(shown: Tab) -> None:
    """Look at the chart where there is one, since it is drawn where it is in sight, and go back to the top."""
    if (chart := shown.page.locator(".canvas")).count():
        chart.evaluate("(one) => one.scrollIntoView()")
        chart.locator("canvas").first.wait_for()
        shown.page.wait_for_timeout(300)
        shown.page.evaluate("scrollTo(0, 0)")


def save(shown: Tab, name: str, shot: Shot) -> None:
    """Take the picture once the page says what it is about and has all of its parts."""
    wait_for(lambda: band_of(shown.page).startswith(shot.words), f"{name}: the page does not say {shot.words}")
    if shot.fault == "" and not shot.path.endswith("/system"):
        shown.settle()
    else:  # a request of the operators' panel is open for as long as it is shown, as the browser counts
        shown.page.wait_for_timeout(2_000)
    seen(shown)
    file = FOLDER / f"{name}.png"
    shown.page.screenshot(path=file, full_page=True)
    print(file.relative_to(ROOT), *shown.wrong)


def take_recorded(browser: Browser, folder: Path, shots: dict[str, Shot]) -> None:
    """Take pictures of the recorded market. The clock stops at each hour of the day, so that all decisions are recorded."""
    recorded.import_days(folder / "data")
    clock = TurnedClock(folder / "clock")
    clock.set(f"{recorded.DAY} 08:00")
    with turned(folder, clock, MARKET="recorded") as server:
        for hour in range(10, 16):
            clock.set(f"{recorded.DAY} {hour}:01")
            server.get("/v2/trading-directions")
        for name, shot in shots.items():
            clock.set(f"{recorded.DAY} {shot.at}")
            with tab(browser, server.base, shot.size, scheme=shot.scheme) as shown:
                shown.open(shot.path)
                save(shown, name, shot)


@contextmanager
def broken(played: Played, fault: str, at: str) -> Iterator[None]:
    """The market time `at`, at which something is broken."""
    if fault == "cut":
        played.relay.refuse()
    elif fault:
        played.provider.inject_fault(fault)
        played.forward(at)
    yield
    played.provider.clear_fault()
    played.relay.mend()


def take_live(browser: Browser, folder: Path, shots: dict[str, Shot]) -> None:
    """Take pictures of the live market."""
    clock = TurnedClock(folder / "clock")
    clock.set(f"{DAY} 11:25:40")
    with PolygonSimulator(FeedTransport(demo_feed(), CALENDAR, clock), clock=clock) as provider:
        played = Played(folder, provider, clock)
        with played.relay:
            played.start()
            for name, shot in shots.items():
                if shot.fault in ("", "cut"):
                    played.forward(shot.at)
                with tab(browser, played.relay.base, shot.size, scheme=shot.scheme) as shown:
                    shown.open(shot.path)
                    wait_shown(shown.page, lambda: band_of(shown.page).startswith("LIVE"), f"{name}: not live")
                    shown.settle()
                    with broken(played, shot.fault, shot.at):
                        save(shown, name, shot)
            played.kill()


def take(names: list[str]) -> None:
    """Take the pictures of these names."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with launched() as browser, TemporaryDirectory() as live, TemporaryDirectory() as past:
        if shots := {name: shot for name, shot in LIVE.items() if name in names}:
            take_live(browser, Path(live), shots)
        if shots := {name: shot for name, shot in RECORDED.items() if name in names}:
            take_recorded(browser, Path(past), shots)


if __name__ == "__main__":
    take(sys.argv[1:] or [*LIVE, *RECORDED])
