"""Servers for the tests of the layers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from flask import Flask

from app.config import api_keys
from tests.middleware.servers import started
from tests.support import FakeClock, ScriptedMarket, new_york


@pytest.fixture(scope="module")
def warm_market(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The synthetic market's first bars take seconds: not at the cost of a test's deadline."""
    clock = FakeClock(new_york("2025-03-11 11:30"))
    for _ in range(3):
        started(tmp_path_factory.mktemp("warm"), clock, ScriptedMarket(clock)).test_client().get("/mtf")


@pytest.fixture
def build(clock: FakeClock, market: ScriptedMarket, tmp_path: Path) -> Callable[..., Flask]:
    return lambda **values: started(tmp_path, clock, market, **values)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Flask]:
    """Servers for tests that only ask, at 11:30:06: one for each set of values."""
    clock, made = FakeClock(new_york("2025-03-11 11:30:06")), {}

    def found(**values: object) -> Flask:
        key = tuple(sorted(values.items()))
        if key not in made:
            made[key] = started(tmp_path_factory.mktemp("shared"), clock, ScriptedMarket(clock), **values)
        return made[key]

    return found


@pytest.fixture
def holders() -> dict[str, tuple[str, api_keys.ApiKey]]:
    """A key of every tier, and one that is over."""
    last = date(2100, 1, 1)
    made = {tier: api_keys.new_key(tier, tier, last) for tier in api_keys.TIERS}
    return made | {"over": api_keys.new_key("over", "operator", date(2020, 1, 1))}
