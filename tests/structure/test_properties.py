"""What holds for all bars: finite numbers, known words, and nothing seen that had not ended."""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from datetime import datetime, time, timedelta
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.market.bars import Bars, no_bars, to_ms
from app.market.calendar import ny
from app.structure import Activity, Intraday, Probabilities, Swing, analyse, analyse_swing, view_at
from app.structure.view import LEAST_USD, MOST_SHARES, MOST_USD
from tests.structure.making import CALENDAR, DAY, days, joined, minutes
from tests.structure.plain import plain

SESSION = CALENDAR.session(DAY)
Market = tuple[Bars, Bars, datetime, float | None]


def holds_for(*drawn: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[[int], None]]:
    """A test that a property holds for 50 draws in CI and for 150 in the soak."""

    def tested(holds: Callable[..., None]) -> Callable[[int], None]:
        @pytest.mark.parametrize("examples", [50, pytest.param(150, marks=pytest.mark.soak)])
        def test(examples: int) -> None:
            settings(max_examples=examples)(given(*drawn)(holds))()

        return test

    return tested


@st.composite
def column_sets(draw: st.DrawFn, least: int, most: int) -> dict[str, list[float]]:
    """Valid prices and volumes of some bars: calm or wild, cheap or dear, sometimes flat, sometimes without volume."""
    count = draw(st.integers(least, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    base = draw(st.sampled_from([LEAST_USD * 1e4, 0.5, 100.0, 600.0, MOST_USD / 1e3]))
    scale = draw(st.sampled_from([0.0, 1e-6, 1e-4, 1e-3, 1e-2, 0.3]))
    grid = draw(st.sampled_from([0.0, base / 1000]))
    walk = base * np.exp(np.clip(np.cumsum(rng.normal(0, scale, 2 * count)), -5, 5))
    walk = np.maximum(np.round(walk / grid) * grid, base / 1000) if grid else walk
    o, c = walk[::2], walk[1::2]
    h = np.maximum(o, c) * (1 + scale * rng.random(count))
    low = np.minimum(o, c) * (1 - scale * rng.random(count))
    volumes = draw(st.sampled_from([0.0, 5e-324, 1.0, 1e5, MOST_SHARES["minute"]])) * rng.random(count)
    if draw(st.booleans()):
        volumes[rng.random(count) < 0.5] = 0.0
    return {name: x.tolist() for name, x in {"closes": c, "o": o, "h": h, "low": low, "v": volumes}.items()}


@st.composite
def markets(draw: st.DrawFn) -> Market:
    """Minutes from some time of the day on, days before it, a moment, and perhaps an open."""
    start = time(draw(st.integers(4, 15)), draw(st.integers(0, 59)))
    bars = minutes(**draw(column_sets(1, 240)), start=start)  # type: ignore[arg-type]
    keep = np.flatnonzero(
        np.random.default_rng(draw(st.integers(0, 99))).random(len(bars)) < draw(st.sampled_from([1, 0.8]))
    )
    bars = joined(*(bars[int(i) : int(i) + 1] for i in keep)) if len(keep) else bars
    daily = days(**draw(column_sets(1, 70))) if draw(st.booleans()) else no_bars()  # type: ignore[arg-type]
    at = ny(DAY, time(4)) + timedelta(seconds=draw(st.integers(0, 18 * 3600)))
    return bars, daily, at, draw(st.sampled_from([None, float(bars.o[0]), float(bars.c[-1]) * 1.01]))


def probabilities() -> st.SearchStrategy[Probabilities | None]:
    chance = st.one_of(st.none(), st.floats(0, 1))
    return st.one_of(st.none(), st.builds(Probabilities, chance, chance, st.booleans()))


def answer(market: Market, **more: Any) -> tuple[Intraday, Swing]:
    bars, daily, at, opened = market
    seen = view_at(bars, daily, SESSION, at, official_open=opened)
    return analyse("SPY", seen, **more), analyse_swing("SPY", seen)


def wrong(value: Any, hint: Any, path: str) -> Iterator[str]:
    """Where a value is not what its annotation says: type, finite number, member of its enum."""
    origin = get_origin(hint)
    if origin in (types.UnionType,):
        options = get_args(hint)
        if value is not None or type(None) not in options:
            (real,) = (option for option in options if option is not type(None))
            yield from wrong(value, real, path)
    elif origin is tuple:
        kinds = get_args(hint)
        for i, item in enumerate(value):
            yield from wrong(item, kinds[0] if kinds[-1] is Ellipsis else kinds[i], f"{path}[{i}]")
    elif is_dataclass(hint):
        hints = get_type_hints(hint)
        for field in fields(hint):
            yield from wrong(getattr(value, field.name), hints[field.name], f"{path}.{field.name}")
    elif hint is float:
        if type(value) is not float or not math.isfinite(value):
            yield f"{path}: {value!r} is no finite float"
    elif type(value) is not (type(None) if hint is None else hint):
        yield f"{path}: {value!r} is no {hint}"


@holds_for(markets(), st.integers(0, 12), probabilities())
def test_every_number_is_finite_and_every_word_known(market: Market, signals: int, v6: Probabilities | None) -> None:
    intraday, swing = answer(market, activity=Activity(signals_last_10m=signals), v6=v6)
    assert not list(wrong(intraday, Intraday, "intraday"))
    assert not list(wrong(swing, Swing, "swing"))


@holds_for(markets(), column_sets(1, 60))
def test_bars_that_had_not_ended_change_nothing(market: Market, future: dict[str, list[float]]) -> None:
    """Neither those that come, nor the running one, nor a daily bar of today that knows the evening already."""
    bars, daily, at, opened = market
    known = bars.until(at)
    coming = minutes(**future, start=at.time().replace(second=0))  # type: ignore[arg-type]
    tomorrow = DAY + timedelta(days=1)
    today = days(**{name: values[:1] for name, values in future.items()}, before=tomorrow)
    expected = answer((known, daily, at, opened))
    assert answer(market) == expected
    assert answer((joined(known, coming), daily, at, opened)) == expected
    if to_ms(at) < today.end[0]:
        assert answer((known, joined(daily, today), at, opened)) == expected


@holds_for(markets(), st.integers(0, 12), probabilities())
def test_what_is_promised_between_fields_holds(market: Market, signals: int, v6: Probabilities | None) -> None:
    intraday, swing = answer(market, activity=Activity(signals_last_10m=signals), v6=v6)
    northstar, rpe = intraday.northstar, intraday.rpe
    assert northstar.phase4.allowed is (northstar.phase4.execution_mode != "NO_TRADE")
    assert northstar.phase1.mtf.aligned is (northstar.phase1.mtf.conflict_tf is None) or not northstar.phase1.resolved
    assert 1 <= len(northstar.phase4.invalidation_context) <= 3
    for failure, token in zip(
        northstar.phase1.failure.failure_types, rpe.phase1_truth.failures.failure_types, strict=True
    ):
        assert failure.startswith(token)
    for horizon in rpe.phase5_learning_forecasting.horizons:
        prob = horizon.direction_prob
        assert min(prob.UP, prob.DOWN, prob.FLAT) >= 0
        assert math.isclose(prob.UP + prob.DOWN + prob.FLAT, 1)
        assert 0 <= horizon.confidence <= 1
    assert 0 <= northstar.phase1.volatility_expansion.probability <= 0.95
    assert all(0 <= score <= 100 for score in (rpe.phase1_truth.aggregation.truth_score, swing.phase2.health_score))
    assert swing.phase4.allowed is (swing.phase4.mode != "NO_TRADE")
    if swing.phase4.allowed and swing.phase4.invalidation_levels:
        assert len(swing.phase4.invalidation_levels[0].split()) == 3


@holds_for(markets())
def test_the_same_bars_give_the_same_answer(market: Market) -> None:
    assert [plain(part) for part in answer(market)] == [plain(part) for part in answer(market)]


def test_the_check_itself_can_fail() -> None:
    found = answer((minutes([100.0] * 40), no_bars(), ny(DAY, time(12)), None))[0]
    object.__setattr__(found.northstar.phase1.key_levels, "pivot", math.nan)
    object.__setattr__(found.northstar.phase4, "bias", "LONG")
    assert len(list(wrong(found, Intraday, "intraday"))) == 2
    assert not isinstance("LONG", Enum)
