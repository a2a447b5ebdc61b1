"""The OpenAPI document of v1: valid, complete, true of every committed sample, and strict enough to refuse damage."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from jsonschema import ValidationError
from openapi_spec_validator import OpenAPIV31SpecValidator

import blueprints
from app.config.api_versions import VERSIONS, Version
from tests.blueprints.contract import SAMPLES, sample
from tests.blueprints.openapi import document, documented, operations, validate

Body = dict[str, Any]
Serve = Callable[..., Flask]
NAMES = sorted(path.stem for path in SAMPLES.glob("*.json"))
REFUSALS = {"predict_error": ("/predict", 503), "replay_error": ("/replay", 400), "error_unsupported": ("/mtf", 400)}
OPEN = {
    "/Health/properties/operations",
    "/ModelInfo/properties/models",
    "/ModelInfo/properties/combined",
    "/Pattern",
    "/PatternBatch",
    "/PatternBatch/properties/fvgs/items",
}
ALIASES = {
    "/trading_directions": "/trading-directions",
    "/daily_signals": "/daily-signals",
    "/signal_breakdown": "/signal-breakdown",
}


def about(name: str) -> tuple[str, int]:
    """Path and status that a sample is an answer of."""
    if name in REFUSALS:
        return REFUSALS[name]
    return max((path for path in operations() if name.startswith(path[1:])), key=len), 200


def objects(schema: object, where: str = "") -> Iterator[tuple[str, Body]]:
    """Every object schema below, with its place."""
    if isinstance(schema, dict):
        if schema.get("type") in ("object", ["object", "null"]):
            yield where, schema
        for key, member in schema.items():
            yield from objects(member, f"{where}/{key}")
    elif isinstance(schema, list):
        for place, member in enumerate(schema):
            yield from objects(member, f"{where}/{place}")


@pytest.mark.parametrize("version", [version for version in VERSIONS if version.released], ids=lambda v: f"v{v.number}")
def test_a_released_contract_is_the_one_that_was_promised(version: Version) -> None:
    """A change to it breaks clients: it belongs into a new version."""
    schema = Path(blueprints.__file__).parent / f"v{version.number}" / "openapi.json"
    assert hashlib.sha256(schema.read_bytes()).hexdigest() == version.contract


def test_the_document_is_valid_openapi_3_1() -> None:
    assert document()["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document()).validate()


def test_the_documented_paths_and_methods_are_v1s_routes(serve: Serve) -> None:
    routed = {
        (rule.rule, method)
        for rule in serve().url_map.iter_rules()
        if rule.endpoint.startswith("v1.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert set(operations().items()) == routed


@pytest.mark.parametrize(("one", "other"), ALIASES.items())
def test_both_spellings_are_documented_alike(one: str, other: str) -> None:
    described = [next(iter(document()["paths"][path].values())) for path in (one, other)]
    assert described[0]["parameters"] == described[1]["parameters"]
    assert described[0]["responses"] == described[1]["responses"]


@pytest.mark.parametrize("path", sorted(operations()))
def test_every_path_documents_every_status_a_client_may_meet(path: str) -> None:
    for status in (200, 400, 401, 404, 405, 410, 413, 429, 500, 503):
        assert documented(path, status), status


@pytest.mark.parametrize("path", ["/predict", "/batch_predict"])
@pytest.mark.parametrize("status", [408, 415])
def test_what_may_befall_a_body_is_documented_where_there_is_one(path: str, status: int) -> None:
    assert documented(path, status)
    assert not documented("/mtf", status)


def test_every_object_is_closed_but_those_the_contract_leaves_open() -> None:
    found = list(objects(document()["components"]["schemas"]))
    assert len(found) > 100
    assert [where for where, schema in found if "additionalProperties" not in schema] == []
    assert {where for where, schema in found if schema["additionalProperties"] is True} == OPEN


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_sample_is_what_the_document_promises(name: str) -> None:
    validate(*about(name), sample(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_without_any_one_of_its_top_fields_is_refused(name: str) -> None:
    optional = {"usage", "supported_tickers"}
    for key in set(sample(name)) - optional:
        body = sample(name)
        del body[key]
        with pytest.raises(ValidationError):
            validate(*about(name), body)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_with_a_field_too_many_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="surprise"):
        validate(*about(name), {**sample(name), "surprise": 1})


@pytest.mark.parametrize("name", sorted({*NAMES} - {*REFUSALS, "batch_predict", "health", "model_info"}))
def test_a_ticker_with_a_field_too_many_is_refused(name: str) -> None:
    body = sample(name)
    (body.get("tickers") or body["models"])["SPY" if "unsupported" not in name else "UVXY"]["surprise"] = 1
    with pytest.raises(ValidationError):
        validate(*about(name), body)


MISSING = object()
DAMAGE: list[tuple[str, str, object]] = [
    ("trading_directions_open", "tickers.SPY.reason", MISSING),
    ("trading_directions_open", "tickers.SPY.reason", None),
    ("trading_directions_one_ticker", "tickers.SPY.entry.price", "446.84"),
    ("trading_directions_open", "tickers.SPY.action", "BUY_CALL"),
    ("trading_directions_open", "tickers.SPY.probability_a", 0),
    ("trading_directions_open", "tickers.SPY.confidence", 79.5),
    ("trading_directions_open", "tickers.SPY.error", "Something."),
    ("trading_directions_open", "action", "NO_TRADE"),
    ("trading_directions_open", "ticker", "SPY"),
    ("trading_directions_open", "summary.actionable_tickers", None),
    ("trading_directions_open", "model_accuracy.peak_hours", MISSING),
    ("trading_directions_open", "generated_at", "2025-03-11T11:30:00"),
    ("trading_directions_open", "current_time_et", "2:05 PM ET"),
    ("trading_directions_closed", "action", MISSING),
    ("trading_directions_closed", "reason", MISSING),
    ("trading_directions_closed", "tickers.SPY.reason_code", "CLOSED"),
    ("trading_directions_fault", "tickers.SPY.error_code", MISSING),
    ("trading_directions_one_ticker", "bucket", MISSING),
    ("trading_directions_one_ticker", "ticker", MISSING),
    ("mtf_open", "tickers.SPY.intraday.phase2.reasons", MISSING),
    ("mtf_open", "tickers.SPY.intraday.phase4.invalidation_context", None),
    ("mtf_open", "tickers.SPY.intraday.phase2.health_score", True),
    ("mtf_open", "tickers.SPY.intraday.phase1.key_levels.pivot", None),
    ("mtf_open", "tickers.SPY.swing.phase1.levels.sma_20", None),
    ("mtf_open", "tickers.SPY.swing.v6_swing", {"prob_1d_up": None}),
    ("mtf_open", "tickers.SPY.alignment", {"status": "ALIGNED"}),
    ("mtf_unsupported", "tickers.UVXY.swing", MISSING),
    ("replay_open", "tickers.SPY.v6.reason_code", None),
    ("replay_open", "tickers.SPY.northstar.phase3.throttle", "SHUT"),
    ("replay_open", "v6_signals.SPY.bucket", "strong"),
    ("replay_open", "source", "live"),
    ("rpe_open", "tickers.SPY.phase5_learning_forecasting.horizons", []),
    ("rpe_open", "tickers.SPY.invariants.no_repainting", False),
    ("northstar_one_ticker", "analysis", MISSING),
    ("northstar_fault", "tickers.SPY.bars_available", "0"),
    ("swing_open", "timeframes", ["DAILY"]),
    ("daily_signals_open", "tickers.SPY.risk_reward", None),
    ("daily_signals_open", "tickers.SPY.intraday_model.probability_close_above_open", MISSING),
    ("daily_signals_open", "summary.buys", None),
    ("daily_signals_open", "market_action", "BUY"),
    ("signal_breakdown_open", "tickers.SPY.indicators", []),
    ("signal_breakdown_open", "tickers.SPY.summary.total", "12"),
    ("volatility_meter_open", "tickers.SPY.volatility_score", 40),
    ("price_ranges_open", "tickers.SPY.premarket.color", None),
    ("price_ranges_open", "tickers.SPY.first_30min.open", 1.0),
    ("health", "status", "healthy"),
    ("health", "degraded", None),
    ("health", "operations", []),
    ("models", "models.SPY.artifact_sha256", "abc"),
    ("models", "models.SPY.v6_accuracy", MISSING),
    ("model_info", "feature_cols", None),
    ("batch_predict", "predictions", [{"fvg_id": "a", "error": "no model"}]),
    ("predict_error", "error_code", "NO_MODEL"),
    ("replay_error", "error", None),
    ("error_unsupported", "supported_tickers", "SPY"),
]


def damaged(body: Body, path: str, value: object) -> Body:
    """A copy whose field at the path is another value, or gone."""
    changed = copy.deepcopy(body)
    *way, last = path.split(".")
    place = changed
    for key in way:
        place = place[key]
    if value is MISSING:
        del place[last]
    else:
        place[last] = value
    return changed


@pytest.mark.parametrize(
    ("name", "path", "value"),
    DAMAGE,
    ids=[f"{n}:{p}={'(missing)' if v is MISSING else json.dumps(v)}" for n, p, v in DAMAGE],
)
def test_damage_to_a_sample_is_refused(name: str, path: str, value: object) -> None:
    validate(*about(name), sample(name))
    with pytest.raises(ValidationError):
        validate(*about(name), damaged(sample(name), path, value))


def test_health_may_say_more_about_its_operations() -> None:
    validate("/health", 200, damaged(sample("health"), "operations", {"anything": {"at": ["all"]}}))


def test_an_answer_may_hold_some_tickers_only() -> None:
    body = sample("mtf_open")
    del body["tickers"]["QQQ"]
    validate("/mtf", 200, body)


def test_what_is_not_documented_is_no_answer_of_v1() -> None:
    assert not documented("/livez", 200)
    assert not documented("/mtf", 302)
    with pytest.raises(KeyError):
        validate("/mtf", 302, {})
