"""Whatever valid bars come: JSON that every client can read, without NaN or infinity, every word from its set."""

from __future__ import annotations

import json
from datetime import timedelta

from hypothesis import given
from hypothesis import settings as hypothesis_settings

from app.errors import BrokenData
from app.market.bars import Span
from app.market.plan import Market, Plan
from app.pipeline import DataPart, Quote, RpePart, State, TickerSignal, V6Part
from app.structure import ENOUGH_DAYS, Probabilities, analyse, analyse_swing, view_at
from blueprints.v1 import shapes
from blueprints.v1.parameters import ReplayMoment
from tests.blueprints.test_structure_routes import check_crash_list, check_enums
from tests.structure.test_properties import SESSION, markets
from tests.structure.test_properties import Market as Drawn
from tests.support import CALENDAR

PLAN = Plan(Market.POLYGON, Span.MINUTE)


def state_of(drawn: Drawn) -> State:
    minutes, daily, at, official = drawn
    view = view_at(minutes, daily, SESSION, at, official_open=official)
    v6 = Probabilities(0.7, 0.4, early=False)
    price = float(view.minutes.c[-1]) if len(view.minutes) else None
    swing = analyse_swing("SPY", view) if len(view.days) >= ENOUGH_DAYS else None
    intraday = analyse("SPY", view, v6=v6) if view.resolved else None
    counted = {"minutes": len(view.minutes), "days": len(view.days)}
    return State(
        data=DataPart("SPY", price=price, today_open=official, **counted),
        rpe=RpePart("SPY", swing=swing),
        v6=V6Part("SPY", intraday=intraday),
        signal=TickerSignal("SPY", "late", Quote(price=price)),
    )


@hypothesis_settings(max_examples=120)
@given(markets())
def test_any_valid_bars_give_readable_json(drawn: Drawn) -> None:
    at = drawn[2]
    try:
        found = {"SPY": state_of(drawn)}
    except BrokenData:
        return
    hours = CALENDAR.hours_at(at)
    moment = ReplayMoment(at, "11:00", hours.session)
    for body in (
        shapes.mtf(found, {}, hours, PLAN),
        shapes.northstar(found, hours, PLAN),
        shapes.rpe(found, hours, PLAN),
        shapes.swing(found, {}, hours, PLAN),
        shapes.replay(found, moment, PLAN),
    ):
        assert json.loads(json.dumps(body, allow_nan=False)) == body
        check_enums(body)
        entry = body["tickers"]["SPY"]
        if "intraday" in entry:
            check_crash_list(entry)


@hypothesis_settings(max_examples=60)
@given(markets())
def test_bars_after_the_moment_change_no_byte(drawn: Drawn) -> None:
    minutes, daily, at, official = drawn
    earlier = at - timedelta(minutes=30)
    try:
        whole = state_of((minutes, daily, earlier, official))
        cut = state_of((minutes.until(earlier), daily.until(earlier), earlier, official))
    except BrokenData:
        return
    hours = CALENDAR.hours_at(earlier)
    one, other = (json.dumps(shapes.rpe({"SPY": x}, hours, PLAN)) for x in (whole, cut))
    assert one == other
