"""A rehearsal of the end of version 1: it is deprecated with a sunset, and headers, documents and the 410 follow from one
table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from flask import Flask

from app.clock import Timer
from app.config.api_versions import VERSIONS, Versions
from app.factory import create_app
from tests.support import FakeClock, ScriptedMarket, settings

DEPRECATED, SUNSET = date(2027, 1, 4), date(2027, 7, 5)
ENDING = Versions([replace(VERSIONS[1], deprecated=DEPRECATED, sunset=SUNSET, successor=2), VERSIONS[2]])
ROUTES = ["/trading_directions", "/trading-directions?ticker=SPY", "/mtf", "/swing", "/v1/rpe", "/health", "/nothing"]


@dataclass
class Calendar:
    """The day by which the table of versions is read."""

    day: date

    def seconds(self) -> float:
        return datetime(self.day.year, self.day.month, self.day.day, 12, tzinfo=UTC).timestamp()


@pytest.fixture
def calendar() -> Calendar:
    return Calendar(date(2027, 1, 3))


@pytest.fixture
def rehearsal(calendar: Calendar, clock: FakeClock, market: ScriptedMarket, tmp_path: Path) -> Flask:
    """A server of which version 1 is deprecated on 2027-01-04 and ends on 2027-07-05."""
    values = settings(market="polygon", polygon_api_key="k", data_dir=tmp_path)
    return create_app(values, clock=clock, transport=market, timer=Timer(epoch=calendar.seconds), versions=ENDING)


@pytest.mark.parametrize("path", ROUTES)
def test_every_answer_of_v1_says_since_when_it_is_deprecated_and_when_it_ends(rehearsal: Flask, path: str) -> None:
    client = rehearsal.test_client()
    for _ in ("made", "kept"):
        headers = client.get(path).headers
        assert datetime.fromtimestamp(int(headers["Deprecation"].removeprefix("@")), UTC).date() == DEPRECATED
        assert parsedate_to_datetime(headers["Sunset"]).date() == SUNSET
        assert '</versions>; rel="successor-version"' in headers["Link"]
        assert 'rel="deprecation"' in headers["Link"]
        assert 'rel="sunset"' in headers["Link"]


@pytest.mark.parametrize("path", ["/v2/trading-directions", "/v2/status", "/docs", "/openapi.json", "/versions"])
def test_v2_and_what_has_no_version_say_nothing_of_it(rehearsal: Flask, path: str) -> None:
    assert {"Deprecation", "Sunset", "Link"} & set(rehearsal.test_client().get(path).headers.keys()) == set()


@pytest.mark.parametrize(
    ("day", "status"),
    [(date(2027, 1, 3), "current"), (DEPRECATED, "deprecated"), (date(2027, 7, 4), "deprecated"), (SUNSET, "gone")],
)
def test_the_list_and_the_page_of_versions_follow(rehearsal: Flask, calendar: Calendar, day: date, status: str) -> None:
    calendar.day = day
    client = rehearsal.test_client()
    one, two = client.get("/versions").get_json()["versions"]
    assert (one["version"], one["status"], one["deprecated"], one["sunset"]) == (1, status, "2027-01-04", "2027-07-05")
    assert (two["version"], two["status"]) == (2, "current")
    page = client.get("/docs/versions").get_data(as_text=True)
    assert f"<td>{status}</td><td>" in page
    assert f"<td>{SUNSET}</td>" in page


def test_on_the_day_of_its_sunset_v1_is_gone_and_v2_goes_on(rehearsal: Flask, calendar: Calendar) -> None:
    client = rehearsal.test_client()
    assert client.get("/swing").status_code == 200
    calendar.day = SUNSET
    for path in ROUTES:
        answer = client.get(path)
        assert answer.status_code == 410, path
        assert answer.get_json() == {"error": "Version 1 ended on 2027-07-05: use version 2.", "error_code": "GONE"}
        assert parsedate_to_datetime(answer.headers["Sunset"]).date() == SUNSET
    assert client.get("/v2/trading-directions").status_code == 200
    assert client.get("/trading_directions", headers={"X-API-Version": "2"}).status_code == 200
    assert [client.get(path).status_code for path in ("/", "/livez", "/docs", "/openapi/v1.json")] == [200] * 4
