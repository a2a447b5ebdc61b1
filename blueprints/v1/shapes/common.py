"""What several of v1's shapes share: the versions, the envelope, faults."""

from __future__ import annotations

from datetime import datetime

from app.errors import PredictError
from app.market.plan import Plan
from app.model.artefact import ENGINE_VERSION
from app.signals.policy import SPEC_VERSION
from blueprints.shared import sentences
from blueprints.shared.values import Json, iso, time_et


def versions() -> Json:
    return {"spec_version": SPEC_VERSION, "engine_version": ENGINE_VERSION}


def envelope(at: datetime) -> Json:
    """What stands on top of every Tier A answer."""
    return {"generated_at": iso(at), "current_time_et": time_et(at), **versions()}


def fault(exc: PredictError, plan: Plan) -> Json:
    """The two keys of a ticker whose data could not be had."""
    return {"error": sentences.error(exc.message, plan), "error_code": exc.code}


def unsupported(ticker: str) -> Json:
    return {"error": f"{ticker} is not supported.", "error_code": "UNSUPPORTED_TICKER"}
