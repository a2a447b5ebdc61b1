"""The table of versions: what it refuses to promise, what it says of each day, and the table that ships."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest

from app.config.api_versions import VERSIONS, Version, Versions, months_after
from app.errors import SettingsError
from app.factory import create_app
from tests.support import FakeClock, ScriptedMarket, settings

DAY = timedelta(days=1)
RELEASED = date(2025, 1, 2)
CONTRACT = "c" * 64
NEXT = Version(2, released=date(2025, 6, 1), contract=CONTRACT)


def ending(deprecated: date | None, sunset: date | None, successor: int | None = 2) -> list[Version]:
    """A table whose first version ends, with a second to move to."""
    old = Version(1, released=RELEASED, deprecated=deprecated, sunset=sunset, successor=successor, contract=CONTRACT)
    return [old, NEXT]


SIX_MONTHS = [
    (date(2026, 1, 1), date(2026, 7, 1)),
    (date(2026, 7, 15), date(2027, 1, 15)),
    (date(2026, 12, 31), date(2027, 6, 30)),
    (date(2026, 8, 31), date(2027, 2, 28)),
    (date(2027, 8, 31), date(2028, 2, 29)),
    (date(2027, 8, 29), date(2028, 2, 29)),
    (date(2028, 2, 29), date(2028, 8, 29)),
    (date(2026, 3, 31), date(2026, 9, 30)),
]


@pytest.mark.parametrize(("deprecated", "sunset"), SIX_MONTHS)
def test_six_months_to_the_day_are_enough_and_a_day_less_is_refused(deprecated: date, sunset: date) -> None:
    assert Versions(ending(deprecated, sunset))[1].sunset == sunset
    assert Versions(ending(deprecated, sunset + DAY))[1].sunset == sunset + DAY
    with pytest.raises(SettingsError, match=r"version 1 .*sunset less than 6 months after its deprecation"):
        Versions(ending(deprecated, sunset - DAY))


@pytest.mark.parametrize(("deprecated", "sunset"), SIX_MONTHS)
def test_months_are_counted_by_the_calendar(deprecated: date, sunset: date) -> None:
    assert months_after(deprecated, 6) == sunset


REFUSED = {
    "sunset before the deprecation": (ending(date(2026, 6, 1), date(2026, 1, 1)), "version 1 .*6 months"),
    "sunset on the deprecation": (ending(date(2026, 6, 1), date(2026, 6, 1)), "version 1 .*6 months"),
    "sunset without deprecation": (ending(None, date(2027, 1, 1)), "version 1 .*sunset without a deprecation"),
    "successor not there": (ending(date(2026, 1, 1), None, 3), "version 1 .*successor that is not in the table"),
    "no successor": (ending(date(2026, 1, 1), None, None), "version 1 .*deprecated without a successor"),
    "released without contract": ([Version(1, released=RELEASED)], "version 1 .*released without a contract"),
    "the later one is wrong": ([NEXT, Version(7, sunset=RELEASED)], "version 7 .*sunset without a deprecation"),
    "twice": ([Version(1), Version(2), Version(1)], "twice"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_table_that_breaks_a_promise_cannot_be_built(name: str) -> None:
    table, said = REFUSED[name]
    with pytest.raises(SettingsError, match=said):
        Versions(table)


def start_with(table: Sequence[Version], folder: Path, clock: FakeClock, market: ScriptedMarket) -> object:
    values = settings(market="polygon", polygon_api_key="k", data_dir=folder)
    return create_app(values, clock=clock, transport=market, versions=Versions(table))


def test_a_server_does_not_start_on_a_sunset_that_is_too_soon(
    tmp_path: Path, clock: FakeClock, market: ScriptedMarket
) -> None:
    with pytest.raises(SettingsError, match="version 1 has its sunset less than 6 months"):
        start_with(ending(date(2026, 1, 31), date(2026, 7, 30)), tmp_path, clock, market)
    assert start_with(ending(date(2026, 1, 31), date(2026, 7, 31)), tmp_path, clock, market)


def test_a_deprecation_may_have_no_sunset_yet() -> None:
    version = Versions(ending(date(2026, 1, 1), None))[1]
    assert [version.status(day) for day in (date(2025, 12, 31), date(2026, 1, 1), date(2999, 1, 1))] == [
        "current",
        "deprecated",
        "deprecated",
    ]


STATUS_BY_DAY = {
    date(2025, 12, 31): "current",
    date(2026, 1, 1): "deprecated",
    date(2026, 6, 30): "deprecated",
    date(2026, 7, 1): "gone",
    date(2036, 7, 1): "gone",
}


@pytest.mark.parametrize("day", sorted(STATUS_BY_DAY))
def test_a_status_turns_on_the_day_itself(day: date) -> None:
    version = Versions(ending(date(2026, 1, 1), date(2026, 7, 1)))[1]
    assert version.status(day) == STATUS_BY_DAY[day]
    assert version.is_over(day) is (STATUS_BY_DAY[day] == "gone")


@pytest.mark.parametrize("day", sorted(STATUS_BY_DAY))
def test_what_is_not_released_stays_planned(day: date) -> None:
    assert Version(3).status(day) == "planned"


def test_the_shipped_table_has_both_versions_current_for_good() -> None:
    assert [version.number for version in VERSIONS] == [1, 2]
    first, second = VERSIONS[1], VERSIONS[2]
    for version in (first, second):
        assert (version.deprecated, version.sunset) == (None, None)
        assert {version.status(day) for day in STATUS_BY_DAY if version.released and day >= version.released} == {
            "current"
        }
        assert version.contract is not None
        assert len(bytes.fromhex(version.contract)) == 32


def test_the_table_knows_its_numbers_and_no_others() -> None:
    table = Versions([Version(1), Version(5)])
    assert [number in table for number in (0, 1, 2, 5)] == [False, True, False, True]
