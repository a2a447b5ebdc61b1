"""The live promise as text: for all models and for each one what their signals stated beside what came true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import date

from app.model.scoring import LEAST_DAYS
from app.pipeline.live_promise import ScorableRecord
from app.signals.evidence import RUN_LENGTH_DAYS, STANDS_DAYS, THRESHOLD, Alarm, Evidence, Side, evidence
from app.signals.promise import Bin, Interval, Loss, Score, Statement, Target, Traded, score

HEAD = "  stated         n  days  mean stated  came true  95 %"
NOTES = (
    "n: probabilities that locked signals stated, of target A at every decision hour and of target B from 11:00 on; came true:",
    "how often the day closed so. Intervals are 95 %, by a bootstrap over days, which are the clusters.",
    "expected: the loss of the stated probabilities if they are right. The record agrees with them where the interval of the",
    "difference holds 0.",
    "evidence: a sequential test by days, which may be looked at every day. All tickers together raise one false alarm in",
    f"{RUN_LENGTH_DAYS} days on average, at most. An alarm stands for {STANDS_DAYS} days after the last one, or until another",
    "model speaks.",
)
SIDES: Mapping[Side, str] = {
    Side.TOO_SURE: "its probabilities are too sure, as less came true than they state",
    Side.NOT_SURE_ENOUGH: "its probabilities are not sure enough, as more came true than they state",
}
TARGETS: Mapping[Target, str] = {"A": "target A, close above the open", "B": "target B, close above the 11:00 price"}


def lines(records: Mapping[str, ScorableRecord]) -> Iterator[str]:
    """The report on the records of these tickers."""
    statements = [statement for record in records.values() for statement in record.statements]
    yield from _counts(list(records.values()), statements)
    if statements:
        yield from ("", "all models", *_scored(statements, by_target=True))
        for model_id, ticker in dict.fromkeys((row.model_id, row.ticker) for row in statements):
            own = [row for row in statements if (row.model_id, row.ticker) == (model_id, ticker)]
            yield from ("", f"{model_id}, {ticker}", *_scored(own), _evidence(evidence(own)))
        yield ""
        yield from NOTES


def _counts(records: Sequence[ScorableRecord], statements: Sequence[Statement]) -> Iterator[str]:
    """What is scored, and what is left out."""
    days = [statement.day for statement in statements]
    yield f"signals with a known outcome: {sum(record.signals for record in records):,}{_span(days)}"
    unknown = sum((Counter(record.unknown) for record in records), Counter[str]())
    reasons = "; ".join(f"{count:,} x {reason}" for reason, count in unknown.most_common())
    yield f"left out: {sum(record.in_sample for record in records):,} in-sample (their model was trained on their day)"
    yield f"left out: {unknown.total():,} without a known outcome" + (f": {reasons}" if reasons else "")
    yield f"gaps: {sum(record.gaps or 0 for record in records):,} decision hours without a signal, since the first one"


def _span(days: Sequence[date]) -> str:
    return f", of {len(set(days)):,} days from {min(days)} to {max(days)}" if days else ""


def _scored(statements: Sequence[Statement], *, by_target: bool = False) -> Iterator[str]:
    """The figures of statements, or why there are none."""
    scored = score(statements)
    if scored is None:
        days = len({statement.day for statement in statements})
        yield f"  {days} days with a known outcome: too few for any figure, which takes {LEAST_DAYS}"
        return
    yield from (HEAD, *(_bin(row) for row in scored.bins))
    yield from _losses(scored)
    for target in TARGETS if by_target else ():
        yield from _of_target(target, [statement for statement in statements if statement.target == target])
    yield f"  beyond 0.75 / 0.25: {_traded(scored.traded)}"


def _of_target(target: Target, statements: Sequence[Statement]) -> Iterator[str]:
    scored = score(statements)
    if scored is None:
        yield f"  {TARGETS[target]}: too few days for any figure"
    else:
        yield f"  {TARGETS[target]}: {scored.statements:,} stated probabilities of {scored.days:,} days"
        yield from (f"  {line}" for line in _losses(scored))


def _bin(row: Bin) -> str:
    edges = f"  {row.low:.1f} to {row.high:.1f}"
    if row.stated is None or row.observed is None:
        return f"{edges}     none: no signal stated such a probability"
    return f"{edges} {row.statements:>7,} {row.days:>5,}  {row.stated:>11.3f}  {row.observed:>9.3f}  {_interval(row.interval)}"


def _losses(scored: Score) -> Iterator[str]:
    yield _loss("log-loss", scored.log_loss)
    yield _loss("Brier", scored.brier)


def _loss(name: str, loss: Loss) -> str:
    difference = loss.observed - loss.expected
    return (
        f"  {name:8} {loss.observed:.4f}, expected {loss.expected:.4f};"
        f" difference {difference:+.4f} {_interval(loss.difference, '+.4f')}"
    )


def _traded(traded: Traded | None) -> str:
    if traded is None:
        return f"too few days with such a signal for any figure, which takes {LEAST_DAYS}"
    return (
        f"{traded.signals:,} signals of {traded.days:,} days stated {traded.stated:.3f} for their side on average,"
        f" and {traded.right:.3f} {_interval(traded.interval)} of them were right"
    )


def _interval(interval: Interval | None, form: str = ".3f") -> str:
    return "[-]" if interval is None else f"[{interval.low:{form}}, {interval.high:{form}}]"


def _evidence(found: Evidence) -> str:
    level = f"  evidence against it: {found.level:.1f} after {found.days:,} days; {THRESHOLD:,.0f} raises an alarm."
    earlier = [alarm for alarm in found.alarms if found.contradicts is None or alarm.day < found.contradicts.day]
    past = f" Alarms before: {', '.join(str(alarm.day) for alarm in earlier)}." if earlier else ""
    return f"{level} {_verdict(found.contradicts)}{past}"


def _verdict(alarm: Alarm | None) -> str:
    if alarm is None:
        return "The record does not contradict what the model states."
    return f"The record contradicts what the model states since {alarm.day}: {SIDES[alarm.side]}."
