"""What the page says of its connection and of what it shows: one word everywhere, never colour for what is not of now, gaps
that are mended, a tab that slept, decisions that are announced once, connections that are refused, and keys."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from tests.browser.watching import Tab, tab
from tests.serving.test_gunicorn import Server
from tests.waiting import wait_for

OpenTab = Callable[..., Tab]
BAND = "[data-word]"
ANNOUNCED = "[data-announcer]"


def band(page: Page, word: str) -> None:
    """Wait until the page says this word."""
    expect(page.locator(BAND)).to_have_attribute("data-word", word)


def noted_words(page: Page) -> None:
    """From now on, note each word of the band in `window.words`."""
    page.evaluate(
        """() => {
          const band = document.querySelector("[data-word]")
          window.words = [band.dataset.word]
          new MutationObserver(() => window.words.push(band.dataset.word))
            .observe(band, { attributes: true, attributeFilter: ["data-word"] })
        }"""
    )


def until(page: Page, expression: str) -> None:
    """Wait until an expression is true. Playwright's own wait evaluates text in the page, which the policy refuses."""
    wait_for(lambda: page.evaluate(expression), expression)


def trusted(page: Page) -> None:
    """Wait until what the page shows of SPY has its colour."""
    expect(page.locator('.card[data-ticker="SPY"]')).to_have_attribute("data-trusted", "true")


class Relay:
    """Stands between the page and the server's WebSocket: it can drop messages and add some."""

    def __init__(self, page: Page) -> None:
        self.sent: list[str] = []
        self.came: list[str] = []
        self.dropping: Callable[[str], bool] = lambda message: False
        self._page = page
        self._route: WebSocketRoute | None = None
        page.route_web_socket(re.compile("/socket.io/"), self._join)

    def _join(self, route: WebSocketRoute) -> None:
        server = route.connect_to_server()
        self._route = route

        def forward(message: str | bytes) -> None:
            self.sent.append(str(message))
            server.send(message)

        route.on_message(forward)
        server.on_message(lambda message: self._pass(str(message)))

    def _pass(self, message: str) -> None:
        assert self._route is not None
        if self.dropping(message):
            return
        self.came.append(message)
        self._route.send(message)

    def add(self, name: str, event: dict[str, Any]) -> None:
        assert self._route is not None
        self._route.send("42" + json.dumps([name, event, None]))

    @staticmethod
    def is_about(name: str, ticker: str, message: str) -> bool:
        return message.startswith(f'42["{name}"') and Relay.read(message)["ticker"] == ticker

    @staticmethod
    def read(message: str) -> dict[str, Any]:
        """The event of a message."""
        event: dict[str, Any] = json.loads(message[2:])[1]
        return event

    def last(self, name: str, ticker: str) -> dict[str, Any]:
        """The last event of this name about a ticker, once there is one: a page that has no connection yet shows answers."""
        came = lambda: [message for message in self.came if self.is_about(name, ticker, message)]  # noqa: E731
        wait_for(lambda: self._page.evaluate("true") and came(), f"no {name} of {ticker} comes")
        return self.read(came()[-1])


def test_title_icon_and_band_say_the_same_and_a_demo_is_marked_across_the_page(open_tab: OpenTab) -> None:
    page = open_tab().open()
    expect(page.locator(BAND)).to_have_attribute("data-word", re.compile("^(DEMO|CLOSED)$"))
    word = page.locator(BAND).get_attribute("data-word")
    assert word is not None
    expect(page).to_have_title(f"{word} · Predict")
    icon = {"DEMO": "demo-ring", "CLOSED": "closed-square"}[word]
    expect(page.locator('link[rel="icon"]')).to_have_attribute("href", re.compile(icon))
    expect(page.get_by_text("DEMO every price on this page is invented")).to_be_visible()
    page.goto(page.url.rstrip("/") + "/dashboard/SPY?date=2024-06-12&time=14:00")
    band(page, "REPLAY")
    expect(page).to_have_title("REPLAY · Predict")
    expect(page.get_by_text("REPLAY of DEMO: a past moment, prices are invented")).to_be_visible()


@pytest.mark.soak
def test_the_clock_is_that_of_the_market_whatever_the_viewers_clock_says(open_tab: OpenTab) -> None:
    one = open_tab()
    one.page.add_init_script("const now = Date.now; Date.now = () => now() + 40 * 86_400_000")
    page = one.open()
    at = page.locator("[data-clock] dd").first
    expect(at).to_contain_text(re.compile(r"^\s*(09|1[0-6]):\d\d:\d\d"))
    first = at.inner_text()
    expect(at).not_to_have_text(first)


def test_an_event_that_is_missing_is_seen_and_mended(open_tab: OpenTab) -> None:
    one = open_tab()
    relay = Relay(one.page)
    page = one.open()
    trusted(page)
    noted_words(page)
    dropped: list[str] = []
    sent_before: list[int] = []

    def drop_one(message: str) -> bool:
        is_first = not dropped and relay.is_about("price", "SPY", message)
        if is_first:
            dropped.append(message)
            sent_before.append(len(relay.sent))
        return is_first

    def asked() -> list[Any]:
        behind = relay.sent[sent_before[0] :] if sent_before else []
        return [json.loads(message[message.index("[") :])[1] for message in behind if '"subscribe",' in message]

    relay.dropping = drop_one
    wait_for(lambda: page.evaluate("true") and asked(), "the page does not ask for what is missing")
    until(page, "window.words.includes('CATCHING UP')")
    until(page, "window.words.at(-1) !== 'CATCHING UP'")
    assert asked()[0]["ticker"] == "SPY"
    missing = json.loads(dropped[0][2:])[1]
    assert asked()[0]["after"] == f"{missing['epoch']}-{missing['seq'] - 1}"
    came = [json.loads(message[2:])[1]["seq"] for message in relay.came if relay.is_about("price", "SPY", message)]
    assert missing["seq"] in came


def test_a_tab_that_slept_asks_again_before_it_shows_colour(open_tab: OpenTab) -> None:
    one = open_tab()
    page = one.open()
    trusted(page)
    noted_words(page)
    with page.expect_request("**/v2/trading-directions"):
        page.evaluate("() => { const now = Date.now; Date.now = () => now() + 60_000 }")
    until(page, "window.words.includes('CATCHING UP')")
    until(page, "window.words.at(-1) !== 'CATCHING UP'")
    trusted(page)


@pytest.mark.soak
def test_a_new_decision_is_announced_once_and_none_at_load(open_tab: OpenTab) -> None:
    one = open_tab(permissions=["notifications"])
    page = one.page
    page.add_init_script(
        """window.shown = []
        window.Notification = Object.assign(function (title) { window.shown.push(title) },
          { permission: "granted", requestPermission: async () => "granted" })
        localStorage.setItem("alerts", JSON.stringify({ notify: true, sound: true, tradesOnly: true }))"""
    )
    relay = Relay(page)
    one.open()
    trusted(page)
    expect(page.locator(ANNOUNCED)).to_be_empty()
    relay.dropping = lambda message: '"SPY"' in message
    prices = [json.loads(message[2:])[1]["seq"] for message in relay.came if relay.is_about("price", "SPY", message)]
    newest = relay.last("snapshot", "SPY")
    times = {"generated_at": "2030-01-02T15:00:00-05:00", "as_of": "2030-01-02T15:00:00-05:00"}
    lock = {"state": "locked", "locked_at": times["as_of"], "expires_at": "2030-01-02T16:00:00-05:00", "recorded": True}
    decided = {
        "session_date": "2030-01-02",
        "decision_hour": 15,
        "action": "BUY_CALL",
        "probability": 0.81,
        "lock": lock,
    }
    event = newest | times | {"kind": "signal", "freshness": "live", "signal": newest["signal"] | times | decided}
    for seq in (max([newest["seq"], *prices]) + step for step in (1, 2)):
        relay.add("signal", event | {"seq": seq, "id": f"{newest['epoch']}-{seq}"})
    expect(page.locator(ANNOUNCED)).to_contain_text("SPY: BUY CALL. Decided for 15:00 New York")
    expect(page.locator(f"{ANNOUNCED} p")).to_have_count(1)
    assert page.evaluate("window.shown") == ["DEMO. SPY: BUY CALL"]
    relay.dropping = lambda message: False
    one.open()
    trusted(page)
    expect(page.locator(ANNOUNCED)).to_be_empty()


@pytest.mark.soak
def test_the_test_button_says_what_it_sent(open_tab: OpenTab) -> None:
    page = open_tab().open()
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_text("Nothing is switched on.")).to_be_visible()
    page.get_by_label("Sound").check()
    page.get_by_role("button", name="Test").click()
    expect(page.get_by_text("Sent a sound.")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Sound")).to_be_checked()


@pytest.mark.soak
def test_operators_see_connection_plan_budget_breaker_and_follower(open_tab: OpenTab) -> None:
    page = open_tab().open("/dashboard/system")
    expect(page.locator('[data-connection="open"]')).to_be_visible()
    for title in ("Plan in detail", "Budget", "Breaker", "Follower"):
        expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
    row = page.get_by_role("row", name=re.compile("^SPY"))
    expect(row).to_contain_text("none")
    noted_words(page)
    page.get_by_role("button", name="Try again now").click()
    until(page, "window.words.includes('DISCONNECTED')")
    until(page, "!['DISCONNECTED', 'CATCHING UP'].includes(window.words.at(-1))")


@pytest.mark.soak
def test_a_server_without_a_key_for_market_data_says_so(browser: Browser, guarded: tuple[Server, str]) -> None:
    with tab(browser, guarded[0].base) as one:
        page = one.open()
        band(page, "NO DATA KEY")
        expect(page.locator(BAND)).to_have_attribute("data-trusted", "false")
        expect(page.locator(BAND)).to_contain_text("The server has no key for market data")


@pytest.mark.soak
def test_a_connection_that_is_refused_is_replaced_by_requests(browser: Browser, guarded: tuple[Server, str]) -> None:
    with tab(browser, guarded[0].base) as first, tab(browser, guarded[0].base) as second:
        band(first.open(), "NO DATA KEY")
        page = second.open("/dashboard/system")
        expect(page.locator('[data-connection="refused"]')).to_be_visible()
        expect(page.get_by_text("TOO_MANY_CONNECTIONS")).to_be_visible()
        band(page, "NO DATA KEY")
        first.page.close()
        page.get_by_role("button", name="Try again now").click()
        expect(page.locator('[data-connection="open"]')).to_be_visible()


@pytest.mark.soak
def test_a_wrong_key_is_asked_for_again_and_the_right_one_stays_in_the_tab(
    browser: Browser, guarded: tuple[Server, str]
) -> None:
    server, secret = guarded
    with tab(browser, server.base) as one:
        page = one.page
        seen: list[str] = []
        page.on("request", lambda request: seen.append(request.url))
        page.on("websocket", lambda socket: seen.append(socket.url))
        page.add_init_script("sessionStorage.getItem('api-key') ?? sessionStorage.setItem('api-key', 'predict_wrong')")
        one.open()
        band(page, "KEY NEEDED")
        expect(page.get_by_text("The server does not know this key")).to_be_visible()
        page.get_by_label("Key", exact=True).fill(secret)
        page.keyboard.press("Enter")
        band(page, "NO DATA KEY")
        page.get_by_role("link", name="System").click()
        expect(page.get_by_text("This page sends a key.")).to_be_visible()
        expect(page.get_by_text(re.compile("It may make [\\d,]+ requests"))).to_be_visible()
        assert page.evaluate("sessionStorage.getItem('api-key')") == secret
        assert secret not in page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")
        assert [url for url in seen if secret in url] == []
