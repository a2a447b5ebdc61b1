"""The 200 golden answers of the existing app, field by field (spec/README.md, decision 3)."""

from __future__ import annotations

import gzip
import json
import math
import os
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.market.bars import Bars
from app.market.calendar import Calendar, ny
from app.structure import View, analyse, analyse_swing, quote_of, view_at
from app.structure.swing import weeks_of
from tests.structure.plain import plain

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / os.environ.get("GOLDEN_DIR", "../shared/golden") / "structure"
FILES = sorted(GOLDEN.glob("*.json.gz"))
CALENDAR = Calendar()
MINUTE_MS = 60_000
BY_TOKEN = "northstar.phase1.failure.failure_types"
BY_NAME = "rpe.phase5_learning_forecasting.horizons"
FREE_TEXT: dict[str, Callable[[Any], Any]] = {
    "_count": len,
    "_is_null": lambda text: text is None,
    "_is_empty": lambda text: text == "",
}
UNROUNDED = ("rpe.phase", "swing.phase1.volume.avg_volume_20d")

Leaf = tuple[str, Any, Any]
needs_golden = pytest.mark.skipif(not FILES, reason=f"no golden files in {GOLDEN}: set GOLDEN_DIR")


def read(path: Path) -> dict[str, Any]:
    case: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return case


def bars(columns: dict[str, list[float]], ends: Any) -> Bars:
    t = np.array(columns["t"], dtype=np.int64)
    return Bars(t=t, end=ends(t), **{name: np.array(columns[name], dtype=np.float64) for name in "ohlcv"})


def intraday_view(case: dict[str, Any]) -> View:
    """As the server would come by it: today's daily bar is not given but rebuilt from its open and the minutes."""
    at = datetime.fromisoformat(case["as_of"])
    daily = bars(case["daily_bars"], CALENDAR.day_ends)
    minutes = bars(case["minute_bars"], lambda t: t + MINUTE_MS)
    return view_at(minutes, daily[:-1], CALENDAR.session_at(at), at, official_open=float(daily.o[-1]))


def swing_view(case: dict[str, Any]) -> View:
    """At the end of the day, when its daily bar has ended."""
    at = ny(date.fromisoformat(case["date"]), time(17))
    daily = bars(case["daily_bars"], CALENDAR.day_ends)
    return view_at(daily[:0], daily, CALENDAR.session_at(at), at)


def answers(case: dict[str, Any]) -> dict[str, Any]:
    if case["kind"] == "swing":
        return {"swing": plain(analyse_swing(case["symbol"], swing_view(case)))}
    found = analyse(case["symbol"], intraday_view(case))
    return {"northstar": plain(found.northstar), "rpe": {**plain(found.rpe), **plain(found.quote)}}


def leaves(path: str, golden: Any, ours: Any) -> Iterator[Leaf]:
    """Every golden value beside ours, with its path."""
    if path == BY_TOKEN:
        yield path, golden, [entry.split(":")[0] for entry in ours]
    elif path == BY_NAME:
        by_name = {horizon["horizon_name"]: horizon for horizon in ours}
        for horizon in golden:
            yield from leaves(f"{path}[]", horizon, by_name[horizon["horizon_name"]])
    elif isinstance(golden, dict):
        for key, value in golden.items():
            yield from leaves(f"{path}.{key}", value, mine(ours, key))
    elif isinstance(golden, list) and len(golden) == len(ours):
        yield f"{path}.length", len(golden), len(ours)
        for value, our in zip(golden, ours, strict=True):
            yield from leaves(f"{path}[]", value, our)
    else:
        yield path, golden, ours


def mine(ours: dict[str, Any], key: str) -> Any:
    """Our value under a golden key; of free text only what the golden file says about it."""
    for suffix, seen in FREE_TEXT.items():
        if key.endswith(suffix):
            return seen(ours[key.removesuffix(suffix)])
    return ours[key]


def agrees(leaf: Leaf) -> bool:
    path, golden, ours = leaf
    if type(golden) is not type(ours):
        return False
    if isinstance(golden, float) and path.startswith(UNROUNDED):
        return math.isclose(golden, ours, rel_tol=1e-9, abs_tol=0.0)
    return bool(golden == ours)


@pytest.mark.integration
@needs_golden
def test_golden_files_agree_in_every_field(record_property: Callable[[str, object], None]) -> None:
    compared = equal = 0
    wrong: list[str] = []
    for path in FILES:
        case = read(path)
        ours = answers(case)
        for leaf in (leaf for root, tree in ours.items() for leaf in leaves(root, case[root], tree)):
            compared += 1
            equal += agrees(leaf)
            if not agrees(leaf):
                wrong.append(f"{path.name} {leaf[0]}: golden {leaf[1]!r}, ours {leaf[2]!r}")
    summary = f"{len(FILES)} golden files, {compared} fields compared, {equal} equal"
    record_property("golden", summary)
    print(summary)
    assert not wrong, "\n".join([summary, *wrong[:40]])


@pytest.mark.integration
@needs_golden
def test_golden_daily_bar_of_today_is_rebuilt_from_the_minutes_and_the_official_open() -> None:
    for path in FILES:
        case = read(path)
        if case["kind"] == "intraday":
            assert intraday_view(case).days.equals(bars(case["daily_bars"], CALENDAR.day_ends)), path.name


@pytest.mark.integration
@needs_golden
def test_golden_weeks_are_those_made_of_the_days() -> None:
    """Weekly bars are no input of ours (S7): those of the golden files, built by the vendor, say the same."""
    for path in FILES:
        case = read(path)
        if case["kind"] == "swing":
            weeks, golden = weeks_of(swing_view(case).days), case["weekly_bars"]
            assert weeks.closes.tolist() == golden["c"], path.name
            assert (weeks.high, weeks.low) == (golden["h"][-1], golden["l"][-1]), path.name


@pytest.mark.integration
@needs_golden
def test_golden_inputs_lie_inside_the_window_that_the_view_keeps() -> None:
    for path in FILES:
        case = read(path)
        view = swing_view(case) if case["kind"] == "swing" else intraday_view(case)
        assert len(view.days) == len(case["daily_bars"]["t"]), path.name
        assert quote_of(view).bars_analyzed == len(case.get("minute_bars", {"t": []})["t"]), path.name
