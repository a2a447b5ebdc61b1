"""What a message says, and which signals are told of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.notify.message import PROVIDER, Condition, Wanted, favoured, signal_message, state_message
from app.notify.steadiness import LASTS_S, Steadiness
from app.signals.policy import Action
from tests.signals.test_policy import decision
from tests.support import new_york

LONG, SHORT, NEUTRAL = decision(0.6, 0.9), decision(0.4, 0.1), decision(0.5, 0.5)
ALL = Wanted(("SPY", "QQQ", "IWM"), ("LONG", "SHORT"), 0.0, states=True)


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (ALL, ["LONG", "SHORT"]),
        (replace(ALL, actions=("SHORT",)), ["SHORT"]),
        (replace(ALL, actions=("LONG", "SHORT", "NO_TRADE")), ["LONG", "SHORT", "NO_TRADE"]),
        (replace(ALL, tickers=("QQQ",)), []),
        (replace(ALL, min_probability=0.9), ["LONG", "SHORT"]),
        (replace(ALL, min_probability=0.91), []),
    ],
)
def test_which_signals_are_told_of(wanted: Wanted, told: list[Action]) -> None:
    messages = [signal_message(found, "polygon", "", "{}") for found in (LONG, SHORT, NEUTRAL)]
    assert [message.action for message in messages if wanted.takes(message)] == told


def test_states_are_told_of_the_wanted_tickers_and_of_the_key() -> None:
    at = new_york("2025-03-11 11:30")
    messages = [
        state_message(subject, Condition.STALE, at, "polygon", "", "{}") for subject in ("SPY", "QQQ", PROVIDER)
    ]
    wanted = replace(ALL, tickers=("QQQ",))
    assert [message.subject for message in messages if wanted.takes(message)] == ["QQQ", PROVIDER]
    assert not any(map(replace(wanted, states=False).takes, messages))


def test_the_probability_is_that_of_the_side_that_is_favoured() -> None:
    assert (favoured(LONG), favoured(SHORT)) == (0.9, 0.9)


def test_a_message_says_what_to_do_at_which_prices_and_until_when() -> None:
    said = signal_message(LONG, "polygon", "", "{}")
    assert said.id == "signal-polygon-SPY-2025-03-11T13"
    assert said.title == "SPY LONG 13:00 (90.0%)"
    assert LONG.reason in said.text
    assert f"take profit {LONG.take_profit:.2f}, stop loss {LONG.stop_loss:.2f}" in said.text
    assert said.text.endswith("Valid until 14:00 New York, 2025-03-11.")
    assert said.expires_at == LONG.expires_at


def test_a_message_of_a_market_that_is_not_the_live_one_says_so_first() -> None:
    said = signal_message(LONG, "demo", "DEMO: ", "{}")
    assert said.title.startswith("DEMO: ")
    assert said.text.startswith("DEMO: ")
    assert said.id != signal_message(LONG, "polygon", "", "{}").id


def test_a_signal_without_a_trade_names_no_levels() -> None:
    assert "take profit" not in signal_message(NEUTRAL, "polygon", "", "{}").text


def test_a_state_says_what_is_so_since_when() -> None:
    said = state_message("SPY", Condition.STALE, new_york("2025-03-11 11:30"), "polygon", "", "{}")
    assert said.text.startswith("The market data of SPY are stale")
    assert said.text.endswith("(11:30 New York, 2025-03-11)")
    assert said.id == "state-polygon-SPY-stale-2025-03-11T11:30"


def test_a_condition_that_comes_and_goes_is_not_told_of() -> None:
    steadiness, now = Steadiness(), 0.0
    for _ in range(20):
        assert not steadiness.observe("SPY", Condition.STALE, now)
        assert not steadiness.observe("SPY", Condition.RECOVERED, now + LASTS_S - 1)
        now += LASTS_S
    assert not steadiness.observe("SPY", Condition.STALE, now)
    assert not steadiness.observe("QQQ", Condition.STALE, now + LASTS_S - 1)
    assert steadiness.observe("SPY", Condition.STALE, now + LASTS_S)
    steadiness.forget()
    assert not steadiness.observe("SPY", Condition.STALE, now + LASTS_S)
