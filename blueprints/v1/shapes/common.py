"""What several of v1's shapes share: envelope, freshness, prices, moments, and dataclasses as dicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum
from typing import Any

from app.errors import PredictError
from app.market.calendar import NY
from app.market.plan import Plan
from app.model.artefact import ENGINE_VERSION
from app.pipeline import TickerSignal
from app.signals.policy import SPEC_VERSION, Decision, shown_active, shown_other
from blueprints.v1 import texts

Json = dict[str, Any]
MINUTE = timedelta(minutes=1)


def iso(at: datetime) -> str:
    """ISO 8601 with New York's offset, in whole minutes also before there were time zones; milliseconds where there are
    any."""
    local = at.astimezone(NY)
    offset = local.utcoffset() or timedelta(0)
    if offset % MINUTE:
        local = at.astimezone(timezone(offset // MINUTE * MINUTE))
    return local.isoformat(timespec="milliseconds" if local.microsecond else "seconds")


def versions() -> Json:
    return {"spec_version": SPEC_VERSION, "engine_version": ENGINE_VERSION}


def envelope(at: datetime) -> Json:
    """What stands on top of every Tier A answer."""
    return {"generated_at": iso(at), "current_time_et": time_et(at), **versions()}


def time_et(at: datetime) -> str:
    return at.astimezone(NY).strftime("%I:%M %p ET")


def data_status(at: datetime, signals: Sequence[TickerSignal], plan: Plan, *, failed: bool = False) -> Json:
    """How fresh what was answered is (ruling V3); of several tickers, the oldest. failed: the data of a ticker that was asked
    for could not be had. Where no data can come from anywhere, or none have come, nothing is fresh;
    nor is a plan that lacks the running day."""
    known = [signal.market.as_of for signal in signals if signal.market.as_of is not None]
    as_of = min(known, default=None)
    nothing = not plan.has_data or (as_of is None and not plan.is_answered)
    lacks_today = plan.ends_on is not None
    return {
        "source": plan.source,
        "plan": plan.shown_name,
        "delayed": bool(plan.delay) or any(signal.waiting for signal in signals),
        "stale": failed or nothing or lacks_today or any(signal.market.stale for signal in signals),
        "as_of": iso(as_of) if as_of else None,
        "age_s": int((at - as_of).total_seconds()) if as_of else None,
    }


def price(value: float | None) -> float | None:
    """USD, two decimals, rounded once, here (ruling S5)."""
    return None if value is None else round(value, 2)


def change_pct(now: float | None, official: float | None) -> float | None:
    """Per cent against the official open, two decimals."""
    return None if now is None or official is None else round((now / official - 1) * 100, 2)


def probabilities(decision: Decision) -> tuple[float, float]:
    """(A, B) as emitted: the active one rounded to the safe side (policy.md 4)."""
    early = decision.session == "early"
    p_a = (shown_active if early else shown_other)(decision.p_a)
    p_b = (shown_other if early else shown_active)(decision.p_b)
    return p_a, p_b


def fault(exc: PredictError, plan: Plan) -> Json:
    """The two keys of a ticker whose data could not be had."""
    return {"error": texts.error(exc.message, plan), "error_code": exc.code}


def unsupported(ticker: str) -> Json:
    return {"error": f"{ticker} is not supported.", "error_code": "UNSUPPORTED_TICKER"}


def plain(value: Any) -> Any:
    """Dataclasses as dicts by field name, tuples as lists, enums as their values, moments as ISO text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    return iso(value) if isinstance(value, datetime) else value
