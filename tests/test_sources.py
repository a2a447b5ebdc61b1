"""The sources in Python: style and types. In `make test` they are judged beside the other tests, for the types take a minute of
one processor."""

from __future__ import annotations

import subprocess

import pytest

from tests.markdown import ROOT
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.integration


@pytest.mark.timeout(900)
def test_style_and_types_pass() -> None:
    if not (ROOT / ".venv/.dev").exists():
        pytest.skip("there is no .venv here; `make setup` makes it")
    done = subprocess.run(
        ["make", "--silent", "-o", ".venv/.dev", "check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
