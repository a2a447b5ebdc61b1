"""The packages of Node that some tests need. `make tools` installs them below `.venv/node`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.markdown import ROOT
from tests.waiting import PATIENCE_S

PACKAGES = ROOT / ".venv" / "node" / "node_modules"
LISTED, INSTALLED = ROOT / "tests" / "node" / "package-lock.json", ROOT / ".venv" / "node" / "installed.json"


def packages() -> Path:
    """The folder of the packages. Skips the test where there is no Node, or other packages than those that are pinned."""
    if shutil.which("node") is None:
        pytest.skip("no node: apt-get install npm (Debian), brew install node (macOS)")
    if not INSTALLED.exists() or INSTALLED.read_bytes() != LISTED.read_bytes():
        pytest.skip("the packages of tests/node are not installed: make tools")
    return PACKAGES


def linked(folder: Path) -> Path:
    """The folder, in which scripts now find the packages by name."""
    (folder / "node_modules").symlink_to(packages(), target_is_directory=True)
    return folder


def node(script: str | Path, *arguments: str, folder: Path) -> str:
    """What a script prints that runs in a folder of `linked`. Raises AssertionError with it if the script fails."""
    done = subprocess.run(
        ["node", script, *arguments], cwd=folder, env=os.environ, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
