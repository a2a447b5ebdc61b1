"""The chart of the day in a browser: it shows what the API says, and it is read and used without a mouse and without eyes."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.watching import BUILT, Tab
from tests.serving.test_gunicorn import Server
from tests.waiting import wait_for

OpenTab = Callable[..., Tab]
DAY = "2024-06-12"
MOMENT = datetime.fromisoformat(f"{DAY}T14:35:00-04:00")
AT = f"/dashboard/SPY?date={DAY}&time=14:35"
CURSOR = "Cursor over the bars of SPY"
COLOURED = """() => {
  const copied = (canvas) => {
    const context = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true })
    context.drawImage(canvas, 0, 0)
    return context.getImageData(0, 0, canvas.width, canvas.height)
  }
  const isColoured = (canvas) => {
    const { data } = copied(canvas)
    for (let at = 0; at < data.length; at += 4) {
      const [red, green, blue] = [data[at], data[at + 1], data[at + 2]]
      if (data[at + 3] > 200 && Math.max(red, green, blue) - Math.min(red, green, blue) > 90) return true
    }
    return false
  }
  return [...document.querySelectorAll(".canvas canvas")].some(isColoured)
}"""
"""Whether anything on the chart has a colour other than grey."""


def drawn(page: Page) -> Page:
    """The page once the chart has come into sight and has its bars."""
    page.locator(".canvas").evaluate("(one) => one.scrollIntoView()")
    page.locator(".canvas canvas").first.wait_for()
    expect(page.locator(".readout")).to_contain_text("open $")
    expect(page.locator(".note").filter(has_text="Bars up to")).not_to_contain_text("In sight")
    return page


def rows(page: Page) -> list[list[str]]:
    """The data table without its head, which a button opens."""
    button = page.get_by_role("button", name="Table")
    if button.get_attribute("aria-expanded") == "false":
        button.click()
    return page.eval_on_selector_all(
        "[role=region][aria-label^='Bars of'] tbody tr",
        "rows => rows.map((row) => [...row.cells].map((cell) => cell.textContent))",
    )


def row(bar: dict[str, Any]) -> list[str]:
    """A bar of the API as the table shows it, without VWAP."""
    prices = [f"${bar[name]:,.2f}" for name in ("open", "high", "low", "close")]
    return [bar["start"][11:16], *prices, f"{bar['volume']:,.0f}"]


def test_a_past_moment_shows_the_bars_of_the_api_and_none_behind_it(open_tab: OpenTab, server: Server) -> None:
    page = drawn(open_tab().open(AT))
    for name, span in (("1 min", "1m"), ("5 min", "5m"), ("15 min", "15m")):
        page.get_by_label(name, exact=True).check()
        bars = server.get(f"/v2/bars/SPY?day={DAY}&span={span}").json()["bars"]
        known = [row(bar) for bar in bars if datetime.fromisoformat(bar["end"]) <= MOMENT]
        expect(page.get_by_text("Bars up to 14:3")).to_be_visible()
        wait_for(lambda known=known: [cells[:6] for cells in rows(page)] == known[::-1], f"the bars of {span}")
    page.get_by_label("Days").check()
    expect(page.get_by_role("region", name="Bars of").locator("tbody th").first).to_have_text("2024-06-11")


@pytest.mark.soak
def test_the_decisions_of_a_past_day_are_those_of_its_replays(open_tab: OpenTab, server: Server) -> None:
    page = drawn(open_tab().open(AT))
    words = {"BUY_CALL": "BUY CALL", "BUY_PUT": "BUY PUT", "NO_TRADE": "NO TRADE"}
    summary = page.get_by_role("heading", name="The chart in words").locator("xpath=..")
    expect(summary).to_contain_text("Decisions: 10:00")
    said = []
    for hour in (10, 11, 12, 13, 14):
        signal = server.get(f"/v2/replay/SPY?at={DAY}T{hour}:30:00-04:00").json()
        price = signal["prices"]["at_decision"]
        said.append(f"{hour}:00 {words[signal['action']]} at ${price:.2f}, {signal['probability'] * 100:.1f}%")
    expect(summary).to_contain_text(f"Decisions: {'; '.join(said)}.")
    at_11 = server.get(f"/v2/replay/SPY?at={MOMENT.isoformat()}").json()["prices"]["at_11"]
    expect(summary).to_contain_text(f"11:00 price ${at_11:.2f}.")


@pytest.mark.soak
def test_pivots_are_those_of_the_structure(open_tab: OpenTab, server: Server) -> None:
    page = drawn(open_tab().open("/dashboard/QQQ"))

    def agree() -> bool:
        northstar = server.get("/v2/structure/QQQ").json()["northstar"]
        levels = {} if northstar is None else northstar["phase1"]["key_levels"]
        legend = re.findall(r"(R1|Pivot|S1) \$([\d.]+)", page.locator(".legend").inner_text())
        named = {"R1": "pivot_r1", "Pivot": "pivot", "S1": "pivot_s1"}
        return len(legend) == 3 and all(
            abs(levels.get(named[name], 0) - float(price)) < 0.011 for name, price in legend
        )

    wait_for(agree, "the pivots of the running day")


@pytest.mark.soak
def test_the_keyboard_cursor_says_a_bar_while_it_is_moved_and_is_silent_otherwise(
    open_tab: OpenTab, server: Server
) -> None:
    page = drawn(open_tab().open(AT))
    said = page.locator("[data-live=cursor]")
    cursor = page.get_by_role("slider", name=CURSOR)
    expect(said).to_be_empty()
    page.get_by_role("button", name="Table").focus()
    page.keyboard.press("Tab")
    expect(cursor).to_be_focused()
    expect(said).to_be_empty()
    first = server.get(f"/v2/bars/SPY?day={DAY}").json()["bars"][0]
    cursor.press("Home")
    expect(said).to_contain_text(f"09:30 to 09:31: open ${first['open']:.2f}, high ${first['high']:.2f}")
    expect(cursor).to_have_attribute("aria-valuetext", "09:30")
    for key, start in (("ArrowRight", "09:31"), ("PageUp", "09:41"), ("End", "14:34"), ("ArrowLeft", "14:33")):
        cursor.press(key)
        expect(said).to_contain_text(f"{start} to")
    cursor.press("Tab")
    expect(said).to_be_empty()


@pytest.mark.soak
def test_new_bars_come_without_losing_what_was_zoomed_to(open_tab: OpenTab) -> None:
    page = drawn(open_tab().open("/dashboard/IWM"))
    note = page.locator(".note").filter(has_text="Bars up to")
    found = re.compile(r"up to (\d\d:\d\d).*In sight: (\d\d:\d\d to \d\d:\d\d)", re.DOTALL)

    def seen() -> tuple[str, str]:
        match = found.search(note.inner_text())
        return (match[1], match[2]) if match else ("", "")

    def zoomed() -> tuple[str, str]:
        page.get_by_role("slider", name="Cursor over the bars of IWM").focus()
        page.keyboard.press("+")
        page.keyboard.press("+")
        expect(note).to_have_text(found)
        return seen()

    for _ in range(3):  # a day of the demo market may end in between, and the next one is shown whole
        (bar, sight), frame = zoomed(), page.locator(".frame").bounding_box()
        wait_for(lambda bar=bar: seen()[0] != bar, "an answer with newer bars")
        if seen()[0] > bar:
            break
    assert seen()[1] == sight
    assert page.locator(".frame").bounding_box() == frame, "the chart stays where it is"
    page.keyboard.press("0")
    expect(note).not_to_contain_text("In sight")


def test_nothing_has_colour_unless_it_may_be_trusted(open_tab: OpenTab) -> None:
    tab = open_tab(scheme="dark")
    page = drawn(tab.open(AT))
    expect(page.locator(".frame[data-trusted=true] .labels")).to_contain_text("REPLAY 14:35")
    expect(page.locator(".labels")).to_contain_text("DEMO")
    wait_for(lambda: page.evaluate(COLOURED), "a chart with colours")
    refused: Callable[[Route], None] = lambda route: route.fulfill(status=503, body="")  # noqa: E731
    page.route(re.compile(r"/v2/replay/.*at="), refused)
    page.get_by_role("button", name="+1 min").click()
    expect(page.locator(".frame[data-trusted=false] .labels")).to_contain_text("REPLAY 14:36")
    wait_for(lambda: not page.evaluate(COLOURED), "a grey chart")
    tab.wrong = [wrong for wrong in tab.wrong if "503" not in wrong]


def test_the_chart_library_comes_with_the_first_chart_and_its_licence_is_kept(
    open_tab: OpenTab, server: Server
) -> None:
    page = open_tab().open("/dashboard/system")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    assert page.evaluate("performance.getEntriesByType('resource').every(({ name }) => !name.includes('lightweight'))")
    page.get_by_role("link", name="Today").click()
    drawn(page)
    assert any("lightweight-charts" in url for url in asked)
    expect(page.get_by_role("link", name="tradingview.com")).to_have_attribute("href", "https://www.tradingview.com/")
    notice = page.get_by_role("link", name="Notice").get_attribute("href")
    answer = server.get(notice or "")
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert "TradingView, Inc." in answer.text
    assert (BUILT.parent / (notice or "")[1:]).is_file()
