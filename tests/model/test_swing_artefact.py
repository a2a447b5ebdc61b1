"""The artefact of the swing models: what it says of itself, and that whatever does not match is refused with its reason."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.config.settings import ARTEFACTS
from app.factory import POLICY
from app.market.bars import Span
from app.market.recorded import RecordedBars
from app.model import swing_evaluation as evaluation
from app.model import swing_report
from app.model.artefact import ModelSet, PolicyStamp
from app.model.registry import SWING
from app.model.served import load_models
from app.model.swing import HORIZONS, SwingModel, SwingVerdict
from app.model.swing_artefact import arrays_of, feature_code_hash
from app.model.swing_building import is_shown_better
from app.model.swing_features import FEATURES, SwingFeatures
from app.model.swing_training import build_rows, candidates, fit_horizon, samples_of
from app.signals.policy import SUPPORTED, SWING_ABOVE, SWING_BELOW
from tests.model.test_swing_features import features, upto, walk
from tests.model.test_swing_training import synthetic
from tests.support import CALENDAR, promoted_files, promoted_set, save_models, swing_member


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ARTEFACTS, tmp_path / "models"))


def loaded(folder: Path = ARTEFACTS) -> ModelSet:
    return load_models(folder, SUPPORTED, POLICY)


def shipped() -> SwingModel:
    model = loaded().swing
    assert model is not None
    return model


def saved_with(folder: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> ModelSet:
    """A new registry whose set has the shipped swing models, changed and saved anew with right hashes."""
    arrays, metadata = (dict(part) for part in swing_member())
    change(arrays, metadata)
    intraday = {t: (m.arrays, m.metadata) for t in SUPPORTED for m in [promoted_files(ARTEFACTS).member(t)]}
    save_models(folder / "changed", {**intraday, SWING: (arrays, metadata)})
    return loaded(folder / "changed")


def test_the_shipped_models_say_what_they_are() -> None:
    model = shipped()
    about = model.metadata
    assert about["feature_code_hash"] == feature_code_hash(), "swing_features.py changed: run `make train`"
    assert tuple(model.horizons) == HORIZONS
    assert model.tickers == SUPPORTED
    assert about["evaluation"]["span"].endswith("2024-12-31")
    assert len(about["feature_ranges"]) == len(FEATURES)
    assert about["thresholds"] == {"bullish": SWING_ABOVE, "bearish": SWING_BELOW}
    assert set(about) >= {"trained_at", "code_revision", "libraries", "seeds", "data", "targets", "spec_version"}
    for horizon in HORIZONS:
        record = model.evaluation_of(horizon)
        assert record["years"].keys() == set(map(str, range(1999, 2025)))
        assert {f"sign of return_{horizon}d", "sign of return_252d", "logistic, volatility alone"} <= record[
            "baselines"
        ].keys()


def test_what_is_served_departs_from_the_base_rate_only_where_the_report_shows_it_to_be_better() -> None:
    model = shipped()
    for horizon, served in model.horizons.items():
        record = model.evaluation_of(horizon)
        assert (served.weight > 0) <= is_shown_better(record)
        assert (model.verdict_of(horizon) is SwingVerdict.BETTER) == (record["skill_low"] > 0)
        if served.weight == 0:
            assert model.predict(features(walk()))[horizon] == served.base_rate


def test_the_report_names_every_verdict_and_every_rival() -> None:
    report = shipped().metadata["evaluation"]["horizons"]
    text = "\n".join(swing_report.lines(report))
    assert text.count("no measurable difference from the base rate") == sum(
        record["skill_low"] <= 0 <= record["skill_high"] for record in report.values()
    )
    for name in report["5"]["baselines"]:
        assert name in text


@pytest.mark.parametrize("name", ["swing.npz", "swing.json"])
@pytest.mark.parametrize("kept", [0, 100, -1])
def test_truncated_files_are_refused_and_the_others_serve_on(folder: Path, name: str, kept: int) -> None:
    path = promoted_set(folder) / name
    path.write_bytes(path.read_bytes()[:kept])
    found = loaded(folder)
    assert found.swing is None
    assert f"model of swing refused: {name} is damaged" in found.missing[SWING]
    assert set(found.models) == set(SUPPORTED)


@pytest.mark.parametrize("flips", [6, pytest.param(20, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", ["swing.npz", "swing.json"])
def test_any_flipped_byte_is_refused(folder: Path, name: str, flips: int) -> None:
    path = promoted_set(folder) / name
    original = path.read_bytes()
    for position in range(0, len(original), len(original) // flips):
        broken = bytearray(original)
        broken[position] ^= 0x01
        path.write_bytes(bytes(broken))
        assert "is damaged" in loaded(folder).missing[SWING]


def test_a_set_without_swing_models_says_so_and_serves_the_others(tmp_path: Path) -> None:
    intraday = {t: (m.arrays, m.metadata) for t in SUPPORTED for m in [promoted_files(ARTEFACTS).member(t)]}
    save_models(tmp_path / "m", intraday)
    found = loaded(tmp_path / "m")
    assert found.missing == {SWING: "the manifest lists no model for swing"}
    assert set(found.models) == set(SUPPORTED)


MISMATCHES: list[tuple[str, Any]] = [
    ("schema_version", 2),
    ("model_family", "v6_intraday"),
    ("feature_cols", [*FEATURES[1:], FEATURES[0]]),
    ("feature_code_hash", "0" * 64),
    ("min_days", 30),
    ("spec_version", "2025-01-01"),
    ("targets", {str(horizon): "up_from_open_v2" for horizon in HORIZONS}),
]


@pytest.mark.parametrize(("key", "value"), MISMATCHES, ids=[key for key, _ in MISMATCHES])
def test_other_definitions_are_refused_by_name(tmp_path: Path, key: str, value: Any) -> None:
    found = saved_with(tmp_path, lambda arrays, metadata: metadata.update({key: value}))
    assert f"{key} is not what this server computes" in found.missing[SWING]
    assert set(found.models) == set(SUPPORTED)


def test_another_policy_refuses_it() -> None:
    assert "spec_version" in load_models(ARTEFACTS, SUPPORTED, PolicyStamp("2030-01-01", 0.75, 0.25)).missing[SWING]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("5/base_rate", np.array(1.0), "base rate or weight of horizon 5"),
        ("5/weight", np.array(1.5), "base rate or weight of horizon 5"),
        ("5/intercept", np.array(np.nan), "do not fit together"),
        ("5/coef", np.zeros(3), "do not fit together"),
    ],
)
def test_arrays_that_make_no_sense_are_refused(tmp_path: Path, name: str, value: Any, why: str) -> None:
    found = saved_with(tmp_path, lambda arrays, metadata: arrays.update({name: value}))
    assert why in found.missing[SWING]


@pytest.mark.parametrize("key", ["data", "horizons", "evaluation", "tickers"])
def test_incomplete_metadata_is_refused(tmp_path: Path, key: str) -> None:
    def drop(arrays: dict[str, Any], metadata: dict[str, Any]) -> None:
        metadata[key] = {"sha256": "x"} if key == "data" else metadata.pop(key) and None

    assert "refused" in saved_with(tmp_path, drop).missing[SWING]


def test_a_fitted_regression_comes_back_as_it_went(tmp_path: Path) -> None:
    samples = samples_of(synthetic(effect=0.5), 5)
    fitted = fit_horizon(samples, candidates())

    def replace(arrays: dict[str, Any], metadata: dict[str, Any]) -> None:
        arrays.update(arrays_of(5, fitted.model))
        metadata["horizons"] = {**metadata["horizons"], "5": {"inputs": list(fitted.candidate.inputs)}}

    found = saved_with(tmp_path, replace).swing
    assert found is not None
    for x in samples.rows.x[:50, : len(FEATURES)]:
        given = SwingFeatures(date(2020, 1, 2), x)
        assert found.predict(given)[5] == fitted.model.probability(x)


def test_the_thresholds_of_the_report_are_the_policys() -> None:
    assert (evaluation.LONG, evaluation.SHORT) == (SWING_ABOVE, SWING_BELOW)


def test_the_bars_of_the_first_years_give_what_the_report_says_of_1999(recorded: RecordedBars) -> None:
    """All years are compared by `predict evaluate` (tests/test_cli.py, soak)."""
    carried = shipped().evaluation_of(5)["years"]["1999"]
    rows, _ = build_rows({"SPY": upto(recorded.all_bars("SPY", Span.DAY), date(2000, 2, 1))}, CALENDAR)
    years = evaluation.years_of(samples_of(rows, 5, date(2000, 1, 31)))
    found = evaluation.report({1999: years[1999]}, ["SPY"])["years"]["1999"]
    assert found == carried
