"""What each data plan may read of the simulated provider."""

from __future__ import annotations

import pytest
import requests

from app.market.bars import to_ms
from app.market.feed_transport import FeedTransport
from app.simulator.server import PolygonSimulator
from tests.simulator.paths import MINUTES, SNAPSHOT
from tests.support import FakeClock, new_york

pytestmark = pytest.mark.integration


def statuses(
    plan: str, transport: FeedTransport, clock: FakeClock, session: requests.Session, *paths: str
) -> list[tuple[int, str]]:
    with PolygonSimulator(transport, plan=plan, clock=clock) as provider:
        answers = [session.get(provider.address + path) for path in paths]
    return [(answer.status_code, answer.json()["status"]) for answer in answers]


def days(first: str, last: str) -> str:
    return f"/v2/aggs/ticker/SPY/range/1/day/{first}/{last}"


OK, DELAYED, REFUSED = (200, "OK"), (200, "DELAYED"), (403, "NOT_AUTHORIZED")


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ("advanced", [OK, OK, OK, OK, OK, OK]),
        ("starter", [OK, DELAYED, DELAYED, DELAYED, DELAYED, REFUSED]),
        ("basic", [REFUSED, REFUSED, OK, OK, REFUSED, REFUSED]),
    ],
)
def test_a_plan_has_what_it_has(
    transport: FeedTransport, clock: FakeClock, session: requests.Session, plan: str, expected: list[tuple[int, str]]
) -> None:
    yesterday, two, before_two = "2025-03-10", "2023-03-11", "2023-03-10"
    paths = [
        SNAPSHOT,
        MINUTES,
        days("2025-03-03", yesterday),
        days(two, yesterday),
        days(before_two, yesterday),
        days("2020-03-10", yesterday),
    ]
    assert statuses(plan, transport, clock, session, *paths) == expected


def test_a_plan_reads_moments_as_days(transport: FeedTransport, clock: FakeClock, session: requests.Session) -> None:
    last_ms = to_ms(new_york("2025-03-10 23:59"))
    paths = [days(str(last_ms - 60_000), str(last_ms)), days(str(last_ms), str(last_ms + 60_000))]
    assert statuses("basic", transport, clock, session, *paths) == [OK, REFUSED]


def test_bad_dates_are_bad_dates_on_every_plan(
    transport: FeedTransport, clock: FakeClock, session: requests.Session
) -> None:
    assert statuses("basic", transport, clock, session, days("x", "y")) == [(400, "ERROR")]


def test_a_plan_without_its_clock_is_refused(transport: FeedTransport) -> None:
    with pytest.raises(ValueError, match="needs a clock"):
        PolygonSimulator(transport, plan="basic")
    with pytest.raises(ValueError, match="advanced, starter, basic"):
        PolygonSimulator(transport, plan="platinum")
