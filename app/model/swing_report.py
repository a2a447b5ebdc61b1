"""The evaluation of the swing models as text: per horizon what would have been served beside its base rate, and what lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.model.swing import VERDICTS
from app.model.verdicts import counts_text, verdict_of_record

HEAD = "days     n    up |    acc   brier logloss   ece |  base logl |  base-model log-loss, 95 %         verdict"
LOST = "days  what was compared                    acc logloss |  base-its log-loss, 95 %"
NOTES = (
    "out of sample, walk-forward by calendar year, all tickers pooled, a day is one observation, blocks of 21 days resampled.",
    "what would have been served: the base rate of the training days, unless the test years before had shown the model that",
    "inner validation chooses to be measurably better. Always up is right on the share `up` of the days.",
)


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The tables of a report by horizon, and what it says in all."""
    report = dict(sorted(report.items(), key=lambda item: int(item[0])))
    yield "swing models"
    yield HEAD
    yield from (_row(days, record) for days, record in report.items())
    yield ""
    yield LOST
    for days, record in report.items():
        yield from (_compared(days, name, found) for name, found in record["baselines"].items())
    yield ""
    counts = counts_text(verdict_of_record(record) for record in report.values())
    yield f"against the base rate, of {len(report)} horizons: {counts}"
    yield from NOTES


def _row(days: str, r: Mapping[str, Any]) -> str:
    interval = f"{r['skill']:+.4f} [{r['skill_low']:+.4f}, {r['skill_high']:+.4f}]"
    return (
        f"{days:>4} {r['n_days']:>5} {r['up_accuracy']:.3f} | {r['accuracy']:>6.3f}  {r['brier']:.4f}  {r['log_loss']:.4f}"
        f" {r['ece']:.3f} |     {r['base_log_loss']:.4f} |  {interval}  {VERDICTS[verdict_of_record(r)]}"
    )


def _compared(days: str, name: str, found: Mapping[str, Any]) -> str:
    interval = f"{found['gain']:+.4f} [{found['gain_low']:+.4f}, {found['gain_high']:+.4f}]"
    return f"{days:>4}  {name:<34} {found['accuracy']:.3f}  {found['log_loss']:.4f} |  {interval}"
