"""v1's sentences: reasons, rules, recommendations. Free wording that no client parses; every fact in it is handed in.

v1 clients display nothing but `reason`, so age, delay and what kind of market this is are said there (ruling V4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache

from app.errors import NotEntitled
from app.market.calendar import NY, Session, TradingHours, ny_day
from app.market.inception import first_day_of, has_begun
from app.market.plan import Plan
from app.model.artefact import ModelSet
from app.model.verdicts import counts_text, verdict_of_record
from app.pipeline import Board, TickerSignal
from app.signals.daily_signal import NOISE_DIGITS
from app.signals.lock import decision_hour
from app.signals.policy import BUCKETS, EDGE, EXIT_DISTANCES, LONG_ABOVE, SHORT_BELOW, Decision, Gate, SessionName
from app.structure import ENOUGH_MINUTES
from app.structure.terms import Bias
from blueprints.errors import sentence
from blueprints.index import market_in_words

MARKS = {"demo": "DEMO: ", "recorded": "RECORDED: ", "polygon": ""}
PEAK_HOURS = (13, 14)
SATURDAY = 5
NEUTRAL = Bias.NEUTRAL.value
IN_SAMPLE = "In-sample: the model was trained on this day."
CONFLICT = "Session and days point opposite ways: take a smaller position or wait until they agree."
NORTHSTAR_PHASES = {
    "phase1": "What the session is doing: direction, acceptance, range, participation, levels",
    "phase2": "How healthy that reading is",
    "phase3": "How many signals it leaves room for",
    "phase4": "Whether trading on it is permitted, and on which side",
}
RPE_PHASES = {
    "phase1_truth": "What the bars say, measured",
    "phase2_signal_health": "How far the measurement can be trusted",
    "phase3_signal_density": "How many signals it leaves room for",
    "phase4_execution_posture": "Which posture it permits, and what would end it",
    "phase5_learning_forecasting": "What may come next; the only phase that reads the model",
}


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

NO_BARS = "No bars have been imported yet: run .venv/bin/predict import FOLDER. "
NO_KEY = "No market-data key is set. "
NO_ANSWER = "The market-data provider has not answered any call since the start: /health says what to check. "


def mark(plan: Plan) -> str:
    """What every text begins with where the market is not the real one (ruling M1), where it has no bars, where there is no key
    for it (ruling A5), and where its provider has never answered."""
    lacks = ((plan.has_bars, NO_BARS), (plan.has_key, NO_KEY), (plan.is_answered, NO_ANSWER))
    return MARKS[plan.source] + "".join(text for has, text in lacks if not has)


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
    return f"{closed(hours, plan)} The overview rests on the hourly signals, the first of which comes at 10:00 AM ET."


def was_closed(at: datetime, session: Session | None, holiday: str | None) -> str:
    """That the market was closed at a past moment, and why where that was not for its regular hours."""
    if session is None:
        return f"The market was closed on {_dated(ny_day(at))} ({holiday or f'{ny_day(at):%A}'})."
    early = f", after an early close at {_clock(session.close)}" if session.is_short and at >= session.close else ""
    return f"The market was closed at {_clock(at)}{early}."


def reason(signal: TickerSignal, board: Board, plan: Plan) -> str:
    """What the ticker's answer rests on, in one or a few sentences."""
    if signal.gate is Gate.MARKET_CLOSED:
        return closed(board.hours, plan)
    return mark(plan) + " ".join([_said(signal, plan), *_caveats(signal, board, plan)])


def not_yet(label: str, at: datetime) -> str:
    """That the moment asked for (`HH:MM`) lies ahead, so that the answer is about now, `at` (v1-contract.md 4.3)."""
    return f"{label} has not come yet; this answer is as of now, {_clock(at)}."


def replay_reason(signal: TickerSignal, plan: Plan, why_closed: str, ahead: str = "") -> str:
    """What a replayed answer rests on. why_closed: the sentence of `was_closed`; ahead: that of `not_yet`, where the moment
    asked for lies ahead."""
    caveats = [ahead] if ahead else []
    if signal.gate is Gate.MARKET_CLOSED:
        return mark(plan) + " ".join([why_closed, *caveats])
    caveats += [IN_SAMPLE] if signal.decision is not None and signal.decision.in_sample else []
    if signal.market.missing:
        caveats.append(f"The bars of this day are incomplete: {signal.market.missing} of its session are missing.")
    return mark(plan) + " ".join([_said(signal, plan), *caveats])


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


def _caveats(signal: TickerSignal, board: Board, plan: Plan) -> list[str]:
    decision, said = signal.decision, []
    if decision is not None and board.hours.session is not None:
        due = decision_hour(board.hours.session, board.at)
        if signal.waiting:
            said.append(f"The signal of {due}:00 is not ready; this is the one of {decision.hour}:00.")
        if decision.action != "NO_TRADE" and board.at >= decision.time_limit:
            said.append(f"The time stop of {_clock(decision.time_limit)} has passed.")
        if decision.in_sample:
            said.append(IN_SAMPLE)
    if plan.delay:
        said.append(f"This plan's data are {int(plan.delay.total_seconds() // 60)} minutes late.")
    if signal.market.stale and signal.market.as_of is not None:
        said.append(f"Prices are stale, from {_clock(signal.market.as_of)}.")
    elif signal.market.stale and signal.decision is not None:
        said.append("Prices cannot be had now.")
    return said


def recommendation(board: Board, plan: Plan) -> str:
    """The board in one text (policy.md 9)."""
    if not board.market_open:
        return closed(board.hours, plan)
    decisions = [s.decision for s in board.tickers.values() if s.decision is not None]
    if decisions:
        return mark(plan) + _board_text(decisions, board.best) + _undecided(board)
    gates = {s.gate for s in board.tickers.values() if s.gate is not None}
    words = "; ".join(text for gate, text in GATES.items() if gate in gates)
    return f"{mark(plan)}No trade: {words or 'no ticker was asked for'}."


def _board_text(decisions: Sequence[Decision], chosen: Decision | None) -> str:
    if chosen is None:
        return f"No trade: all neutral ({_neutral_chances(decisions)})."
    acting = ", ".join(f"{d.ticker} {d.action} ({_chance(d)})" for d in decisions if d.action != "NO_TRADE")
    return f"{acting}. Best: {chosen.ticker}."


def _undecided(board: Board) -> str:
    """Which tickers have no signal beside those that have one, and why."""
    by_gate: dict[Gate, list[str]] = {}
    for ticker, signal in board.tickers.items():
        if signal.gate is not None and signal.gate is not Gate.UNSUPPORTED_TICKER:
            by_gate.setdefault(signal.gate, []).append(ticker)
    return "".join(f" No signal for {', '.join(tickers)}: {GATES[gate]}." for gate, tickers in by_gate.items())


def _neutral_chances(decisions: Sequence[Decision]) -> str:
    """`SPY: 41%, QQQ: 55% to close above the 11:00 price`, by target where the tickers' hours differ."""
    targets = {d.session: [x for x in decisions if x.session == d.session] for d in decisions}
    lists = {name: ", ".join(f"{d.ticker}: {_percent(d)}" for d in group) for name, group in targets.items()}
    return "; ".join(f"{chances} to close above the {REFERENCES[name]}" for name, chances in lists.items())


def replay_recommendation(
    decisions: Sequence[Decision], chosen: Decision | None, plan: Plan, why_closed: str, ahead: str = ""
) -> str:
    """A replayed board in one text. why_closed, ahead: as for `replay_reason`; both empty where they do not apply."""
    text = _board_text(decisions, chosen) if decisions else "No trade: there was no signal."
    return mark(plan) + " ".join([why_closed or text, *([ahead] if ahead else [])])


def allowed(found: Sequence[Mapping[str, object]], plan: Plan, *, analysed: bool, is_open: bool) -> str:
    """Which tickers a structure engine permits to trade, in one text: those with a side, while the market is open. analysed:
    whether it has analysed any ticker at all."""
    if not is_open:
        return mark(plan) + "No ticker is permitted to trade: the market is closed."
    sided = [f"{entry['ticker']} {entry['bias']}" for entry in found if entry["bias"] != NEUTRAL]
    undirected = ", ".join(str(entry["ticker"]) for entry in found if entry["bias"] == NEUTRAL)
    if sided:
        said = [
            f"Permitted: {', '.join(sided)}.",
            *([f"No trade without a direction: {undirected}."] if undirected else []),
        ]
    elif undirected:
        said = [f"No ticker is permitted to trade: {undirected} would be, but without a direction."]
    else:
        said = ["No ticker is permitted to trade" + ("." if analysed else ": none could be analysed.")]
    return mark(plan) + " ".join(said)


def alignment_summary(alignments: Mapping[str, str | None], plan: Plan) -> dict[str, object]:
    """Where session and days agree. A ticker's alignment is None where one of the two is not known."""
    agreeing = [ticker for ticker, alignment in alignments.items() if alignment in ("bullish", "bearish")]
    text = ", ".join(f"{ticker} {alignments[ticker]}" for ticker in agreeing)
    if agreeing:
        said = f"Session and days agree: {text}."
    elif any(alignments.values()):
        said = "Session and days agree on no ticker."
    else:
        said = "Session and days cannot be compared: of no ticker both are known."
    return {"aligned_tickers": agreeing, "recommendation": mark(plan) + said + dated(plan)}


def fear(regime: str, plan: Plan) -> str:
    """What a day's move of the volatility ETF says, in words."""
    said = {
        "HIGH": "Fear jumped by a tenth or more in a day.",
        "ELEVATED": "Fear is rising.",
        "NORMAL": "Nothing unusual.",
        "LOW": "Fear is ebbing.",
    }[regime]
    return said + dated(plan)


def message(board: Board, plan: Plan) -> str:
    """One sentence on what is being looked at."""
    state = "open" if board.market_open else "closed"
    return (
        f"Signals for {market_in_words(plan)}; the market is {state}. Each holds from the hour it was made to the next."
    )


def trading_rules() -> dict[str, object]:
    """The policy's rules in words, written from its own numbers (policy.md 8)."""
    long, short = f"{LONG_ABOVE:.0%}", f"{SHORT_BELOW:.0%}"
    return {
        "entry": [
            f"LONG only when the active probability is above {long}.",
            f"SHORT only when the active probability is below {short}.",
            f"No trade from {short} to {long}, both included.",
            "The size grows when targets A and B point the same way and shrinks when they do not.",
        ],
        "sizing": {name: f"{size:g} x base size, {_bucket_edge(edge)}" for edge, name, size in BUCKETS},
        "exit": {
            "stop_loss": "; ".join(f"{t} {level.stop_loss:.2%}" for t, level in EXIT_DISTANCES.items())
            + " against the position",
            "take_profit": "; ".join(f"{t} {level.take_profit:.2%}" for t, level in EXIT_DISTANCES.items())
            + " in its favour",
            "time_stop": "3:50 PM ET; on early closes ten minutes before the close, mostly 12:50 PM ET",
        },
    }


def _bucket_edge(edge: float) -> str:
    """Strict at the edge of the neutral zone, inclusive elsewhere (policy.md 5)."""
    if edge == LONG_ABOVE:
        return f"above {edge:.0%} or below {1 - edge:.0%}"
    return f"{edge:.0%} and above, or {1 - edge:.0%} and below"


@lru_cache(maxsize=4)
def accuracy_lines(model_set: ModelSet) -> Mapping[str, str]:
    """What the loaded models' own evaluation supports, each figure beside the sign rule's (spec decision 7)."""
    if not model_set.models:
        return dict.fromkeys(("late_target_a", "late_target_b", "peak_hours"), "No model is loaded.")
    return {
        "late_target_a": _line(model_set, "late_a"),
        "late_target_b": _line(model_set, "late_b"),
        "peak_hours": _peak_line(model_set),
    }


def _line(model_set: ModelSet, name: str) -> str:
    figures = [
        f"{t} {getattr(m.accuracy, name):.1%} (sign rule {m.accuracy.baselines[f'sign_{name}']:.1%})"
        for t, m in model_set.models.items()
    ]
    return f"Out of sample, mean of 11:00-15:00: {', '.join(figures)}. {_claim(model_set)}"


def _claim(model_set: ModelSet) -> str:
    """The claim rule of v6.md 7, counted over the loaded models' cells."""
    cells = [cell for model in model_set.models.values() for cell in model.metadata["evaluation"]["cells"]]
    return f"Against a random walk, of {len(cells)} cells: {counts_text(map(verdict_of_record, cells))}."


def _peak_line(model_set: ModelSet) -> str:
    figures = []
    for ticker, model in model_set.models.items():
        cells = [c for c in model.metadata["evaluation"]["cells"] if c["target"] == "B" and c["hour"] in PEAK_HOURS]
        own, naive = _mean([c["accuracy"] for c in cells]), _mean([c["b1_accuracy"] for c in cells])
        figures.append(f"{ticker} {own:.1%} (sign rule {naive:.1%})")
    return f"Target B at 13:00 and 14:00, out of sample: {', '.join(figures)}."


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _chance(decision: Decision) -> str:
    """The active probability in whole per cent, to the side that promises less (policy.md 9): cut for a LONG, rounded up for a
    SHORT, with what it is the probability of."""
    percent = _per_cent(decision)
    up = math.ceil(percent)
    shown = f"{'under ' if up > percent else ''}{up}%" if decision.action == "SHORT" else f"{math.floor(percent)}%"
    return f"{shown} to close above its {REFERENCES[decision.session]}"


def _percent(decision: Decision) -> str:
    return f"{math.floor(_per_cent(decision))}%"


def _per_cent(decision: Decision) -> float:
    """The active probability x 100, without the noise of binary fractions and never a certainty."""
    return round(min(max(decision.p_active, EDGE), 1 - EDGE) * 100, NOISE_DIGITS)


def _day(day: date) -> str:
    return f"{day:%A, %b} {day.day}"


def _dated(day: date) -> str:
    return f"{day:%b} {day.day}, {day.year}"


def _clock(at: datetime) -> str:
    return at.astimezone(NY).strftime("%I:%M %p ET").lstrip("0")
