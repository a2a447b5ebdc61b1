"""Commands that fit the models and show what they are worth."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click

from app.commands.live_promise import print_live_promise
from app.commands.model_sets import is_promoted, promote
from app.commands.shared import recorded_bars, refuse_without_training_packages, usable_settings
from app.config.folders import check_models_dir
from app.config.settings import Settings
from app.errors import BrokenData
from app.factory import POLICY
from app.market.calendar import Calendar
from app.model import building, report, swing_building, swing_report
from app.model.artefact import Arrays, Metadata, ModelSet
from app.model.evaluation import cell_of, pooled_of
from app.model.registry import SWING, Registry
from app.model.served import load_models
from app.model.swing import SwingModel
from app.model.v6 import V6Model
from app.signals.policy import SUPPORTED

HOW_TO_GET_DATA = (
    "The report above is the stored one. To make it anew, import five-minute and daily bars of SPY, QQQ and IWM that "
    "reach from before 2022 to 2024-12-31 (files named like SPY_5min.parquet and SPY_1day.parquet, columns t o h l c v): "
    "MARKET_DATA=FOLDER make evaluate"
)


@click.command()
@click.option("--promote", "promotes", is_flag=True, help="have the new set served from the next decision hour on")
def train(promotes: bool) -> None:
    """Evaluate and fit the V6 models on the imported bars, and write them to MODELS_DIR as a new model set."""
    refuse_without_training_packages()
    settings = usable_settings()
    click.echo("evaluating and fitting: minutes", err=True)
    artefacts = building.build(building.study(_samples(settings)), POLICY, _revision(), datetime.now(UTC))
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
        click.echo(f"It is not served yet. This has it served: `.venv/bin/predict models promote {name}`")


@click.command()
@click.option("--live", is_flag=True, help="score the stored record of signals against what they stated")
def evaluate(live: bool) -> None:
    """Print the evaluation of the models: made from the imported bars if there are any, else the stored report."""
    settings = usable_settings(web_concurrency=1)
    check_models_dir(settings)
    if live:
        print_live_promise(settings)
        return
    stored = load_models(settings.models_dir, SUPPORTED, POLICY)
    try:
        study = building.study(_samples(settings))
    except BrokenData as exc:
        _print_stored(stored)
        click.echo(f"\n{exc.message}.\n{HOW_TO_GET_DATA}")
        return
    _print_report([building.report_of(study, ticker) for ticker in study.samples.tickers])
    for ticker in study.samples.tickers:
        _compare(study, ticker, stored.models.get(ticker))
    try:
        _compare_swing(_swing_study(settings), stored.swing)
    except BrokenData as exc:
        _print_swing(stored.swing)
        click.echo(f"swing: the stored report, since {exc.message}")


def _samples(settings: Settings) -> building.Samples:
    recorded, calendar = recorded_bars(settings), Calendar(dict(settings.market_closures))
    return building.samples_of(recorded, SUPPORTED, calendar)


def _swing_study(settings: Settings) -> swing_building.SwingStudy:
    return swing_building.study(recorded_bars(settings), SUPPORTED, Calendar(dict(settings.market_closures)))


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


def _compare(study: building.Study, ticker: str, shipped: V6Model | None) -> None:
    """Print whether the new report equals the one in the loaded model."""
    new = building.report_of(study, ticker)
    stored_cells = shipped.metadata["evaluation"]["cells"] if shipped else []
    verdict = "the same as" if building.reports_agree(new["cells"], stored_cells) else "NOT the same as"
    click.echo(f"{ticker}: report {new['report_sha256']}, {verdict} the loaded model's")
    click.echo(f"{ticker}: left out: {_left_out(study.samples.excluded[ticker])}")
    if shipped is not None:
        click.echo(f"{ticker}: days to {shipped.data_end} are in-sample for the shipped {shipped.model_id}")


def _print_report(evaluations: Sequence[Mapping[str, Any]]) -> None:
    """Prints the evaluations of the tickers' models; the pooled figures are those of the first, since all carry the same."""
    if not evaluations:
        return
    first, cells = evaluations[0], [cell_of(record) for own in evaluations for record in own["cells"]]
    pooled, anew = ([pooled_of(record) for record in first[name]] for name in ("pooled", "pooled_choosing_anew"))
    parts = (
        report.lines(cells),
        report.pooled_lines(pooled, anew),
        report.range_lines(first["ranges"]),
        report.tried_lines(first["tried"]),
        report.quarter_lines(cells),
    )
    for part in parts:
        for line in part:
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
