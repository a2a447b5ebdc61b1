"""Which tickers the texts call tradable: those with a side, and no others, whatever the others lack."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from app.market.bars import Span
from app.market.calendar import midnight_ms
from app.market.plan import Market, Plan
from app.pipeline import Board, DataPart, Quote, RpePart, State, TickerSignal, V6Part
from app.signals.policy import SUPPORTED, Gate
from app.structure import Intraday, analyse, view_at
from app.structure.terms import Bias, ExecutionMode
from blueprints.services import EXTENSION
from blueprints.v1 import shapes, texts
from tests.support import CALENDAR, demo_feed, new_york

AT = new_york("2025-03-11 11:30")
PLAN = Plan(Market.POLYGON, Span.MINUTE)
SIDES = ("LONG", "SHORT", "NEUTRAL", "denied", "unknown")
COMBINATIONS = list(itertools.product(SIDES, repeat=3))
Body = dict[str, Any]


@pytest.fixture(scope="module")
def intraday() -> Intraday:
    day = midnight_ms(AT.date())
    minutes = demo_feed().bars("SPY", Span.MINUTE, day, day + 86_400_000)
    daily = demo_feed().bars("SPY", Span.DAY, 0, day)
    view = view_at(minutes, daily, CALENDAR.session_at(AT), AT, official_open=float(minutes.o[0]))
    return analyse("SPY", view)


def state_of(ticker: str, side: str, found: Intraday) -> State:
    """A ticker that both engines permit on `side`, deny, or could not analyse."""
    allowed, bias = side != "denied", Bias(side) if side in tuple(Bias) else Bias.NEUTRAL
    mode = ExecutionMode.SCALP if allowed else ExecutionMode.NO_TRADE
    phase4 = replace(found.northstar.phase4, allowed=allowed, bias=bias, execution_mode=mode)
    posture = found.rpe.phase4_execution_posture
    posture = replace(posture, allowed=allowed, bias=replace(posture.bias, bias=bias))
    chosen = replace(
        found,
        northstar=replace(found.northstar, phase4=phase4),
        rpe=replace(found.rpe, phase4_execution_posture=posture),
    )
    signal, v6 = TickerSignal(ticker, "late", Quote()), V6Part(ticker, intraday=None if side == "unknown" else chosen)
    return State(DataPart(ticker), RpePart(ticker), v6, signal)


@pytest.mark.parametrize("engine", ["northstar", "rpe"])
def test_permitted_are_the_tickers_with_a_side(engine: str, intraday: Intraday) -> None:
    for sides in COMBINATIONS:
        found = {t: state_of(t, side, intraday) for t, side in zip(SUPPORTED, sides, strict=True)}
        body = getattr(shapes, engine)(found, CALENDAR.hours_at(AT), PLAN)
        text = body["summary"]["recommendation"]
        permitted = re.match(r"Permitted: ([^.]*)[.]", text)
        named = permitted[1].split(", ") if permitted else []
        assert named == [f"{t} {s}" for t, s in zip(SUPPORTED, sides, strict=True) if s in ("LONG", "SHORT")], text
        assert "NEUTRAL" not in text
        assert (not named) == text.startswith("No ticker is permitted to trade"), text
        for ticker, side in zip(SUPPORTED, sides, strict=True):
            assert (ticker in text) == (side in ("LONG", "SHORT", "NEUTRAL")), text
        assert ("none could be analysed" in text) == (set(sides) == {"unknown"}), text


@pytest.mark.parametrize(
    ("sides", "said"),
    [
        (("LONG", "denied", "SHORT"), "Permitted: SPY LONG, IWM SHORT."),
        (("LONG", "NEUTRAL", "NEUTRAL"), "Permitted: SPY LONG. No trade without a direction: QQQ, IWM."),
        (
            ("denied", "NEUTRAL", "denied"),
            "No ticker is permitted to trade: QQQ would be, but without a direction.",
        ),
        (("denied", "denied", "unknown"), "No ticker is permitted to trade."),
        (("unknown", "unknown", "unknown"), "No ticker is permitted to trade: none could be analysed."),
    ],
)
def test_the_sentence_of_each_case(sides: tuple[str, ...], said: str, intraday: Intraday) -> None:
    found = {t: state_of(t, side, intraday) for t, side in zip(SUPPORTED, sides, strict=True)}
    assert shapes.northstar(found, CALENDAR.hours_at(AT), PLAN)["summary"]["recommendation"] == said


def board_of(app: Flask) -> Board:
    board: Board = app.extensions[EXTENSION].pipeline.board(SUPPORTED, AT)
    assert all(signal.decision is not None for signal in board.tickers.values())
    return board


PROBABILITIES = {"LONG": 0.9, "SHORT": 0.1, "NO_TRADE": 0.6}


def test_the_banner_names_those_that_trade_and_says_why_others_have_no_signal(serve: Callable[..., Flask]) -> None:
    """Every combination of actions, and of tickers without a signal."""
    real = board_of(serve())
    for actions in itertools.product((*PROBABILITIES, "gated"), repeat=3):
        signals: dict[str, TickerSignal] = {}
        for ticker, action in zip(SUPPORTED, actions, strict=True):
            signal = real.tickers[ticker]
            assert signal.decision is not None
            if action == "gated":
                signals[ticker] = replace(signal, decision=None, gate=Gate.DATA_FETCH_ERROR)
            else:
                chosen: Any = {"action": action, "p_b": PROBABILITIES[action]}
                signals[ticker] = replace(signal, decision=replace(signal.decision, **chosen))
        acting = [s.decision for s in signals.values() if s.decision is not None and s.decision.action != "NO_TRADE"]
        board = replace(real, tickers=signals)
        text = texts.recommendation(board, PLAN)
        for ticker, action in zip(SUPPORTED, actions, strict=True):
            assert (f"{ticker} {action} (" in text) == (action in ("LONG", "SHORT")), (actions, text)
        assert text.startswith("No trade") == (not acting), (actions, text)
        assert ("the market data cannot be fetched now" in text) == ("gated" in actions), (actions, text)
        assert "NO_TRADE" not in text
        assert "NEUTRAL" not in text
