"""The folders that settings name: which stop a start, and what is said of those that do not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from app.config import folders
from app.config.folders import check_models_dir
from app.config.settings import load
from app.errors import SettingsError
from tests.support import models_saying, promoted_set

Serve = Callable[..., Flask]


def test_default_models_that_are_not_there_stop_no_start_and_a_folder_that_is_named_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MODELS_DIR", raising=False)
    check_models_dir(load())
    monkeypatch.setattr(folders, "PROMOTED", "nowhere.json")
    check_models_dir(load())
    monkeypatch.setenv("MODELS_DIR", str(tmp_path))
    with pytest.raises(SettingsError, match=r"^MODELS_DIR: there are no models in '.*', as it holds no nowhere\.json$"):
        check_models_dir(load())


def test_models_that_cannot_be_read_are_one_warning_with_setting_folder_and_tickers(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "predict"):
        serve(models_dir=tmp_path / "none")
    why = "promoted.json cannot be read: No such file or directory"
    assert [r.getMessage() for r in caplog.records if "model" in r.getMessage()] == [
        f"MODELS_DIR ({tmp_path / 'none'}): no model of SPY, QQQ, IWM: {why}"
    ]


def test_a_model_that_is_damaged_is_a_warning_of_its_own(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (promoted_set(models_saying(tmp_path / "some", 0.9)) / "v6_IWM.npz").write_bytes(b"not arrays")
    with caplog.at_level(logging.WARNING, "predict"):
        serve(models_dir=tmp_path / "some")
    said = [r.getMessage() for r in caplog.records if "model" in r.getMessage()]
    assert len(said) == 1
    assert said[0].startswith(f"MODELS_DIR ({tmp_path / 'some'}): no model of IWM: model of IWM refused: v6_IWM.npz")
