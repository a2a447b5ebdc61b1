"""A model set that is promoted by the command while a real server serves the demo market."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.config.settings import ARTEFACTS
from app.model.registry import Registry
from app.signals.policy import SUPPORTED
from tests.serving.test_gunicorn import ROOT, SERVE, Server, started
from tests.support import models_saying, promoted_files
from tests.waiting import PATIENCE_S, wait_for


def models(server: Server) -> dict[str, str | None]:
    said: dict[str, str | None] = server.get("/health").json()["operations"]["models"]
    return said


@pytest.mark.soak
def test_a_running_server_takes_a_promotion_over_without_a_restart(tmp_path: Path) -> None:
    """At the turn of an hour of the demo, which lasts 48 s, or at once outside the hours."""
    folder = Path(shutil.copytree(ARTEFACTS, tmp_path / "models"))
    files = promoted_files(models_saying(tmp_path / "other", 0.9))
    name = Registry(folder).write({ticker: files.member(ticker)[:2] for ticker in SUPPORTED}).name
    where = {"MARKET": "demo", "MODELS_DIR": folder, "DATA_DIR": tmp_path / "data"}
    with started(SERVE, tmp_path / "log", **where) as server:
        server.wait_ready()
        shipped = models(server)["served"]
        command = [sys.executable, "-m", "app", "models", "promote", name]
        env = os.environ | {key: str(value) for key, value in where.items()}
        subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, timeout=PATIENCE_S)
        wait_for(lambda: models(server)["promoted"] == name, "the promotion is not seen", every_s=0.5)
        wait_for(lambda: models(server)["served"] == name, "the promotion is not served", every_s=0.5)
        assert server.get("/models").json()["active_version"] == name != shipped
        assert models(server)["refused"] is None
        assert f"models_changed set={name} before={shipped}" in server.log.read_text()
