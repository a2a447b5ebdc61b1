"""Sentences of every version: what a market is marked with, why there is no signal, what a signal rests on. Free wording that
no client parses; every fact in it is handed in.

Many clients display nothing but these, so age, delay and what kind of market this is are said here (ruling V4).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime

from app.errors import NotEntitled, sentence
from app.market.calendar import NY, Session, TradingHours, ny_day
from app.market.inception import first_day_of, has_begun
from app.market.plan import Plan
from app.pipeline import TickerSignal
from app.places import COMMAND
from app.signals.lock import decision_hour
from app.signals.policy import Gate, SessionName
from app.structure import ENOUGH_MINUTES

SATURDAY = 5

IN_SAMPLE = "In-sample: the model was trained on this day."

GATES: Mapping[Gate, str] = {
    Gate.MARKET_CLOSED: "the market is closed",
    Gate.UNSUPPORTED_TICKER: "no supported ticker was asked for",
    Gate.MISSING_DAILY_BAR: "the daily bar of today is not there",
    Gate.MISSING_DAILY_OPEN: "the opening price of today is not known",
    Gate.INSUFFICIENT_DATA: "there are not enough bars for a signal yet",
    Gate.NO_MARKET_DATA: "there are no market data of this day",
    Gate.DATA_FETCH_ERROR: "the market data cannot be fetched now",
    Gate.RATE_LIMITED: "no more calls to the provider are allowed now",
    Gate.MODEL_UNAVAILABLE: "a model is missing",
}
"""What stands before a signal, for the text about the whole board; a ticker's own `reason` says more."""

REFERENCES: Mapping[SessionName, str] = {"early": "open", "late": "11:00 price"}
"""What the active probability compares the close with: target A before 11:00, target B from then on (policy.md 4)."""

NO_BARS = f"No bars have been imported yet: run {COMMAND} import FOLDER. "

NO_KEY = "No market-data key is set. "

NO_ANSWER = "The market-data provider has not answered any call since the start: /health says what to check. "


def mark(plan: Plan) -> str:
    """What every text begins with where the market is not the real one (ruling M1), where it has no bars, where there is no key
    for it (ruling A5), and where its provider has never answered."""
    lacks = ((plan.has_bars, NO_BARS), (plan.has_key, NO_KEY), (plan.is_answered, NO_ANSWER))
    label = "" if plan.market.label is None else f"{plan.market.label}: "
    return label + "".join(text for has, text in lacks if not has)


def dated(plan: Plan) -> str:
    """` ` and that the values shown are not of the running day, where the plan lacks that."""
    return "" if plan.ends_on is None else f" This data plan has no bars of today: values are of {_day(plan.ends_on)}."


def error(message: str, plan: Plan) -> str:
    """Why a ticker has no answer; without imported bars that alone is why."""
    return mark(plan).strip() if not plan.has_bars else mark(plan) + sentence(message)


def closed(hours: TradingHours, plan: Plan) -> str:
    """Why there is no signal while the market is closed: the regular hours (v1-contract.md 4.1), before them those of a day
    that is out of the ordinary, after them the next open."""
    coming = hours.upcoming
    opens = f"next open {_day(coming.day)} at {_clock(coming.open)}"
    early = f", that day closes early, at {_clock(coming.close)}" if coming.is_short and coming != hours.session else ""
    return f"{mark(plan)}{_why_closed(hours)}. Regular hours are 9:30 AM to 4:00 PM ET; {opens}{early}.{dated(plan)}"


def _why_closed(hours: TradingHours) -> str:
    session = hours.session
    if session is None and hours.at.astimezone(NY).weekday() < SATURDAY:
        return "Market closed all day" + (f" ({hours.holiday})" if hours.holiday else "")
    if session is None or not session.is_short:
        return "Market closed"
    when = f"{_clock(session.open).removesuffix(' ET')} to {_clock(session.close)}"
    return f"Market closed. Today's hours {'are' if hours.at < session.open else 'were'} {when}, an early close"


def too_few_minutes(known: int, hours: TradingHours, plan: Plan) -> str:
    """Why there is no analysis of the session: too few of its one-minute bars are known, none on a day without one."""
    bars = f"{known} one-minute bars of the day are known; {ENOUGH_MINUTES} are needed"
    if not plan.has_bars or hours.session is not None:
        return error(bars, plan)
    return f"{closed(hours, plan)} The analysis of the session needs {ENOUGH_MINUTES} of its one-minute bars."


def no_overview(hours: TradingHours, plan: Plan) -> str:
    """Why the overview of the day has nothing of a ticker while the market is closed."""
    return (
        f"{closed(hours, plan)} The overview rests on the hourly signals, the first of which comes at 10:00 AM ET, and without"
        " one on the 1-day swing probability, which there is not now."
    )


def was_closed(at: datetime, session: Session | None, holiday: str | None) -> str:
    """That the market was closed at a past moment, and why where that was not for its regular hours."""
    if session is None:
        return f"The market was closed on {_dated(ny_day(at))} ({holiday or f'{ny_day(at):%A}'})."
    early = f", after an early close at {_clock(session.close)}" if session.is_short and at >= session.close else ""
    return f"The market was closed at {_clock(at)}{early}."


def reason(signal: TickerSignal, hours: TradingHours, plan: Plan) -> str:
    """What the ticker's answer rests on, in one or a few sentences."""
    if signal.gate is Gate.MARKET_CLOSED:
        return closed(hours, plan)
    return mark(plan) + " ".join([_said(signal, plan), *_caveats(signal, hours, plan)])


def not_yet(label: str, at: datetime) -> str:
    """That the moment asked for (`HH:MM`) lies ahead, so that the answer is about now, `at` (v1-contract.md 4.3)."""
    return f"{label} has not come yet; this answer is as of now, {_clock(at)}."


def replay_reason(signal: TickerSignal, plan: Plan, why_closed: str, ahead: str = "") -> str:
    """What a replayed answer rests on. why_closed: the sentence of `was_closed`; ahead: that of `not_yet`, where the moment
    asked for lies ahead."""
    caveats = [*([ahead] if ahead else []), *_disagreement(signal)]
    if signal.gate is Gate.MARKET_CLOSED:
        return mark(plan) + " ".join([why_closed, *caveats])
    caveats += [IN_SAMPLE] if signal.decision is not None and signal.decision.in_sample else []
    if signal.quote.missing:
        caveats.append(f"The bars of this day are incomplete: {signal.quote.missing} of its session are missing.")
    return mark(plan) + " ".join([_said(signal, plan), *caveats])


def no_bars_yet(day: date, plan: Plan, *, extended: bool) -> str:
    """Why a trading day has no bars to show."""
    kind = "bar" if extended else "bar of the regular session"
    return error(f"no {kind} of {day} has ended yet, or none has come yet", plan)


def longer_bars_alone(ticker: str, day: date, plan: Plan) -> str:
    """Why a day has no one-minute bars to show, though it has others."""
    return error(f"there are no one-minute bars of {ticker} for {day}, but longer ones (span=5m)", plan)


def no_market_data(ticker: str, day: date, plan: Plan, trading_day: bool, holiday: str | None) -> str:
    """Why a replayed day holds nothing of a ticker. holiday: the name of a day without trading, if it has one."""
    said = f"There are no market data of {ticker} for {day}"
    if not has_begun(ticker, day):
        said += f": it began to trade on {first_day_of(ticker)}"
    elif not trading_day:
        said += f": that is no trading day ({holiday or f'{day:%A}'})"
    return error(said, plan)


def _said(signal: TickerSignal, plan: Plan) -> str:
    said = signal.detail if signal.decision is None else signal.decision.reason
    if isinstance(signal.cause, NotEntitled):
        since = signal.cause.since
        said = f"the data plan ({plan.name}) has no bars of this day"
        said += f": its history begins on {since}" if since is not None else ""
    return sentence(said)


def _caveats(signal: TickerSignal, hours: TradingHours, plan: Plan) -> list[str]:
    decision, said = signal.decision, []
    if decision is not None and hours.session is not None:
        due = decision_hour(hours.session, hours.at)
        if signal.waiting:
            said.append(f"The signal of {due}:00 is not ready; this is the one of {decision.hour}:00.")
        if decision.action != "NO_TRADE" and hours.at >= decision.time_limit:
            said.append(f"The time stop of {_clock(decision.time_limit)} has passed.")
        if decision.in_sample:
            said.append(IN_SAMPLE)
    said += _disagreement(signal)
    if plan.delay:
        said.append(f"This plan's data are {int(plan.delay.total_seconds() // 60)} minutes late.")
    if signal.quote.stale and signal.quote.as_of is not None:
        said.append(f"Prices are stale, from {_clock(signal.quote.as_of)}.")
    elif signal.quote.stale and signal.decision is not None:
        said.append("Prices cannot be had now.")
    return said


def _disagreement(signal: TickerSignal) -> list[str]:
    """That bars were corrected after the decision, or that another server made it from other ones (ruling L2)."""
    if signal.decision is None or signal.bars_agree is not False:
        return []
    hour = signal.decision.hour
    return [f"The bars known now give other numbers for {hour}:00; the signal stays as it was first shown."]


def _day(day: date) -> str:
    return f"{day:%A, %b} {day.day}"


def _dated(day: date) -> str:
    return f"{day:%b} {day.day}, {day.year}"


def _clock(at: datetime) -> str:
    return at.astimezone(NY).strftime("%I:%M %p ET").lstrip("0")
