"""Servers whose metrics are scraped."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import FakeClock, FakeTimer, ScriptedMarket
from tests.telemetry.metrics.scraping import AT, Build, started


@pytest.fixture
def timer() -> FakeTimer:
    return FakeTimer(hasty=True)


@pytest.fixture
def build(tmp_path: Path, clock: FakeClock, market: ScriptedMarket, timer: FakeTimer) -> Build:
    """A server at 11:30:06 on the scripted market, with routes that a test needs."""
    clock.set(AT)
    return lambda **values: started(tmp_path, clock, market, timer, **values)
