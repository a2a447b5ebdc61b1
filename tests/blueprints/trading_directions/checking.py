"""How an answer of `/trading_directions` is checked field by field (v1-contract.md 4.1, policy.md 13)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask

from app.market.bars import to_ms
from app.market.polygon import Reply
from tests.support import dropping, new_york

SAMPLES = Path(__file__).parents[2] / "contract" / "v1"
NAMES_ONE = re.compile(r"[?&]ticker=(?!all|ALL)\w")
Body = dict[str, Any]
Serve = Callable[..., Flask]
TOP = {
    "generated_at": str,
    "current_time_et": str,
    "current_hour": int,
    "market_open": bool,
    "session": str,
    "time_multiplier": float,
    "tickers": dict,
    "best_ticker": (str, None),
    "summary": dict,
    "trading_rules": dict,
    "model_accuracy": dict,
    "message": str,
    "spec_version": str,
    "engine_version": str,
    "data_status": dict,
}
CLOSED_ONLY = {"action": str, "reason": str}
MIRROR = {
    "ticker": str,
    "action": str,
    "reason": str,
    "action_label": str,
    "direction": str,
    "probability_a": (float, None),
    "probability_b": (float, None),
    "session": str,
    "bucket": str,
    "position_pct": float,
    "entry": (dict, None),
    "exit": (dict, None),
}
ENTRY = {
    "action": str,
    "action_label": str,
    "direction": str,
    "reason": str,
    "reason_code": str,
    "probability_a": (float, None),
    "probability_b": (float, None),
    "target_a_prob": (float, None),
    "target_b_prob": (float, None),
    "probability": (float, None),
    "active_target": (str, None),
    "session": str,
    "bucket": str,
    "confidence_tier": str,
    "confidence": int,
    "position_pct": float,
    "current_price": (float, None),
    "today_open": (float, None),
    "price_11am": (float, None),
    "today_change_pct": (float, None),
    "stop_loss": (float, None),
    "take_profit": (float, None),
    "entry": (dict, None),
    "exit": (dict, None),
    "thresholds": dict,
    "multipliers": dict,
    "model_accuracy": dict,
    "bars_analyzed": int,
    "in_sample": bool,
    "locked": bool,
    "locked_at": (str, None),
    "lock_expires_at": (str, None),
    "probability_raw": (float, None),
    "spec_version": str,
    "engine_version": str,
}
FAULT = {"error": str, "error_code": str}
NESTED: dict[str, dict[str, Any]] = {
    "summary": {"recommendation": str, "actionable_tickers": list, "best_opportunity": (str, None)},
    "trading_rules": {"entry": list, "sizing": dict, "exit": dict},
    "model_accuracy": {"late_target_a": str, "late_target_b": str, "peak_hours": str},
    "data_status": {
        "source": str,
        "plan": (str, None),
        "delayed": bool,
        "stale": bool,
        "as_of": (str, None),
        "age_s": (int, None),
    },
}
ENTRY_NESTED: dict[str, dict[str, Any]] = {
    "thresholds": {"long": float, "short": float, "neutral_low": float, "neutral_high": float},
    "multipliers": {"time": float, "agreement": float, "combined": float},
    "model_accuracy": {"early": (float, None), "late_a": (float, None), "late_b": (float, None)},
    "entry": {"price": float, "type": str},
    "exit": {"take_profit": float, "stop_loss": float, "time_limit": str},
}
ENUMS = {
    "action": {"LONG", "SHORT", "NO_TRADE"},
    "action_label": {"BUY_CALL", "BUY_PUT", "NO_TRADE"},
    "direction": {"LONG", "SHORT", "NEUTRAL"},
    "active_target": {"A", "B", None},
    "session": {"early", "late"},
    "confidence_tier": {"very_high", "high", "medium", "low"},
}


def check_fields(found: Body, schema: dict[str, Any], where: str) -> None:
    """Exactly these keys, each of its type: an extra or a missing one fails by name."""
    assert set(found) - set(schema) == set(), f"{where}: extra fields"
    assert set(schema) - set(found) == set(), f"{where}: missing fields"
    for name, kind in schema.items():
        kinds = kind if isinstance(kind, tuple) else (kind,)
        good = any(found[name] is None if k is None else type(found[name]) is k for k in kinds)
        assert good, f"{where}.{name} is {found[name]!r}"


def check(body: Body, *, single: bool = False) -> Body:
    """The whole contract of one answer; gives the body back."""
    schema = TOP | ({} if body["market_open"] else CLOSED_ONLY) | (MIRROR if single else {})
    check_fields(body, schema, "body")
    for name, nested in NESTED.items():
        check_fields(body[name], nested, name)
    for ticker, entry in body["tickers"].items():
        check_entry(ticker, entry)
    json.loads(json.dumps(body, allow_nan=False))
    return body


def check_entry(ticker: str, entry: Body) -> None:
    if entry.get("error_code") == "UNSUPPORTED_TICKER":
        return check_fields(entry, FAULT, ticker)
    check_fields(entry, ENTRY | (FAULT if "error" in entry else {}), ticker)
    for name, nested in ENTRY_NESTED.items():
        if entry[name] is not None:
            check_fields(entry[name], nested, f"{ticker}.{name}")
    for name, values in ENUMS.items():
        assert entry[name] in values, f"{ticker}.{name}"
    traded = entry["action"] != "NO_TRADE"
    assert [entry[name] is not None for name in ("stop_loss", "take_profit", "entry", "exit")] == [traded] * 4
    assert (entry["position_pct"] > 0, entry["confidence"] > 0) == (traded, traded)
    assert (entry["probability_a"] is None) == (entry["probability_b"] is None) == (entry["probability"] is None)
    assert entry["locked"] == (entry["locked_at"] is not None) == (entry["lock_expires_at"] is not None)
    assert (entry["bucket"] == "neutral") == (not traded)
    return None


def ask(app: Flask, query: str = "", status: int = 200) -> Body:
    response = app.test_client().get(f"/trading_directions{query}")
    assert response.status_code == status, response.text
    assert response.content_type == "application/json"
    body: Body = response.get_json()
    return check(body, single=bool(NAMES_ONE.search(query))) if status == 200 else body


def gated(body: Body, code: str, *, fault: bool) -> None:
    """Every ticker stands at this gate: no numbers, and `error` only where something broke."""
    for entry in body["tickers"].values():
        assert (entry["action"], entry["reason_code"]) == ("NO_TRADE", code), entry["reason"]
        assert entry["probability"] is None
        assert not entry["locked"]
        assert ("error" in entry) is fault
        assert entry["reason"]


def midnight_today(row: Body) -> bool:
    return bool(row["t"] >= to_ms(new_york("2025-03-11 00:00")))


def half_past_nine(row: Body) -> bool:
    return bool(row["t"] == to_ms(new_york("2025-03-11 09:30")))


def no_open_anywhere(path: str, body: Body) -> Body:
    body = dropping("/day/", midnight_today)(path, body)
    return dropping("/minute/", half_past_nine)(path, body)


def no_snapshot(path: str) -> Reply | None:
    return Reply(404, {"status": "NOT_FOUND"}) if "snapshot" in path else None
