"""Paths of the provider that the tests of the simulator ask for, and the rows of a response."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import requests

from tests.waiting import PATIENCE_S

DAY = date(2025, 3, 11)
MINUTES = f"/v2/aggs/ticker/SPY/range/1/minute/{DAY}/{DAY}"
DAILY = f"/v2/aggs/ticker/SPY/range/1/day/2025-03-03/{DAY}"
SNAPSHOT = "/v2/snapshot/locale/us/markets/stocks/tickers/SPY"
STATUS = "/v1/marketstatus/now"

Get = Callable[..., requests.Response]


def rows(get: Get, path: str = MINUTES) -> list[dict[str, Any]]:
    body = get(path).json()
    found: list[dict[str, Any]] = body.get("results", [])
    assert body["resultsCount"] == len(found)
    return found


def get_alone(address: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(address, timeout=PATIENCE_S)
