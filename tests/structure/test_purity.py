"""The package keeps to itself: what it may import, and what it may not depend on."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest

from app.structure import analyse, analyse_swing
from tests.structure.making import days, minutes, night, view

PACKAGE = Path(__file__).parents[2] / "app" / "structure"
MODULES = sorted(PACKAGE.glob("*.py"))
OURS = ("app.errors", "app.telemetry.stages", "app.market.bars", "app.market.calendar", "app.structure")
STANDARD = {"__future__", "collections", "dataclasses", "datetime", "enum", "itertools", "math", "numpy"}


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            assert node.module
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_only_pure_modules_are_imported(path: Path) -> None:
    for name in imported(path):
        assert name.startswith(OURS) or name.split(".")[0] in STANDARD, name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_clock_is_read(path: Path) -> None:
    calls = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
    assert not calls & {"now", "utcnow", "today", "fromtimestamp"}


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def test_the_machines_time_zone_changes_nothing(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    closes = [100.0 + i / 10 for i in range(60)]
    daily = [50.0 + i for i in range(50)]
    seen = view(minutes(closes), days(daily), opened=100.0)
    here = analyse("SPY", seen), analyse_swing("SPY", night(days(daily)))
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        there = view(minutes(closes), days(daily), opened=100.0)
        assert (analyse("SPY", there), analyse_swing("SPY", night(days(daily)))) == here
    finally:
        monkeypatch.undo()
        time.tzset()
