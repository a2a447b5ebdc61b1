"""The report of the loaded models as one page with pictures: `predict evaluate --page FILE`. matplotlib draws them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from itertools import accumulate
from pathlib import Path
from typing import Any

import click

from app.model import report, swing_report
from app.model.artefact import ModelSet
from app.model.evaluation import Pooled, cell_of, pooled_of
from app.model.verdicts import counts_text, verdict_beyond_variance, verdict_of_record

Evaluations = Mapping[str, Mapping[str, Any]]
"""By ticker what its artefact carries."""

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem }
body { color: #1a1a1a; background: #fff }
pre { overflow-x: auto; font-size: .75rem; line-height: 1.35; background: #f5f5f5; padding: 1rem }
svg { max-width: 100%; height: auto }
figure { margin: 1.5rem 0 }
figcaption { color: #444 }
"""
HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>What the model is worth</title>
<style>{style}</style></head><body><main>
"""
BLUE, GREY = "#1b6ca8", "#999999"


def write_page(path: Path, stored: ModelSet) -> None:
    """Writes the page. Raises ClickException where no model is loaded, or matplotlib is missing."""
    if not stored.models:
        raise click.ClickException("; ".join(f"{name}: {why}" for name, why in stored.missing.items()))
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError:
        raise click.ClickException("matplotlib draws the page; to install it: make setup") from None
    plt.switch_backend("svg")
    plt.rcParams.update({"svg.hashsalt": "predict", "svg.fonttype": "none"})
    evaluations = {ticker: model.metadata["evaluation"] for ticker, model in stored.models.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    swing = None if stored.swing is None else stored.swing.metadata["evaluation"]["horizons"]
    path.write_text(page_of(evaluations, swing, stored.set_id), encoding="utf-8")
    click.echo(f"{path}: the report of {stored.set_id}")


def page_of(evaluations: Evaluations, swing: Mapping[str, Any] | None, set_id: str) -> str:
    """The page as HTML. swing: the report of the swing models by horizon, if there are any."""
    first = next(iter(evaluations.values()))
    parts = [HEAD.format(style=STYLE), *_opening(evaluations, set_id)]
    parts += _span_part(evaluations, f"Out of sample, {first['span']}")
    parts += [*_tried_part(first), _figure("Importance of what the model reads", _importance, first["importance"])]
    parts.append(_figure("Population stability index of what the model read, by block", _drift, first["drift"]))
    if "later" in first:
        later = {ticker: own["later"] for ticker, own in evaluations.items()}
        parts += _span_part(later, f"Looked at once, after all choices had been made: {first['later']['span']}")
    if swing is not None:
        parts += ["<h2>Swing models</h2>", _text(swing_report.lines(swing))]
    return "\n".join([*parts, "</main></body></html>", ""])


def _opening(evaluations: Evaluations, set_id: str) -> Iterable[str]:
    cells = [cell for own in evaluations.values() for cell in own["cells"]]
    yield "<h1>What the model is worth</h1>"
    yield f"<p>The report of model set <code>{escape(set_id)}</code>, as <code>make evaluate</code> makes it.</p>"
    yield f"<p>Of {len(cells)} cells (ticker x target x hour), judged against the random walk:"
    yield f"{counts_text(map(verdict_of_record, cells))}."
    yield "Against the random walk that is given the model's forecast of the volatility:"
    yield f"{counts_text(map(verdict_beyond_variance, cells))}. Figures that are pooled over tickers and hours say so.</p>"


def _span_part(evaluations: Evaluations, title: str) -> list[str]:
    """Tables and pictures of one span of days."""
    first = next(iter(evaluations.values()))
    pooled = [pooled_of(record) for record in first["pooled"]]
    anew = [pooled_of(record) for record in first.get("pooled_choosing_anew", ())]
    cells = [cell_of(record) for own in evaluations.values() for record in own["cells"]]
    return [
        f"<h2>{escape(title)}</h2>",
        _text(report.pooled_lines(pooled, anew)),
        _text(report.tercile_lines(pooled)),
        _figure("Reliability, pooled: stated probability and share that came true, by bins", _reliability, pooled),
        _figure("Log-loss gained, pooled, added up over the months", _gains, first["months"]),
        _figure("Calibration by hour, pooled over tickers", _by_hour, first["calibration_by_hour"]),
        f"<h3>Every cell</h3>{_text(report.lines(cells))}",
        f"<h3>What trades would have earned</h3>{_text(report.trading_lines(first['trading']))}",
        f"<h3>Forecast range until the close</h3>{_text(report.range_lines(first['ranges']))}",
        f"<h3>By quarter</h3>{_text(report.quarter_lines(cells))}",
    ]


def _tried_part(first: Mapping[str, Any]) -> list[str]:
    return ["<h2>What was tried</h2>", _text(report.tried_lines(report.all_tried(first)))]


def _text(lines: Iterable[str]) -> str:
    return f'<pre tabindex="0">{escape(chr(10).join(lines).strip())}</pre>'


def _figure(caption: str, draw: Callable[[Any], Any], data: Any) -> str:
    """A picture with its caption; `draw(data)` gives the figure of matplotlib."""
    import matplotlib.pyplot as plt

    figure, buffer = draw(data), io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
    svg = buffer.getvalue()
    picture = svg[svg.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{escape(caption)}" ', 1)
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


def _axes(columns: int, width: float = 4.0) -> tuple[Any, Sequence[Any]]:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, columns, figsize=(width * columns, 3.6), squeeze=False, layout="constrained")
    return figure, list(axes[0])


def _reliability(pooled: Sequence[Pooled]) -> Any:
    figure, axes = _axes(len(pooled))
    for axis, one in zip(axes, pooled, strict=True):
        axis.plot([0, 1], [0, 1], color=GREY, linewidth=1)
        stated, came = ([point[name] for point in one.reliability] for name in ("stated", "came"))
        axis.scatter(stated, came, s=[max(8, point["n"] / 20) for point in one.reliability], color=BLUE)
        axis.set(
            title=f"{one.target}, ECE {one.ece:.3f}", xlabel="stated", ylabel="came true", xlim=(0, 1), ylim=(0, 1)
        )
    return figure


def _gains(months: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Any:
    figure, axes = _axes(len(months))
    for axis, (target, gains) in zip(axes, months.items(), strict=True):
        names = sorted(gains)
        for name, label, line in (("over_b2", "random walk", "-"), ("over_b2v", "with the same volatility", "--")):
            added_up = list(accumulate(gains[month][name] for month in names))
            axis.plot(range(len(names)), added_up, line, label=label)
        step = max(1, len(names) // 4)
        axis.set_xticks(range(0, len(names), step), names[::step], fontsize=7)
        axis.axhline(0, color=GREY, linewidth=1)
        axis.set(title=target, ylabel="nats over")
        axis.legend(fontsize=7)
    return figure


def _by_hour(hours: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Any:
    figure, axes = _axes(len(hours))
    for axis, (target, found) in zip(axes, hours.items(), strict=True):
        for name, mark in (("stated", "o-"), ("came", "s--")):
            axis.plot([int(hour) for hour in found], [at[name] for at in found.values()], mark, label=name)
        axis.set(title=target, xlabel="decision hour", ylabel="mean")
        axis.legend(fontsize=8)
    return figure


def _importance(importance: Mapping[str, float]) -> Any:
    figure, axes = _axes(1, 7.0)
    names = sorted(importance, key=importance.__getitem__)
    axes[0].barh(names, [importance[name] for name in names], color=BLUE)
    axes[0].set_xscale("symlog", linthresh=1e-3)
    axes[0].set(xlabel="log-loss that is lost when the input is another day's, nats")
    return figure


def _drift(drift: Mapping[str, float]) -> Any:
    figure, axes = _axes(1, 7.0)
    axes[0].bar(list(drift), list(drift.values()), color=BLUE)
    axes[0].tick_params(axis="x", labelsize=7)
    return figure
