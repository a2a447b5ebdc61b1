"""Where a server that was installed from a wheel keeps its state, and one version wherever it is said."""

from __future__ import annotations

import re
from collections.abc import Callable
from configparser import ConfigParser

import pytest
from click.testing import CliRunner
from flask import Flask

from app.cli import cli
from app.errors import SettingsError
from app.places import CODE, COMMAND, FILES, IS_CHECKOUT, state_folder
from app.version import VERSION
from tests.markdown import ROOT


@pytest.mark.parametrize(
    ("data_home", "platform", "expected"),
    [
        (None, "linux", "/user/.local/share/predict-server"),
        ("", "linux", "/user/.local/share/predict-server"),
        ("relative", "linux", "/user/.local/share/predict-server"),
        ("/data/own", "linux", "/data/own/predict-server"),
        (None, "darwin", "/user/Library/Application Support/predict-server"),
        ("/data/own", "darwin", "/data/own/predict-server"),
    ],
)
def test_state_is_in_the_users_folder(
    data_home: str | None, platform: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/user")
    assert str(state_folder(data_home, platform)) == expected


def test_a_user_without_a_home_is_told_to_set_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["nobody"])
    with pytest.raises(SettingsError, match="DATA_DIR: must be set"):
        state_folder(None, "linux")


def test_a_checkout_has_its_files_beside_the_code() -> None:
    assert (CODE, FILES, IS_CHECKOUT, COMMAND) == (ROOT, ROOT, True, ".venv/bin/predict")


def test_the_version_is_the_same_wherever_it_is_said(serve: Callable[..., Flask]) -> None:
    client = serve().test_client()
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None
    assert newest[1] == VERSION
    assert CliRunner().invoke(cli, ["--version"]).output == f"predict server {VERSION}\n"
    assert client.get("/", headers={"Accept": "application/json"}).json["version"] == VERSION
    assert client.get("/health").json["version"] == VERSION
    assert client.get("/v2/status").json["server"] == VERSION
    assert re.search(
        rf'^predict_info{{.*version="{re.escape(VERSION)}".*}} 1', client.get("/metrics").text, re.MULTILINE
    )


def test_no_other_file_states_the_version() -> None:
    """Examples and samples of answers hold it, and are made from the server."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup["metadata"]["version"] == "attr: app.version.VERSION"
    folders = ("app", "blueprints", "middleware", "serving", "ops")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")] + [ROOT / "gunicorn.conf.py"]
    assert [str(file) for file in files if f'"{VERSION}"' in file.read_text()] == [str(ROOT / "app" / "version.py")]
