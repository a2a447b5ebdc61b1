"""What is said of the models beside the random walk is read off the loaded artefacts' report, wherever it is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask import Flask

from app.cli import cli
from app.config.settings import ARTEFACTS
from app.model.verdicts import Verdict, verdict_of
from tests.support import promoted_files, save_models

Serve = Callable[..., Flask]
Interval = tuple[float, float]
CELLS = 33
ABOVE, AROUND, BELOW = (0.001, 0.02), (-0.01, 0.01), (-0.02, -0.001)


def models_reporting(folder: Path, intervals: list[Interval]) -> Path:
    """The shipped models with these intervals in the cells of each ticker's report; the stored words stay as they were."""
    artefacts = {}
    for ticker in ("SPY", "QQQ", "IWM"):
        arrays, metadata, _ = promoted_files(ARTEFACTS).member(ticker)
        cells = [
            {**cell, "skill_low": low, "skill": (low + high) / 2, "skill_high": high}
            for cell, (low, high) in zip(metadata["evaluation"]["cells"], intervals, strict=True)
        ]
        artefacts[ticker] = (arrays, {**metadata, "evaluation": {**metadata["evaluation"], "cells": cells}})
    save_models(folder, artefacts)
    return folder


REPORTS = {
    "all better": ([ABOVE] * 11, "33 measurably better, 0 no measurable difference, 0 measurably worse"),
    "no difference": ([AROUND] * 11, "0 measurably better, 33 no measurable difference, 0 measurably worse"),
    "all worse": ([BELOW] * 11, "0 measurably better, 0 no measurable difference, 33 measurably worse"),
    "mixed": (
        [ABOVE, ABOVE, BELOW] + [AROUND] * 8,
        "6 measurably better, 24 no measurable difference, 3 measurably worse",
    ),
}


@pytest.mark.parametrize("name", REPORTS)
def test_another_report_in_the_artefact_changes_every_text(serve: Serve, tmp_path: Path, name: str) -> None:
    intervals, counts = REPORTS[name]
    client = serve(models_dir=models_reporting(tmp_path / "m", intervals)).test_client()
    lines = client.get("/trading_directions").get_json()["model_accuracy"]
    for line in (lines["late_target_a"], lines["late_target_b"]):
        assert f"Against a random walk, of {CELLS} cells: {counts}." in line
    for model in client.get("/models").get_json()["models"].values():
        told = [cell["verdict"] for cell in model["metrics"]["cells"]]
        assert told == [verdict_of(*interval) for interval in intervals]


@pytest.mark.parametrize("name", REPORTS)
def test_evaluate_counts_the_verdicts_of_the_report_it_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    intervals, counts = REPORTS[name]
    monkeypatch.setenv("MODELS_DIR", str(models_reporting(tmp_path / "m", intervals)))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "empty"))
    said = CliRunner().invoke(cli, ["evaluate"]).output.partition("LATER:")[0]
    assert f"against the random walk, of {CELLS} cells: {counts}\n" in said
    for verdict in Verdict:
        rows = [row for row in said.splitlines() if row.startswith(("SPY ", "QQQ ", "IWM ")) and row.endswith(verdict)]
        assert len(rows) == 3 * [verdict_of(*interval) for interval in intervals].count(verdict)


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((1e-9, 0.1), Verdict.BETTER),
        ((0.0, 0.1), Verdict.NO_DIFFERENCE),
        ((-0.1, 0.0), Verdict.NO_DIFFERENCE),
        ((-0.1, -1e-9), Verdict.WORSE),
    ],
)
def test_an_interval_that_touches_zero_shows_no_difference(interval: Interval, verdict: Verdict) -> None:
    assert verdict_of(*interval) is verdict


def test_the_shipped_models_are_worse_nowhere_and_say_what_is_the_volatilitys(serve: Serve) -> None:
    client = serve().test_client()
    line = client.get("/trading_directions").get_json()["model_accuracy"]["late_target_a"]
    assert "0 measurably worse. One that is given the model's forecast of the volatility loses to it in " in line
    models = client.get("/models").get_json()["models"]
    cells = [cell for ticker in models for cell in models[ticker]["metrics"]["cells"]]
    assert [cell for cell in cells if cell["skill_high"] < 0] == []
    assert any(cell["skill_low"] > 0 for cell in cells)
