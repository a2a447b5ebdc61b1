"""Replay in a browser: any day and minute by slider and keyboard, plainly marked, at a pace that the server can bear."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Request, expect

from tests.browser.watching import Tab
from tests.serving.test_gunicorn import Server
from tests.waiting import wait_for

OpenTab = Callable[..., Tab]
DAY = "2024-06-12"
AT = f"/dashboard/QQQ?date={DAY}&time=14:35"
SLIDER = "Time, New York"
PAUSE_S = 1.5
"""Between the requests of two moments."""


def moment(page: Page) -> tuple[str, str]:
    """Day and time of the address."""
    query = parse_qs(page.evaluate("location.search.slice(1)"))
    return query.get("date", [""])[0], query.get("time", [""])[0]


def at(page: Page, day: str, minute: str) -> None:
    """Wait until the page is at a moment: its address, its chart and its slider."""
    wait_for(lambda: moment(page) == (day, minute), f"the address of {day} {minute}")
    expect(page.get_by_role("heading", name=f"up to {minute}")).to_be_visible()
    expect(page.get_by_label(SLIDER)).to_have_attribute("aria-valuetext", f"{minute} New York")
    expect(page.locator(".labels")).to_contain_text(f"REPLAY {minute}")


def test_a_deep_link_opens_its_moment_and_keys_move_it(open_tab: OpenTab) -> None:
    page = open_tab().open(AT)
    at(page, DAY, "14:35")
    slider = page.get_by_label(SLIDER)
    for key, minute in (("ArrowRight", "14:36"), ("PageUp", "15:00"), ("PageDown", "14:00"), ("Home", "09:30")):
        slider.press(key)
        at(page, DAY, minute)
    page.get_by_role("button", name="\N{MINUS SIGN}1 min").press("Enter")
    at(page, DAY, "09:30")
    page.get_by_role("button", name="Decision after").press("Enter")
    at(page, DAY, "10:00")
    page.reload()
    at(page, DAY, "10:00")
    page.get_by_role("link", name="Back to live").press("Enter")
    expect(page.get_by_role("heading", name="Today's chart")).to_be_visible()
    expect(page).to_have_url(re.compile("/dashboard/QQQ$"))
    page.go_back()
    at(page, DAY, "10:00")


@pytest.mark.soak
def test_days_follow_the_calendar_and_its_early_closes(open_tab: OpenTab) -> None:
    tab = open_tab()
    page = tab.open("/dashboard/QQQ?date=2024-06-14&time=11:00")
    page.get_by_role("button", name="Day after").click()
    at(page, "2024-06-17", "11:00")
    page.get_by_role("button", name="Day before").click()
    at(page, "2024-06-14", "11:00")
    page.get_by_label("Day", exact=True).fill("2024-07-03")
    at(page, "2024-07-03", "11:00")
    expect(page.get_by_text("The market closed early on this day.")).to_be_visible()
    expect(page.get_by_label(SLIDER)).to_have_attribute("max", "780")
    page.get_by_label("Day", exact=True).fill("2024-06-15")
    expect(page.get_by_text("Sat 15 Jun 2024 is no trading day.")).to_be_visible()
    expect(page.get_by_text("There are no market data of QQQ for 2024-06-15")).to_be_visible()
    expect(page.get_by_text("There are no bars to show.")).to_be_visible()
    expect(page.get_by_text("daily bars from 20")).to_be_visible()
    tab.wrong = [wrong for wrong in tab.wrong if "404" not in wrong]


@pytest.mark.soak
def test_a_slider_that_moves_asks_for_few_moments_and_for_the_last_one(open_tab: OpenTab, server: Server) -> None:
    page = open_tab().open(AT)
    at(page, DAY, "14:35")
    asked: list[str] = []

    def hear(request: Request) -> None:
        found = re.search(r"/v2/replay/QQQ\?at=([^&]*)", request.url)
        if found is not None:
            asked.append(found[1])

    page.on("request", hear)
    slider = page.get_by_label(SLIDER)
    slider.focus()
    began = time.monotonic()
    for _ in range(60):
        page.keyboard.press("ArrowLeft")
    at(page, DAY, "13:35")
    expect(page.locator(".frame[data-trusted=true]")).to_be_visible()
    assert len(asked) <= 2 + (time.monotonic() - began) / PAUSE_S, asked
    assert asked[-1].startswith(f"{DAY}T13%3A35"), asked
    expected = server.get(f"/v2/replay/QQQ?at={DAY}T13:35:00-04:00").json()
    summary = page.get_by_role("heading", name="The chart in words").locator("xpath=..")
    expect(summary).to_contain_text(f"last ${expected['prices']['now']:.2f}.")


@pytest.mark.soak
def test_three_tabs_of_a_replay_ask_once_for_the_decisions_of_each_ticker_and_are_not_refused(
    open_tab: OpenTab,
) -> None:
    """The chart and the strip show the same decisions. A refusal (429) is an error on the page, which fails the test; what a
    busy server does not bring in time (503) is asked for again."""
    tabs = [open_tab() for _ in range(3)]
    series: list[list[str]] = [[] for _ in tabs]
    for tab, asked in zip(tabs, series, strict=True):
        tab.page.on("request", lambda request, to=asked: to.append(request.url) if "step=60" in request.url else None)
        tab.open(AT)
    for tab in tabs:
        expect(tab.page.locator("td[data-state=decided]")).to_have_count(15)
        tab.settle()
        tab.wrong = [wrong for wrong in tab.wrong if "503" not in wrong]
    for asked in series:
        assert sorted(urlsplit(url).path for url in asked) == [f"/v2/replay/{name}" for name in ("IWM", "QQQ", "SPY")]


@pytest.mark.soak
def test_the_running_day_can_be_replayed_up_to_now(open_tab: OpenTab) -> None:
    page = open_tab().open("/dashboard/SPY")
    expect(page.locator(".note").filter(has_text="Bars up to")).to_be_visible()
    page.locator(".buttons").get_by_role("link", name="Replay").click()
    wait_for(lambda: moment(page)[0] != "", "a moment in the address")
    at(page, *moment(page))
    expect(page.get_by_text("daily bars from 20")).to_be_visible()
