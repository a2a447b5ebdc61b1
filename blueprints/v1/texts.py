"""v1's own sentences: rules, recommendations, summaries. Free wording that no client parses; every fact in it is handed in."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

from app.market.plan import Plan
from app.model.artefact import ModelSet
from app.model.verdicts import Verdict, counts_text, verdict_beyond_variance, verdict_of_record
from app.pipeline import Board, Permission, Ranking
from app.signals.daily_signal import NOISE_DIGITS
from app.signals.policy import BUCKETS, EDGE, EXIT_DISTANCES, LONG_ABOVE, SHORT_BELOW, Decision, Gate
from blueprints.index import market_in_words
from blueprints.shared.sentences import GATES, REFERENCES, closed, dated, mark

PEAK_HOURS = (13, 14)

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


def recommendation(board: Board, plan: Plan) -> str:
    """The board in one text (policy.md 9)."""
    if not board.market_open:
        return closed(board.hours, plan)
    if board.ranking.decisions:
        return mark(plan) + _board_text(board.ranking) + _undecided(board)
    gates = {s.gate for s in board.tickers.values() if s.gate is not None}
    words = "; ".join(text for gate, text in GATES.items() if gate in gates)
    return f"{mark(plan)}No trade: {words or 'no ticker was asked for'}."


def _board_text(ranking: Ranking) -> str:
    decisions, chosen = ranking.decisions, ranking.best
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


def replay_recommendation(ranking: Ranking, plan: Plan, why_closed: str, ahead: str = "") -> str:
    """A replayed board in one text. why_closed, ahead: as for `replay_reason`; both empty where they do not apply."""
    text = _board_text(ranking) if ranking.decisions else "No trade: there was no signal."
    return mark(plan) + " ".join([why_closed or text, *([ahead] if ahead else [])])


def permitted(found: Sequence[Permission], plan: Plan, *, analysed: bool, is_open: bool) -> str:
    """Which tickers a structure engine permits to trade, in one text: those with a side, while the market is open. analysed:
    whether it has analysed any ticker at all."""
    if not is_open:
        return mark(plan) + "No ticker is permitted to trade: the market is closed."
    sided = [f"{permission.ticker} {permission.bias}" for permission in found if permission.has_side]
    undirected = ", ".join(permission.ticker for permission in found if not permission.has_side)
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
    beyond = Counter(map(verdict_beyond_variance, cells))
    return (
        f"Against a random walk, of {len(cells)} cells: {counts_text(map(verdict_of_record, cells))}. "
        f"One that is given the model's forecast of the volatility loses to it in {beyond[Verdict.BETTER]} of them "
        f"and beats it in {beyond[Verdict.WORSE]}."
    )


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
