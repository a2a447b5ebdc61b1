"""The cards, the strip of the day, the track record and the model page, in a browser against a real server."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import requests
from playwright.sync_api import Page, Route, expect

from tests.browser.watching import PHONE, Tab
from tests.waiting import PATIENCE_S

OpenTab = Callable[..., Tab]
Json = dict[str, Any]
DAY, AT = "2024-06-12", "2024-06-12T14:35:00-04:00"
PAST = f"/dashboard/SPY?date={DAY}&time=14:35"
MINUS = "\N{MINUS SIGN}"
TICKERS = ("SPY", "QQQ", "IWM")
ACTIONS = {"BUY_CALL": "BUY CALL", "BUY_PUT": "BUY PUT", "NO_TRADE": "NO TRADE"}
HIT_RATE = {
    "target": "B",
    "decision_hour": 14,
    "hit_rate": 0.769,
    "baseline_hit_rate": 0.782,
    "always_up_hit_rate": 0.554,
    "days": 746,
    "span": "2022-01-01..2024-12-31",
    "verdict": "no measurable difference",
}
TRADE = {
    "source": "polygon",
    "action": "BUY_CALL",
    "direction": "LONG",
    "strength": "moderate",
    "active_target": "B",
    "probability": 0.812,
    "hit_rates": [HIT_RATE],
    "prices": {"at_decision": 400.0, "now": 401.0, "session_open": 398.0, "at_11": 399.0, "change_percent": 0.75},
    "levels": {
        "entry_type": "LIMIT",
        "entry_price": 398.0,
        "take_profit": 402.0,
        "stop_loss": 398.68,
        "time_stop": "2024-06-12T15:50:00-04:00",
        "entry_beyond_stop": True,
    },
    "ranges": [
        {"level": 0.5, "low": 399.0, "high": 401.5, "coverage": 0.158, "days": 2238, "span": HIT_RATE["span"]},
        {"level": 0.8, "low": 397.5, "high": 403.25, "coverage": 0.655, "days": 2238, "span": HIT_RATE["span"]},
    ],
}


def get(tab: Tab, path: str) -> Json:
    answer = requests.get(tab.base + path, timeout=PATIENCE_S)
    answer.raise_for_status()
    found: Json = answer.json()
    return found


def card(page: Page, ticker: str) -> Any:
    return page.locator(f".card[data-ticker={ticker}]")


def answer_with(page: Page, pattern: str, changed: Callable[[Json], Json]) -> None:
    """Let requests for `pattern` (a glob of addresses) have the server's answer, changed."""

    def fulfil(route: Route) -> None:
        body = route.fetch()
        route.fulfill(response=body, body=json.dumps(changed(body.json())))

    page.route(pattern, fulfil)


def test_the_cards_show_what_the_api_says_of_the_moment(open_tab: OpenTab) -> None:
    tab = open_tab()
    signals = [get(tab, f"/v2/replay/{ticker}?at={AT}") for ticker in TICKERS]
    page = tab.open(PAST)
    for signal in signals:
        ticker = signal["ticker"]
        shown = card(page, ticker)
        expect(shown.locator(".action")).to_contain_text(ACTIONS[signal["action"]])
        expect(shown).to_contain_text(f"${signal['prices']['now']:,.2f}")
        expect(shown).to_contain_text(f"{signal['probability']:.1%}")
        expect(shown).to_contain_text("No hit rate: the evaluation is about real days")
        expect(shown).to_contain_text("on bars up to 14:00, locked until 15:00")
        expect(shown).to_contain_text("25 min 00 s were left")
        most = signal["ranges"][1]
        expect(shown.locator(".range")).to_contain_text(f"between ${most['low']:,.2f} and ${most['high']:,.2f}")


def test_a_trade_stands_with_its_levels_and_what_its_probability_is_worth(open_tab: OpenTab) -> None:
    tab = open_tab()
    answer_with(tab.page, "**/v2/replay/SPY?at=*", lambda signal: {**signal, **TRADE})
    shown = card(tab.open(PAST), "SPY")
    expect(shown.locator(".action")).to_contain_text("BUY CALL")
    expect(shown).to_contain_text("81.2%: the model's probability that the day closes above its 11:00 price, $399.00")
    expect(shown).to_contain_text("It is about the day's close, not about a trade from here, $400.00 at the decision.")
    expect(shown).to_contain_text("746 days")
    expect(shown).to_contain_text("the random walk was right on 78.2%")
    qualified = shown.locator(".worth")
    expect(qualified).to_have_text("Right on 76.9% of days at this hour: no measurable difference")
    size = "one => getComputedStyle(one).fontSize"
    assert qualified.evaluate(size) == shown.locator(".probability").evaluate(size)
    expect(shown.locator(".range")).to_contain_text("between $397.50 and $403.25; such ranges held on 66 of 100 days")
    rows = shown.get_by_role("row")
    expect(rows.filter(has_text="Entry (LIMIT)")).to_contain_text(f"{MINUS}$3.00 ({MINUS}0.75%)")
    expect(rows.filter(has_text="Stop")).to_contain_text(f"{MINUS}$2.32 ({MINUS}0.58%)")
    expect(rows.filter(has_text="Target")).to_contain_text("+$1.00 (+0.25%)")
    expect(shown).to_contain_text("The entry lies beyond the stop")


def test_no_trade_says_the_first_condition_that_failed(open_tab: OpenTab) -> None:
    tab = open_tab()
    gates = [
        {"gate": "market_open", "passed": True, "code": None, "reason": None},
        {"gate": "market_data", "passed": False, "code": "DATA_FETCH_ERROR", "reason": "Bars of 13:05 are missing."},
        {"gate": "model", "passed": None, "code": None, "reason": None},
    ]
    nothing = {"action": "NO_TRADE", "decision_hour": None, "probability": None, "levels": None, "gates": gates}
    answer_with(tab.page, "**/v2/replay/SPY?at=*", lambda signal: {**signal, **nothing, "lock": NO_LOCK})
    shown = card(tab.open(PAST), "SPY")
    expect(shown.locator(".why")).to_have_text("Bars of 13:05 are missing.")
    expect(shown).to_contain_text("There is no decision of this hour.")
    expect(shown).to_contain_text("No probability without a decision.")


@pytest.mark.soak
def test_a_signal_is_copied_by_keyboard_and_the_page_says_so(open_tab: OpenTab) -> None:
    tab = open_tab(PHONE, permissions=["clipboard-read", "clipboard-write"])
    page = tab.open(PAST)
    expect(card(page, "SPY")).to_contain_text("locked until 15:00")
    for name, said in (("Copy SPY as JSON", "JSON copied."), ("Copy SPY as curl", "The curl command copied.")):
        page.get_by_role("button", name=name).focus()
        page.keyboard.press("Enter")
        expect(card(page, "SPY").get_by_role("status")).to_have_text(said)
    assert page.evaluate("navigator.clipboard.readText()") == f'curl "{tab.base}/v2/replay/SPY?at={AT}"'


@pytest.mark.soak
def test_the_day_shows_no_decision_and_no_outcome_that_was_not_known_yet(open_tab: OpenTab) -> None:
    page = open_tab().open(f"/dashboard/SPY?date={DAY}&time=12:30")
    states = {10: "decided", 11: "decided", 12: "decided", 13: "later", 14: "later", 15: "later"}
    for hour, state in states.items():
        expect(page.locator(f"[data-cell='SPY {hour}']")).to_have_attribute("data-state", state)
    expect(page.get_by_role("row").filter(has_text="12:00")).to_have_attribute("aria-current", "time")


@pytest.mark.soak
def test_an_early_close_has_fewer_decisions(open_tab: OpenTab) -> None:
    page = open_tab().open("/dashboard/SPY?date=2024-11-29&time=12:30")
    tab_text = page.get_by_role("region", name="Decisions of the day")
    expect(tab_text).to_contain_text("An early close: the day has 3 decisions.")
    expect(tab_text.get_by_role("rowheader")).to_have_count(3)


@pytest.mark.soak
def test_a_signal_of_the_record_is_verified_by_replay(open_tab: OpenTab) -> None:
    tab = open_tab()
    signal = get(tab, f"/v2/replay/SPY?at={AT}")
    tab.page.route("**/v2/signals/SPY?*", lambda route: route.fulfill(json=record_of(signal)))
    page = tab.open("/dashboard/SPY/record")
    row = page.get_by_role("row").filter(has_text="12 Jun 2024, 14:00")
    expect(row).to_contain_text("right")
    expect(row).to_contain_text("0.81")
    row.get_by_role("button", name="Verify").press("Enter")
    expect(row.get_by_role("status")).to_contain_text("Equal")
    expect(page.get_by_role("row").filter(has_text="The record begins.")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="No signal of 10:00, 11:00")).to_be_visible()
    tab.page.route("**/v2/replay/SPY?at=*", lambda route: route.fulfill(json={**signal, "probability": 0.123}))
    row.get_by_role("button", name="Verify").press("Enter")
    expect(row.get_by_role("status")).to_contain_text(f"Different: probability {signal['probability']} became 0.123")
    assert tab.axe() == []


def test_the_model_page_claims_no_more_than_the_evaluation(open_tab: OpenTab) -> None:
    tab = open_tab()
    page = tab.open("/dashboard/SPY/model")
    cells = get(tab, "/v2/models/SPY")["evaluation"]
    better = [cell for cell in cells if cell["verdict"] == "measurably better than the random walk"]
    words = "is measurably better" if len(better) == 1 else "are measurably better"
    expect(page.get_by_text(f"Of {len(cells)} cells {len(better)} {words}")).to_be_visible()
    expect(page.get_by_text("What the model gains over the plain random walk and not over this one")).to_be_visible()
    rows = page.get_by_role("row")
    expect(rows).to_have_count(len(cells) + 1)
    for cell in cells:
        row = rows.filter(has=page.get_by_role("rowheader", name=f"{cell['target']}, {cell['decision_hour']}:00"))
        expect(row).to_contain_text(f"{cell['hit_rate']:.1%}")
        expect(row).to_contain_text(cell["verdict"])


def test_the_model_page_says_in_a_sentence_what_the_record_says_of_the_model(open_tab: OpenTab) -> None:
    tab = open_tab()
    page = tab.open("/dashboard/SPY/model")
    expect(
        page.get_by_text("Nothing can be said yet of its live record. DEMO: This is the demo market")
    ).to_be_visible()
    traded = {"signals": 690, "days": 115, "stated": 0.8, "right": 0.626, "right_low": 0.539, "right_high": 0.704}
    record = {"days": 120, "last_day": "2026-08-13", "signals": 720, "signals_without_outcome": 0, "traded": traded}
    contradicted = {"contradicted_since": "2026-06-09", "contradiction": "too_sure"}
    shown = get(tab, "/v2/models/SPY") | {"record": record | contradicted, "record_reason": None}
    page.route("**/v2/models/SPY", lambda route: route.fulfill(json=shown))
    page.reload()
    expect(
        page.get_by_text("Its live record contradicts its probabilities since Tue 9 Jun 2026: they are too sure")
    ).to_be_visible()
    assert tab.axe() == []


NO_LOCK = {"state": "none", "locked_at": None, "expires_at": None, "recorded": None}
OUTCOME = {
    "session_close": 440.0,
    "target_reached": True,
    "right": True,
    "change_percent": 0.81,
    "return_percent": None,
    "exit": None,
    "exit_reason": None,
}


def record_of(signal: Mapping[str, Any]) -> Json:
    """A page of the track record with one signal, as it would stand there, and a gap behind its day."""
    same = ("decision_hour", "action", "direction", "strength", "active_target", "size", "levels", "reason", "versions")
    probabilities = ("probability", "probability_a", "probability_b")
    prices = {name: signal["prices"][name] for name in ("at_decision", "session_open", "at_11")}
    model = {name: signal["model"][name] for name in ("model_id", "in_sample")}
    lock = {name: signal["lock"][name] for name in ("locked_at", "expires_at")}
    recorded = {name: signal[name] for name in (*same, *probabilities)} | lock
    inputs = {"inputs_sha256": signal["lock"]["inputs_sha256"]}
    counts = {"signals": 1, "trades": 0, "right": 1, "wrong": 0, "without_outcome": 0}
    return {
        "next": None,
        "ticker": "SPY",
        "generated_at": AT,
        "source": "demo",
        "first_day": "2024-05-14",
        "last_day": "2024-06-13",
        "record_begins": DAY,
        "home_region": None,
        "is_home_record": True,
        "signals": [
            recorded
            | {"day": DAY, "prices": prices, "model": model, "outcome": OUTCOME, "outcome_reason": None}
            | inputs
        ],
        "gaps": [{"day": "2024-06-13", "decision_hours": [10, 11]}],
        "out_of_sample": counts,
        "in_sample": {**counts, "signals": 0, "right": 0},
    }
