"""Features are computed about the 11:00 price that was shown."""

from __future__ import annotations

import pytest

from app.model.features import Features
from app.model.price_11am import with_price_11am
from tests.model.test_features import features, five_minutes, named, session


def shown(price: float, hour: int) -> Features:
    return features(hour, with_price_11am(five_minutes(), session(), price))


def test_features_are_about_the_price_that_was_shown() -> None:
    found, own = named(shown(129.5, 14)), named(features(14))
    price = features(14).price
    assert shown(129.5, 14).price_11am == 129.5
    assert found["current_vs_11am"] == pytest.approx(price / 129.5 - 1)
    assert found["range_so_far_pct"] > own["range_so_far_pct"]
    assert found["last_hour_return"] == own["last_hour_return"]


def test_at_eleven_the_price_is_the_one_that_was_shown() -> None:
    found = shown(129.5, 11)
    assert (found.price, named(found)["current_vs_11am"]) == (129.5, 0)


def test_before_eleven_nothing_changes() -> None:
    assert shown(129.5, 10).inputs.tobytes() == features(10).inputs.tobytes()


@pytest.mark.parametrize("price", [None, features(11).price_11am])
def test_the_bars_are_as_they_were_where_nothing_else_was_shown(price: float | None) -> None:
    bars = five_minutes()
    assert with_price_11am(bars, session(), price) is bars


def test_a_day_without_bars_before_eleven_stays_without() -> None:
    late = five_minutes()[20:]
    assert with_price_11am(late, session(), 129.5) is late
    assert not len(with_price_11am(late[:0], session(), 129.5))
