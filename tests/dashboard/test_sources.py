"""The sources of the dashboard: style, types with the warnings of the compiler (most are about accessibility), unit tests."""

from __future__ import annotations

import subprocess

import pytest

from tests.browser.watching import build
from tests.markdown import ROOT
from tests.waiting import PATIENCE_S


@pytest.mark.parametrize("script", ["lint", "types", "test", pytest.param("lint:types", marks=pytest.mark.soak)])
def test_the_sources_pass(script: str) -> None:
    build()
    done = subprocess.run(
        ["npm", "run", "--silent", script],
        cwd=ROOT / "dashboard",
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
