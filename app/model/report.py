"""The evaluation report as text: one row per ticker, target and hour, baselines beside the model, then by quarter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from app.model.evaluation import Cell, Pooled
from app.model.verdicts import counts_text

HEAD = (
    "ticker target hour     n  ties  base |   acc  brier  logloss   ece   auc  cover   hit |"
    "  up acc  B0 logl |  B1 acc |  B2 acc  B2 brier  B2 logl |  B2v logl |  B3 logl |  B4 acc (base)  logl (B0) |"
    "  B2-model log-loss, 95 %        B2v-model log-loss, 95 %       verdict against B2"
)
POOLED_HEAD = (
    "target   days   rows  |   acc  brier  logloss   ece  cover   hit  stated |  B2 acc  B2 logl  B2 ece  hit at cover |"
    "  B2v logl |  B2-model log-loss, 95 %        verdict | B2v-model log-loss, 95 %"
)
NOTES = (
    "n is days. acc, brier, logloss: the model.",
    "B0 always up / base rate of the training days; B1 sign of P against the reference; B2 random walk;",
    "B2v random walk that is given the model's forecast of the variance: what the model gains over B2 but not over B2v is",
    "the better volatility, not a better direction;",
    "B3 logistic regression on three inputs; B4 the model's inputs on `close > price at H`, the only move a trade can earn.",
    "verdict: the 95 % interval of B2-model log-loss, by days, lies above 0 (better), below 0 (worse), or around it.",
    "cover, hit: share of days beyond 0.75 / 0.25, and how often the model was right on them.",
)


WALK_FORWARD = "out of sample: walk-forward, fitted anew before each block of days on the days before it"
SCORED = "the models as they are served, on days that they may have been fitted on"


def lines(cells: Sequence[Cell], how: str = WALK_FORWARD) -> Iterator[str]:
    """The table, one row per cell, with the count of its verdicts and its notes. how: on which days the figures rest."""
    yield how
    yield HEAD
    yield from (_row(cell) for cell in cells)
    yield ""
    yield f"against the random walk, of {len(cells)} cells: {counts_text(cell.verdict for cell in cells)}"
    yield from NOTES


def pooled_lines(pooled: Sequence[Pooled], anew: Sequence[Pooled]) -> Iterator[str]:
    """Each target over all tickers and hours, then whether stated and observed rates agree by thirds of the days."""
    yield "pooled over tickers and hours, days as clusters; active: A before 11:00, B from then on"
    yield POOLED_HEAD
    yield from (_pooled_row(one) for one in pooled)
    if anew:
        yield "the same with the choice of what the model reads made anew before each block:"
        yield from (_pooled_row(one) for one in anew)
    yield ""
    yield "signals beyond 0.75 / 0.25: how often they were right beside the mean probability that they stated"
    for one in pooled:
        parts = (
            f"{name} {part['hit_rate']:.3f} / {part['stated']:.3f} (n {part['n']}, s.e. {part['standard_error']:.3f})"
            for name, part in one.agreement["parts"].items()
        )
        yield f"{one.target:6} {', '.join(parts)}{_agreement_text(one.agreement)}"


def trading_lines(trading: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[str]:
    """What trades on the signals would have earned, at equal coverage."""
    yield "trades: entry at the decision price, exits of policy.md 8 on five-minute bars (the stop first), 1 basis point a side"
    yield "each rule takes as many trades in all as the model; take profits: of the trades that ended at a level, before costs"
    yield "rule   ticker     n   mean net %, 95 % by days           gained  time stops  take profits (break-even)"
    for rule, tickers in trading.items():
        for ticker, one in tickers.items():
            yield f"{rule:6} {ticker:6} {_trading_figures(one)}"


def _trading_figures(one: Mapping[str, Any]) -> str:
    if not one["n"]:
        return f"{0:>5}"
    even = "" if one["break_even"] is None else f" ({one['break_even']:.3f})"
    return (
        f"{one['n']:>5}   {one['mean_net_pct']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}]       {one['gained']:.3f}"
        f"       {one['time_stops']:.3f}         {one['take_profits']:.3f}{even}"
    )


def all_tried(evaluation: Mapping[str, Any]) -> dict[str, Sequence[Mapping[str, Any]]]:
    """The candidates of each part of the model, and the trees, which are not served."""
    trees = {f"{slot}, trees": tried for slot, tried in evaluation["tried_members"].items()}
    return {**evaluation["tried"], **trees}


def _agreement_text(agreement: Mapping[str, Any]) -> str:
    if agreement["agrees"] is None:
        return "too few days to say whether they agree"
    said = "no measurable disagreement" if agreement["agrees"] else "they measurably DISAGREE"
    return f": {said}, p = {agreement['p_value']:.2f}"


def tried_lines(tried: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """What the inner validation said of each candidate."""
    yield "candidates on the inner validation: loss beyond the first one's, and its standard error"
    for part, candidates in tried.items():
        for one in candidates:
            yield f"{part:14} {one['name']:20} {one['excess']:+.4f}  {one['standard_error']:.4f}"


def range_lines(ranges: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Iterator[str]:
    """How often the price stayed within the forecast range, out of sample."""
    yield "forecast range until the close, pooled over tickers: share below its high / above its low / within both, by hour"
    for level, hours in ranges.items():
        cells = (f"{hour}: {at['high']:.3f} / {at['low']:.3f} / {at['both']:.3f}" for hour, at in hours.items())
        yield f"level {level}  {', '.join(cells)}"


def tercile_lines(pooled: Sequence[Pooled]) -> Iterator[str]:
    """Per target and third of the days by sigma: rows, accuracy, and what the log-loss is below B2's and B2v's."""
    yield "by thirds of the days by sigma, pooled over tickers and hours: rows, accuracy, log-loss gained over B2 and over B2v"
    for one in pooled:
        for name, part in one.terciles.items():
            gains = (part[rule] - part["log_loss"] for rule in ("b2_log_loss", "b2v_log_loss"))
            gained = " ".join(f"{gain:+.4f}" for gain in gains)
            yield f"{one.target:6} {name:9} {part['n']:>6.0f}  {part['accuracy']:.3f}  {gained}"


def quarter_lines(cells: Sequence[Cell]) -> Iterator[str]:
    """Per cell and quarter: n, accuracy, and log-loss against B2's (negative: the model was better)."""
    names = sorted({name for cell in cells for name in cell.quarters})
    for column, title in (("accuracy", "accuracy by quarter"), ("gap", "log-loss minus B2's by quarter")):
        yield title
        yield f"ticker target hour {' '.join(f'{name:>7}' for name in names)}"
        for cell in cells:
            values = (_quarter_value(cell, name, column) for name in names)
            yield f"{cell.ticker:6} {cell.target:^6} {cell.hour:>4} {' '.join(f'{value:>7}' for value in values)}"
        yield ""


def _quarter_value(cell: Cell, name: str, column: str) -> str:
    scores = cell.quarters.get(name)
    if scores is None:
        return "-"
    return f"{scores['accuracy']:.3f}" if column == "accuracy" else f"{scores['log_loss'] - scores['b2_log_loss']:+.3f}"


def _row(c: Cell) -> str:
    auc = "    -" if c.auc is None else f"{c.auc:.3f}"
    hit = "    -" if c.covered_hit_rate is None else f"{c.covered_hit_rate:.3f}"
    return (
        f"{c.ticker:6} {c.target:^6} {c.hour:>4} {c.n:>5} {c.ties:>5} {c.base_rate:.3f} |"
        f" {c.accuracy:.3f} {c.brier:.4f}   {c.log_loss:.4f} {c.ece:.3f} {auc}  {c.covered:.3f} {hit} |"
        f"   {c.up_accuracy:.3f}   {c.b0_log_loss:.4f} |   {c.b1_accuracy:.3f} |"
        f"   {c.b2_accuracy:.3f}    {c.b2_brier:.4f}   {c.b2_log_loss:.4f} |    {c.b2v_log_loss:.4f} |   {c.b3_log_loss:.4f} |"
        f"  {c.b4_accuracy:.3f} ({c.b4_base_rate:.3f}) {c.b4_log_loss:.4f} ({c.b4_b0_log_loss:.4f}) |"
        f"  {c.skill:+.4f} [{c.skill_low:+.4f}, {c.skill_high:+.4f}]"
        f"  {c.beyond_v:+.4f} [{c.beyond_v_low:+.4f}, {c.beyond_v_high:+.4f}]  {c.verdict}"
    )


def _pooled_row(c: Pooled) -> str:
    hit, stated, at_cover = (
        "    -" if rate is None else f"{rate:.3f}"
        for rate in (c.covered_hit_rate, c.covered_stated, c.b2_covered_hit_rate)
    )
    return (
        f"{c.target:6} {c.days:>6} {c.n:>6}  | {c.accuracy:.3f} {c.brier:.4f}   {c.log_loss:.4f} {c.ece:.3f}  {c.covered:.3f}"
        f" {hit}   {stated} |   {c.b2_accuracy:.3f}   {c.b2_log_loss:.4f}   {c.b2_ece:.3f}         {at_cover} |"
        f"    {c.b2v_log_loss:.4f} |  {c.skill:+.4f} [{c.skill_low:+.4f}, {c.skill_high:+.4f}]  {c.verdict} |"
        f"  {c.beyond_v:+.4f} [{c.beyond_v_low:+.4f}, {c.beyond_v_high:+.4f}]"
    )
