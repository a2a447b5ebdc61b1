"""Alignment of chosen biases, through the real shapes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from app.market.bars import Span
from app.market.calendar import midnight_ms
from app.market.plan import Market, Plan
from app.pipeline import DataPart, Quote, RpePart, State, TickerSignal, V6Part
from app.structure import analyse, analyse_swing, view_at
from app.structure.terms import Bias
from blueprints.v1 import shapes
from tests.support import CALENDAR, demo_feed, new_york

AT = new_york("2025-03-11 11:30")


def alignment(intraday: str, swing: str) -> dict[str, Any]:
    """The `/mtf` entry of a ticker whose session and days have these biases."""
    day = midnight_ms(AT.date())
    minutes = demo_feed().bars("SPY", Span.MINUTE, day, day + 86_400_000)
    daily = demo_feed().bars("SPY", Span.DAY, 0, day)
    view = view_at(minutes, daily, CALENDAR.session_at(AT), AT, official_open=float(minutes.o[0]))
    found, days = analyse("SPY", view), analyse_swing("SPY", view)
    found = replace(
        found, northstar=replace(found.northstar, phase4=replace(found.northstar.phase4, bias=Bias(intraday)))
    )
    days = replace(days, phase4=replace(days.phase4, bias=Bias(swing)))
    signal = TickerSignal("SPY", "late", Quote())
    state = State(DataPart("SPY"), RpePart("SPY", swing=days), V6Part("SPY", intraday=found), signal)
    entry: dict[str, Any] = shapes.mtf({"SPY": state}, {}, CALENDAR.hours_at(AT), Plan(Market.POLYGON, Span.MINUTE))[
        "tickers"
    ]["SPY"]
    return entry
