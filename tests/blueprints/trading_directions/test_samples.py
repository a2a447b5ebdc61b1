"""The samples of `/trading_directions`, whose shape is binding (ruling V7)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from app.market.polygon import Reply
from tests.blueprints.trading_directions.checking import SAMPLES, Body, Serve, ask, no_open_anywhere, no_snapshot
from tests.support import FakeClock, ScriptedMarket, models_saying


def sample_cases(serve: Serve, clock: FakeClock, market: ScriptedMarket, folder: Path) -> Iterator[tuple[str, Body]]:
    yield "open", ask(serve())
    yield "one_ticker", ask(serve(models_dir=models_saying(folder / "m", 0.9), data_dir=folder / "1"), "?ticker=SPY")
    yield "unsupported", ask(serve(), "?tickers=UVXY,SPY")
    market.edit, market.fault = no_open_anywhere, no_snapshot
    yield "gated", ask(serve(data_dir=folder / "2"))
    market.edit, market.fault = (lambda path, body: body), (lambda path: Reply(500, None))
    yield "fault", ask(serve(data_dir=folder / "3"))
    clock.set("2025-03-08 12:00")
    yield "closed", ask(serve())


def shape_of(value: object) -> object:
    """Keys and JSON types, values left out."""
    if isinstance(value, dict):
        return {key: shape_of(member) for key, member in value.items()}
    if isinstance(value, list):
        return [shape_of(value[0])] if value else []
    return "number" if type(value) in (int, float) else type(value).__name__


def test_samples_have_todays_shape(serve: Serve, clock: FakeClock, market: ScriptedMarket, tmp_path: Path) -> None:
    """UPDATE_SAMPLES=1 writes them: allowed while v1 is being built, never after."""
    for name, body in sample_cases(serve, clock, market, tmp_path):
        path = SAMPLES / f"trading_directions_{name}.json"
        if os.environ.get("UPDATE_SAMPLES"):
            path.write_text(json.dumps(body, indent=1) + "\n")
        assert shape_of(body) == shape_of(json.loads(path.read_text())), name
