"""Every figure of accuracy comes from the report of the loaded models: with another report all of them change."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask

from app.config.settings import ARTEFACTS
from app.signals.policy import SUPPORTED
from tests.support import promoted_files, save_models

Serve = Callable[..., Flask]
CLAIMED = 0.612345
"""An accuracy that no shipped report has."""


def claiming(folder: Path) -> Path:
    """The shipped models, whose reports say CLAIMED of every cell."""
    artefacts = {}
    for ticker in SUPPORTED:
        arrays, metadata, _ = promoted_files(ARTEFACTS).member(ticker)
        report = metadata["evaluation"]
        cells = [{**cell, "accuracy": CLAIMED} for cell in report["cells"]]
        pooled = [{**one, "covered_hit_rate": CLAIMED} for one in report["pooled"]]
        claims = {**metadata["accuracy"], **dict.fromkeys(("early", "late_a", "late_b"), CLAIMED)}
        about = {**metadata, "accuracy": claims, "evaluation": {**report, "cells": cells, "pooled": pooled}}
        artefacts[ticker] = (arrays, about)
    save_models(folder, artefacts)
    return folder


def said_by(app: Flask) -> dict[str, Any]:
    """What each answer says of how often the models are right."""
    client = app.test_client()

    def get(path: str) -> Any:
        return client.get(path).get_json()

    directions, models, v2 = get("/trading_directions"), get("/models"), get("/v2/models/SPY")
    return {
        "v1 ticker": directions["tickers"]["SPY"]["model_accuracy"],
        "v1 texts": directions["model_accuracy"]["late_target_a"],
        "v1 daily": get("/daily_signals")["tickers"]["SPY"]["model_accuracy"],
        "v1 models": models["models"]["SPY"]["v6_accuracy"],
        "v1 cells": [cell["accuracy"] for cell in models["models"]["SPY"]["metrics"]["cells"]],
        "v2 models": [cell["hit_rate"] for cell in v2["evaluation"]],
        "v2 pooled": [one["covered_hit_rate"] for one in v2["pooled"]],
        "v2 signal": [rate["hit_rate"] for rate in get("/v2/trading-directions/SPY")["hit_rates"]],
    }


def test_another_report_changes_every_figure_that_is_shown(serve: Serve, tmp_path: Path) -> None:
    before = said_by(serve(data_dir=tmp_path / "one"))
    after = said_by(serve(data_dir=tmp_path / "two", models_dir=claiming(tmp_path / "m")))
    assert before.keys() == after.keys()
    for where in before:
        assert before[where] != after[where], where
        assert "612" in json.dumps(after[where]) or "61.2" in json.dumps(after[where]), where
        assert "612" not in json.dumps(before[where]), where
