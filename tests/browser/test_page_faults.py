"""Faults of the page itself: an event that cannot be read counts as missing, a panel that cannot be shown says so in grey while
the others go on, and a page that renders nothing any more loses its colour."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.test_live import BAND, Relay, noted_words, trusted, until
from tests.browser.watching import Tab, tab
from tests.serving.test_gunicorn import Server
from tests.waiting import wait_for

FAULT = "this page has a fault; load it again"
TAKEN_AWAY = "svelte.dev/e/derived_inert"
"""Svelte's warning that a part which is taken away for its fault was about to be rendered once more."""
STOPPABLE = """(() => {
  const set = window.setInterval
  window.setInterval = (run, ms) => set(() => (ms === 250 && window.stopped ? undefined : run()), ms)
})()"""
"""The ticks of the page, four a second, stop with `window.stopped`."""


@pytest.fixture
def one(browser: Browser, server: Server) -> Iterator[Tab]:
    """A tab on which things may go wrong."""
    with tab(browser, server.base) as found:
        yield found


def test_a_card_that_cannot_be_shown_says_so_in_grey_and_comes_back_by_itself_while_the_others_go_on(one: Tab) -> None:
    relay = Relay(one.page)
    page = one.open()
    trusted(page)
    whole = relay.last("snapshot", "SPY")
    relay.dropping = lambda message: '"SPY"' in message
    rate = {"target": whole["signal"]["active_target"], "span": None}
    relay.add("snapshot", whole | {"signal": whole["signal"] | {"hit_rates": [rate]}})
    fault = page.locator('[data-fault="SPY"]')
    expect(fault).to_contain_text(f"UNAVAILABLE: {FAULT}")
    expect(page.locator('.card[data-ticker="SPY"]')).to_have_count(0)
    clock = page.locator("[data-clock] .now")
    first = clock.inner_text()
    expect(clock).not_to_have_text(first)
    expect(page.locator('.card[data-ticker="QQQ"]')).to_have_attribute("data-trusted", "true")
    assert [wrong[:11] for wrong in one.wrong if TAKEN_AWAY not in wrong] == ["error: SPY:"]
    assert one.axe() == []
    relay.dropping = lambda message: False
    expect(fault.get_by_role("button", name="Try SPY again")).to_be_visible()
    relay.add("snapshot", whole)
    trusted(page)
    expect(fault).to_have_count(0)


def test_an_event_that_cannot_be_read_counts_as_missing_and_is_mended(one: Tab) -> None:
    relay = Relay(one.page)
    page = one.open()
    trusted(page)
    noted_words(page)
    replaced: list[dict[str, Any]] = []

    def replace_one(message: str) -> bool:
        is_first = not replaced and relay.is_about("price", "SPY", message)
        if is_first:
            replaced.append({"generated_at": "rubbish", "as_of": "rubbish", "prices": None})
            relay.add("price", relay.read(message) | replaced[0])
        return is_first

    relay.dropping = replace_one
    wait_for(
        lambda: page.evaluate("window.words.includes('CATCHING UP')") and one.wrong, "nothing was found to be missing"
    )
    until(page, "window.words.at(-1) !== 'CATCHING UP'")
    trusted(page)
    assert [wrong[:20] for wrong in one.wrong] == ["error: events of SPY"]


@pytest.mark.soak
def test_a_page_that_renders_nothing_any_more_loses_its_colour_and_gets_it_back(one: Tab) -> None:
    one.page.add_init_script(STOPPABLE)
    page = one.open()
    trusted(page)
    page.evaluate("() => { window.stopped = true }")
    root = page.locator("html")
    expect(root).to_have_attribute("data-frozen", f"UNAVAILABLE: {FAULT}")
    expect(page.locator(BAND)).to_be_hidden()
    expect(page).to_have_title("UNAVAILABLE · Predict")
    shown = "getComputedStyle(document.querySelector('.card .action')).color"
    quiet = "getComputedStyle(document.querySelector('.card .lock')).color"
    assert page.evaluate(shown) == page.evaluate(quiet)
    assert one.axe() == []
    page.evaluate("() => { window.stopped = false }")
    expect(root).not_to_have_attribute("data-frozen", f"UNAVAILABLE: {FAULT}")
    expect(page.locator(BAND)).to_be_visible()
    expect(page).not_to_have_title("UNAVAILABLE · Predict")
