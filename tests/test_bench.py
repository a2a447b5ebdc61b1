"""Every benchmark can be started: what it names in the code is there."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from bench import analysis

MODULES = sorted(path.stem for path in Path(analysis.__file__).parent.glob("*.py") if not path.stem.startswith("__"))


@pytest.mark.parametrize("module", MODULES)
def test_a_benchmark_finds_what_it_measures(module: str) -> None:
    assert import_module(f"bench.{module}")


def test_each_stage_of_an_analysis_runs() -> None:
    for call in analysis.stages().values():
        call()
