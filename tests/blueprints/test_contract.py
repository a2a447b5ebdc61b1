"""The counting of fields itself: a contract test that cannot fail would freeze nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.blueprints.contract import SAMPLES, Schema, sample
from tests.blueprints.trading_directions.checking import check

Body = dict[str, Any]


def extra(body: Body) -> None:
    body["tickers"]["SPY"]["surprise"] = 1


def missing(body: Body) -> None:
    del body["tickers"]["SPY"]["intraday"]["phase2"]["reasons"]


def retyped(body: Body) -> None:
    body["tickers"]["SPY"]["current_price"] = "485.1"


def nulled(body: Body) -> None:
    body["tickers"]["SPY"]["intraday"]["phase4"]["invalidation_context"] = None


def boolean_for_number(body: Body) -> None:
    body["tickers"]["SPY"]["intraday"]["phase2"]["health_score"] = True


def not_a_number(body: Body) -> None:
    body["tickers"]["SPY"]["current_price"] = float("nan")


def top_level(body: Body) -> None:
    del body["spec_version"]


@pytest.mark.parametrize("damage", [extra, missing, retyped, nulled, boolean_for_number, not_a_number, top_level])
def test_the_schema_refuses_any_other_shape(damage: Callable[[Body], None]) -> None:
    schema, body = Schema("mtf_open"), sample("mtf_open")
    schema.check(body)
    damaged = copy.deepcopy(body)
    damage(damaged)
    with pytest.raises(AssertionError):
        schema.check(damaged)


@pytest.mark.parametrize("name", sorted(path.stem for path in SAMPLES.glob("trading_directions_*.json")))
def test_the_samples_of_trading_directions_keep_the_contract(name: str) -> None:
    check(sample(name), single=name.endswith("one_ticker"))


@pytest.mark.parametrize("key", ["action", "tickers", "best_ticker", "model_accuracy", "data_status"])
def test_trading_directions_without_a_field_fails_by_name(key: str) -> None:
    body = sample("trading_directions_closed")
    del body[key]
    with pytest.raises((AssertionError, KeyError), match=key):
        check(body)


def test_trading_directions_with_a_field_too_many_fails_by_name() -> None:
    body = sample("trading_directions_open")
    body["tickers"]["QQQ"]["surprise"] = 1
    with pytest.raises(AssertionError, match="QQQ: extra fields"):
        check(body)
