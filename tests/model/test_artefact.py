"""Artefacts load without executing anything, and whatever does not match is refused with its reason."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.config.settings import ARTEFACTS
from app.errors import Unavailable
from app.factory import POLICY
from app.model.artefact import PolicyStamp, content_hash, feature_code_hash
from app.model.features import FEATURES, INPUTS, Features
from app.model.registry import Registry
from app.model.served import load_models
from app.model.v6 import SLOTS, Slot, V6Model, VarianceForecast, probabilities, sigmoid
from tests.support import promoted_files, save_models

TICKERS = ("SPY", "QQQ", "IWM")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ARTEFACTS, tmp_path / "models"))


def saved_with(folder: Path, change: Callable[[dict[str, Any], dict[str, Any]], object]) -> str:
    """Why SPY's model is refused after it was changed and saved anew with right hashes: only its meaning is wrong."""
    arrays, metadata, _ = promoted_files(folder).member("SPY")
    changed = dict(arrays), deepcopy(dict(metadata))
    change(*changed)
    save_models(folder, {"SPY": changed})
    files = promoted_files(folder).folder.name
    return Registry(folder).load(files, ("SPY",), POLICY).missing["SPY"]


def test_the_shipped_models_load_and_say_what_they_are() -> None:
    found = load_models(ARTEFACTS, TICKERS, POLICY)
    assert not found.missing
    for ticker, model in found.models.items():
        about = model.metadata
        assert about["ticker"] == ticker
        assert about["feature_code_hash"] == feature_code_hash(), "features.py changed: run `make train`"
        assert {cell["hour"] for cell in about["evaluation"]["cells"]} == {10, 11, 12, 13, 14, 15}
        assert about["evaluation"]["span"].endswith("2024-12-31")
        assert len(about["feature_ranges"]) == len(FEATURES)
        assert set(about) >= {"trained_at", "code_revision", "libraries", "seeds", "data", "targets", "thresholds"}


def test_each_file_of_the_shipped_set_is_small() -> None:
    assert all(path.stat().st_size < 5 * 2**20 for path in promoted_files(ARTEFACTS).folder.iterdir())


def test_a_pickle_inside_is_never_unpickled(folder: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            raise AssertionError("unpickled")

    def trap(arrays: dict[str, Any], metadata: dict[str, Any]) -> None:
        arrays["early_a/center"] = np.array([None], dtype=object)

    with pytest.raises(ValueError, match=r"[Oo]bject arrays"):
        saved_with(folder, trap)


MISMATCHES: list[tuple[str, Any]] = [
    ("schema_version", 1),
    ("model_family", "swing"),
    ("ticker", "QQQ"),
    ("targets", {"A": "A_close_gt_open_v1", "B": "B_close_gt_1200_v1"}),
    ("decision_hours", [10, 11, 12]),
    ("feature_cols", [*FEATURES[1:], FEATURES[0]]),
    ("feature_code_hash", "0" * 64),
    ("min_days", 7),
    ("thresholds", {"long": 0.55, "short": 0.45}),
    ("spec_version", "2025-01-01"),
]


@pytest.mark.parametrize(("key", "value"), MISMATCHES, ids=[key for key, _ in MISMATCHES])
def test_other_definitions_are_refused_by_name(folder: Path, key: str, value: Any) -> None:
    assert f"{key} is not" in saved_with(folder, lambda arrays, metadata: metadata.update({key: value}))


def test_another_policy_refuses_every_model() -> None:
    assert load_models(ARTEFACTS, TICKERS, PolicyStamp("2030-01-01", 0.75, 0.25)).models == {}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda a, m: a.pop("late_b/scale"), "incomplete"),
        (lambda a, m: a.update({"late_b/scale": np.zeros(3)}), "fit together"),
        (lambda a, m: a.update({"late_b/line": np.array([1.0, np.nan, 0.0])}), "fit together"),
        (lambda a, m: a.update({"late_b/line": np.zeros(2)}), "fit together"),
        (lambda a, m: a.update({"late_b/coef": np.zeros(99)}), "fit together"),
        (lambda a, m: a.update({"variance/coef": a["variance/coef"][:, 1:]}), "variance forecast do not fit"),
        (lambda a, m: a.update({"variance/intercept": np.full(6, np.inf)}), "variance forecast do not fit"),
        (lambda a, m: m["variance"]["inputs"].pop(), "variance forecast do not fit"),
        (lambda a, m: a.update({"range/up": -a["range/up"]}), "ranges do not fit"),
        (lambda a, m: a.update({"range/down": a["range/down"][:, ::-1].copy()}), "ranges do not fit"),
        (lambda a, m: m["range"].update(levels=[0.5]), "ranges do not fit"),
        (lambda a, m: m["evaluation"]["ranges"]["0.8"].pop("15"), "metadata is incomplete"),
        (lambda a, m: m["slots"].pop("late_b"), "incomplete"),
        (lambda a, m: m["slots"]["late_b"].update(inputs=["tomorrow"]), "incomplete"),
        (lambda a, m: m.pop("accuracy"), "incomplete"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(folder: Path, change: Callable[[Any, Any], object], why: str) -> None:
    assert why in saved_with(folder, change)


def test_identity_is_arrays_features_and_data_not_the_time_of_training(folder: Path) -> None:
    arrays, metadata, sha256 = promoted_files(folder).member("SPY")
    assert content_hash(arrays, {**metadata, "trained_at": "2030-01-01", "libraries": {}}) == sha256
    assert content_hash(arrays, {**metadata, "data": {"sha256": "other"}}) != sha256
    assert content_hash({**arrays, "late_b/line": arrays["late_b/line"] + 1e-15}, metadata) != sha256


def test_a_slot_is_a_line_on_the_distance_in_forecast_deviations() -> None:
    inputs = np.arange(len(INPUTS), dtype=np.float64)
    move = INPUTS.index("current_vs_open")
    inputs[move] = np.expm1(-0.02)
    slot = Slot(
        move, 1.5, 0.25, -0.1, np.array([2, 4]), np.array([1.0, 2.0]), np.array([2.0, 4.0]), np.array([1.0, 3.0])
    )
    z = -0.02 / 0.01
    score = 1.5 * z - 0.25 * z**2 - 0.1 + 0.5 * 1 + 0.5 * 3
    assert slot.probability(inputs, np.log(0.01**2)) == pytest.approx(1 / (1 + np.exp(-score)))


def test_the_variance_forecast_is_a_line_for_each_hour_and_grows_with_the_time_that_is_left() -> None:
    columns = np.array([INPUTS.index("log_variance_1d"), INPUTS.index("gap_sigmas")])
    coef, intercept = np.arange(12, dtype=np.float64).reshape(6, 2), np.arange(6, dtype=np.float64)
    inputs = np.zeros(len(INPUTS))
    inputs[columns], inputs[INPUTS.index("log_time_left")] = (0.5, 2.0), np.log(0.5)
    forecast = VarianceForecast(columns, coef, intercept)
    assert float(forecast.log_variance(12, inputs)) == pytest.approx(2 + 4 * 0.5 + 5 * 2.0 + np.log(0.5))


@pytest.mark.parametrize("claim", [1.2, "0.7", None, float("nan")])
def test_a_hit_rate_that_is_no_share_is_refused(folder: Path, claim: Any) -> None:
    if claim != claim:
        with pytest.raises(ValueError, match="Out of range float"):
            saved_with(folder, lambda arrays, metadata: metadata["accuracy"].update(early=claim))
    else:
        assert "no share" in saved_with(folder, lambda arrays, metadata: metadata["accuracy"].update(early=claim))


def test_a_forecast_beyond_all_reason_gives_no_prediction() -> None:
    model = load_models(ARTEFACTS, TICKERS, POLICY).models["SPY"]
    inputs = np.zeros(len(INPUTS))
    inputs[INPUTS.index("gap_sigmas")] = 1e9
    broken = Features(inputs[: len(FEATURES)], inputs, 500.0, None, 0.01, 300)
    with pytest.raises(Unavailable, match="beyond all reason") as caught:
        model.predict(12, broken)
    assert caught.value.code == "MODEL_UNAVAILABLE"


def test_a_single_row_is_predicted_bit_for_bit_as_among_many() -> None:
    """What is served of an hour is what the evaluation scored."""
    model, dice = load_models(ARTEFACTS, TICKERS, POLICY).models["QQQ"], np.random.default_rng(8)
    rows = dice.normal(scale=0.01, size=(200, len(INPUTS)))
    for hour, name in ((10, "early_a"), (11, "late_a"), (15, "late_b")):
        log_variance = model.variance.log_variance(hour, rows)
        together = probabilities(model.slots[name].score(rows, log_variance))
        alone = [model.slots[name].probability(row, float(v)) for row, v in zip(rows, log_variance, strict=True)]
        assert together.tolist() == alone


def test_probabilities_never_reach_zero_or_one() -> None:
    assert 0 < sigmoid(-1e9) < 1e-9
    assert 1 - 1e-9 < sigmoid(1e9) < 1


def test_every_slot_of_a_loaded_model_answers() -> None:
    model: V6Model = load_models(ARTEFACTS, TICKERS, POLICY).models["IWM"]
    assert set(model.slots) == set(SLOTS)
    assert all(0 < slot.probability(np.zeros(len(INPUTS)), 0.0) < 1 for slot in model.slots.values())
