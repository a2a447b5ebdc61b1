"""Commands that fit the models and show what they are worth."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from app.commands.live_promise import print_live_promise
from app.commands.model_sets import is_promoted, promote
from app.commands.report_page import write_page
from app.commands.shared import imported_bars, refuse_without_training_packages, usable_settings
from app.config.folders import check_models_dir
from app.config.settings import Settings
from app.errors import BrokenData
from app.factory import POLICY
from app.market.bars import Span
from app.market.calendar import Calendar
from app.model import building, report, swing_building, swing_report
from app.model.artefact import Arrays, Metadata, ModelSet
from app.model.evaluation import Cell, Pooled, by_target, cell_of, pooled_of
from app.model.evaluation import evaluate as evaluate_walk
from app.model.registry import SWING, Registry
from app.model.served import load_models
from app.model.swing import SwingModel
from app.model.v6 import V6Model
from app.model.walk_forward import Scored, score_span
from app.places import COMMAND
from app.signals.backtest import trading_view
from app.signals.policy import SUPPORTED

HOW_TO_GET_DATA = (
    "The report above is the stored one. To make it anew in a checkout, import five-minute and daily bars of SPY, QQQ and IWM "
    "that reach from before 2022 to 2024-12-31 (files named like SPY_5min.parquet and SPY_1day.parquet, columns t o h l c v): "
    "MARKET_DATA=FOLDER make evaluate"
)


@click.command(short_help="Evaluate and fit the models, and write them as a new set.")
@click.option("--promote", "promotes", is_flag=True, help="have the new set served from the next decision hour on")
@click.option(
    "--first-evaluation", "is_first", is_flag=True, help="leave the days after the first evaluation out of the report"
)
def train(promotes: bool, is_first: bool) -> None:
    """Evaluate and fit the V6 models on the imported bars, and write them to MODELS_DIR as a new model set."""
    refuse_without_training_packages()
    settings = usable_settings()
    click.echo("evaluating and fitting: minutes", err=True)
    samples, trading = _samples(settings)
    study = building.study(samples, looks_later=not is_first)
    artefacts = building.build(study, POLICY, trading, _revision(), datetime.now(UTC))
    registry = Registry(settings.models_dir)
    name, is_new = registry.write({**artefacts, **_swing_artefact(settings, registry)})
    written = registry.load(name, SUPPORTED, POLICY)
    for model in written.models.values():
        click.echo(f"{model.ticker}: {model.model_id}, trained on all days to {model.data_end}")
    if written.swing is not None:
        click.echo(f"swing: {written.swing.model_id}, trained on all days to {written.swing.data_end}")
    click.echo(f"{name}: {'written' if is_new else 'there already, the training gave the same'}")
    if promotes:
        promote(registry, name)
    elif not is_promoted(registry, name):
        click.echo(f"It is not served yet. This has it served: `{COMMAND} models promote {name}`")


DAY = click.DateTime(["%Y-%m-%d"])


@click.command(short_help="Print the evaluation of the models.")
@click.option("--live", is_flag=True, help="score the stored record of signals against what they stated")
@click.option("--from", "first", type=DAY, help="score the loaded models on the imported bars from this day on")
@click.option("--to", "last", type=DAY, help="up to this day")
@click.option(
    "--page", type=click.Path(dir_okay=False, path_type=Path), help="write the stored report as a page with pictures"
)
def evaluate(live: bool, first: datetime | None, last: datetime | None, page: Path | None) -> None:
    """Print the evaluation of the models: made from the imported bars if there are any, else the stored report."""
    settings = usable_settings(web_concurrency=1)
    check_models_dir(settings)
    if live:
        print_live_promise(settings)
        return
    stored = load_models(settings.models_dir, SUPPORTED, POLICY)
    if page is not None:
        write_page(page, stored)
        return
    try:
        samples, trading = _samples(settings)
        refuse_without_training_packages()
        if first is not None or last is not None:
            _score_span(stored, samples, trading, first, last)
            return
        study = building.study(samples)
    except BrokenData as exc:
        _print_stored(stored)
        click.echo(f"\n{exc.message}.\n{HOW_TO_GET_DATA}")
        return
    reports = building.reports_of(study, trading)
    _print_report(list(reports.values()))
    for ticker, new in reports.items():
        _compare(ticker, new, stored.models.get(ticker))
        click.echo(f"{ticker}: left out: {_left_out(samples.excluded[ticker])}")
    try:
        _compare_swing(_swing_study(settings), stored.swing)
    except BrokenData as exc:
        _print_swing(stored.swing)
        click.echo(f"swing: the stored report, since {exc.message}")


def _samples(settings: Settings) -> tuple[building.Samples, building.Trading]:
    """The samples of the recorded bars, and what trades on their rows would have earned."""
    recorded, calendar = imported_bars(settings), Calendar(dict(settings.market_closures))
    samples = building.samples_of(recorded, SUPPORTED, calendar)

    def trading(active: Scored) -> Mapping[str, Any]:
        return trading_view(active, SUPPORTED, lambda ticker: recorded.all_bars(ticker, Span.FIVE_MINUTES), calendar)

    return samples, trading


def _score_span(
    stored: ModelSet,
    samples: building.Samples,
    trading: building.Trading,
    first: datetime | None,
    last: datetime | None,
) -> None:
    """Prints what the loaded models are worth on the days of a span, by the same figures, and which days are in-sample."""
    missing = [ticker for ticker in samples.tickers if ticker not in stored.models]
    if missing:
        raise click.ClickException(f"no model for {', '.join(missing)}: {stored.missing[missing[0]]}")
    days = samples.rows.day
    start = date.fromordinal(int(days.min())) if first is None else first.date()
    end = date.fromordinal(int(days.max())) if last is None else last.date()
    models = [stored.models[ticker] for ticker in samples.tickers]
    try:
        walk = score_span(building.fitted_of(models), samples.rows, start, end)
    except BrokenData as exc:
        raise click.ClickException(exc.message) from None
    found = evaluate_walk(walk, samples.tickers)
    data_end = min(model.data_end for model in models)
    inside = sum(int(day) <= data_end.toordinal() for day in np.unique(walk.tests[f"{start}..{end}"].day))
    if inside:
        click.echo(f"IN-SAMPLE: {inside} of the days are up to {data_end}, on which these models were fitted.")
    _print_lines(report.lines(found.cells, report.SCORED))
    _print_lines(report.pooled_lines(found.pooled, ()))
    _print_lines(report.trading_lines(trading(by_target(walk)["active"])))


def _swing_study(settings: Settings) -> swing_building.SwingStudy:
    return swing_building.study(imported_bars(settings), SUPPORTED, Calendar(dict(settings.market_closures)))


def _swing_artefact(settings: Settings, registry: Registry) -> dict[str, tuple[Arrays, Metadata]]:
    """The swing models by the imported daily bars; where those do not reach far enough, the ones that are promoted."""
    try:
        return {SWING: swing_building.build(_swing_study(settings), POLICY, _revision(), datetime.now(UTC))}
    except BrokenData as exc:
        click.echo(f"swing: {exc.message}; the promoted models are taken over", err=True)
    try:
        return {SWING: registry.files(registry.promotions().promoted).member(SWING)[:2]}
    except BrokenData:
        return {}


def _print_stored(stored: ModelSet) -> None:
    """The report that the loaded models carry, and why one carries none."""
    _print_report([model.metadata["evaluation"] for model in stored.models.values()])
    for ticker, why in stored.missing.items():
        click.echo(f"{ticker}: no stored report. {why}")
    for model in stored.models.values():
        click.echo(f"{model.ticker}: report {model.metadata['evaluation']['report_sha256']}")
    _print_swing(stored.swing)


def _compare(ticker: str, new: Mapping[str, Any], shipped: V6Model | None) -> None:
    """Print whether the new report equals the one in the loaded model."""
    stored_cells = shipped.metadata["evaluation"]["cells"] if shipped else []
    verdict = "the same as" if building.reports_agree(new["cells"], stored_cells) else "NOT the same as"
    click.echo(f"{ticker}: report {new['report_sha256']}, {verdict} the loaded model's")
    if shipped is not None:
        click.echo(f"{ticker}: days to {shipped.data_end} are in-sample for the shipped {shipped.model_id}")


def _print_report(evaluations: Sequence[Mapping[str, Any]]) -> None:
    """Prints the evaluations of the tickers' models; the pooled figures are those of the first, since all carry the same."""
    if not evaluations:
        return
    first = evaluations[0]
    cells, pooled = _print_span(evaluations)
    _print_lines(report.tercile_lines(pooled))
    _print_lines(report.tried_lines(report.all_tried(first)))
    _print_lines(report.quarter_lines(cells))
    if "later" in first:
        later = first["later"]
        click.echo(f"LATER: {later['span']}, looked at once, after all choices had been made on the days before")
        _print_span([own["later"] for own in evaluations])


def _print_span(evaluations: Sequence[Mapping[str, Any]]) -> tuple[list[Cell], list[Pooled]]:
    """Prints what is said of a span of days, and returns its cells and its pooled figures."""
    first, cells = evaluations[0], [cell_of(record) for own in evaluations for record in own["cells"]]
    pooled, anew = (
        [pooled_of(record) for record in first.get(name, ())] for name in ("pooled", "pooled_choosing_anew")
    )
    _print_lines(report.lines(cells))
    _print_lines(report.pooled_lines(pooled, anew))
    _print_lines(report.trading_lines(first["trading"]))
    _print_lines(report.range_lines(first["ranges"]))
    return cells, pooled


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)
    click.echo()


def _print_swing(model: SwingModel | None) -> None:
    """Print the stored report of the swing models."""
    if model is None:
        return
    for line in swing_report.lines(model.metadata["evaluation"]["horizons"]):
        click.echo(line)
    click.echo(f"swing: report {model.metadata['evaluation']['report_sha256']}")


def _compare_swing(study: swing_building.SwingStudy, shipped: SwingModel | None) -> None:
    """Print the new report of the swing models, and whether it equals the one in the loaded ones."""
    for line in swing_report.lines(study.report):
        click.echo(line)
    carried = [] if shipped is None else [shipped.metadata["evaluation"]["horizons"]]
    verdict = "the same as" if building.reports_agree([study.report], carried) else "NOT the same as"
    click.echo(f"swing: report {building.report_hash([study.report])}, {verdict} the loaded models'")


def _left_out(excluded: Mapping[str, Sequence[str]]) -> str:
    """Returns how many days are excluded, by reason."""
    return "; ".join(f"{len(days)} x {reason}" for reason, days in excluded.items()) or "nothing"


def _revision() -> str:
    try:
        process = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return process.stdout.strip()
