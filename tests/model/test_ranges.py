"""How far the price is said to go until the close: in order, wider where more is to be covered, narrower on calm days."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config.settings import ARTEFACTS
from app.factory import POLICY
from app.model.features import DECISION_HOURS
from app.model.ranges import DECIDED, PriceRange
from app.model.served import load_models
from app.model.v6 import V6Model

MODELS = tuple(load_models(ARTEFACTS, ("SPY", "QQQ", "IWM"), POLICY).models.values())
CALM, RESTLESS = math.log(0.001**2), math.log(0.03**2)
"""Of the forecast variance: standard deviations of 0.1 and 3 per cent for the rest of the day."""

hours = st.sampled_from(DECISION_HOURS)
models = st.sampled_from(MODELS)
prices = st.floats(1, 10_000)
variances = st.floats(CALM, RESTLESS)


def is_within(inner: PriceRange, outer: PriceRange) -> bool:
    return outer.low < inner.low < inner.high < outer.high


@given(model=models, hour=hours, price=prices, log_variance=variances)
def test_the_price_lies_within_and_the_surer_range_around_the_other(
    model: V6Model, hour: int, price: float, log_variance: float
) -> None:
    half, most = model.ranges.at(hour, price, log_variance)
    assert (half.level, most.level) == DECIDED == (0.5, 0.8)
    assert half.low < price < half.high
    assert is_within(half, most)


@given(model=models, hour=hours, price=prices, log_variance=variances)
def test_a_calmer_day_has_narrower_ranges(model: V6Model, hour: int, price: float, log_variance: float) -> None:
    calm, restless = (model.ranges.at(hour, price, log_variance + more) for more in (-0.1, 0.1))
    assert all(is_within(one, other) for one, other in zip(calm, restless, strict=True))


def test_the_ends_are_usd_in_proportion_to_the_price() -> None:
    ranges = MODELS[0].ranges
    (cheap, _), (dear, _) = (ranges.at(12, price, math.log(0.01**2)) for price in (100.0, 500.0))
    assert (dear.low, dear.high) == pytest.approx((5 * cheap.low, 5 * cheap.high))
    assert 98 < cheap.low < 100 < cheap.high < 102, "half of the days go less far than a standard deviation or two"
