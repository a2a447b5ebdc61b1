"""Clients that others generate from the document: they are made without a warning, they pass the type check of their language,
and they fetch a signal. Generators come from package registries, and making the clients takes a minute of processor time, so
that `make soak` runs these tests; where the registries cannot be reached, they are skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueprints.v2.openapi import FILE
from tests.serving.test_gunicorn import SERVE, started

HERE = Path(__file__).parent
SECONDS = 240
ACTIONS = {"BUY_CALL", "BUY_PUT", "NO_TRADE"}
UNREACHABLE = (
    "ConnectTimeout",
    "NewConnectionError",
    "No matching distribution",
    "ENOTFOUND",
    "ECONNREFUSED",
    "EAI_AGAIN",
)
"""What pip and npm say where there is no registry."""


def run(command: list[str | Path], folder: Path, **variables: str) -> str:
    """What a command prints. Raises AssertionError with it if the command fails."""
    env = {**os.environ, **variables}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def install(command: list[str | Path], folder: Path) -> None:
    """Runs an installer once. Skips the test if it cannot reach its registry."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    said = done.stdout + done.stderr
    if done.returncode != 0 and any(words in said for words in UNREACHABLE):
        pytest.skip(f"the packages of {command[0]} cannot be had: {said.strip().splitlines()[-1][:200]}")
    assert done.returncode == 0, said


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server as it is deployed, of the demo market."""
    folder = tmp_path_factory.mktemp("server")
    with started(SERVE, folder / "log", MARKET="demo", DATA_DIR=folder / "data") as server:
        server.wait_ready()
        yield server.base


@pytest.mark.soak
def test_a_generated_python_client_passes_mypy_and_fetches_a_signal(base: str, tmp_path: Path) -> None:
    run([sys.executable, "-m", "venv", "venv"], tmp_path)
    tools = tmp_path / "venv" / "bin"
    pip: list[str | Path] = [tools / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pinned: list[str | Path] = ["--no-deps", "--require-hashes", "-r", HERE / "python" / "requirements.txt"]
    install([*pip, *pinned, "--retries", "1", "--timeout", "10"], tmp_path)
    generate = [tools / "openapi-python-client", "generate", "--path", FILE, "--output-path", "generated"]
    run([*generate, "--meta", "none", "--fail-on-warning"], tmp_path, PATH=f"{tools}:{os.environ['PATH']}")
    shutil.copy(HERE / "python" / "fetch_signal.py", tmp_path)
    # The generator's own file of the connection does not agree with httpx's types, whatever the document says.
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\n[mypy-generated.client]\nignore_errors = true\n")
    run([sys.executable, "-m", "mypy", "--python-executable", tools / "python", "fetch_signal.py"], tmp_path)
    ticker, action, when = run([tools / "python", "fetch_signal.py", base], tmp_path).split()
    assert (ticker, action in ACTIONS, when.count("T")) == ("SPY", True, 1)


@pytest.mark.soak
def test_a_generated_typescript_client_passes_tsc_and_fetches_a_signal(base: str, tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("npm is missing")
    folder = tmp_path / "client"
    shutil.copytree(HERE / "typescript", folder)
    install(["npm", "ci", "--fetch-retries=1", "--fetch-timeout=10000"], folder)
    run(["npx", "--no-install", "openapi-typescript", FILE, "--output", "schema.d.ts"], folder)
    run(["npx", "--no-install", "tsc"], folder)
    ticker, action, _ = run(["node", "out/fetch_signal.js", base], folder).split()
    assert (ticker, action in ACTIONS) == ("SPY", True)
