"""The versions of the API, from release to sunset: one table from which headers, `GET /versions` and docs/clients.md follow.

A deprecated version stays for at least SIX_MONTHS; the table rejects an earlier sunset.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from app.errors import SettingsError

SIX_MONTHS = 6


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the API.

    released    first day on which its contract holds; None while it is being built
    deprecated  first day on which clients are told to use another version, None if they are not
    sunset      first day on which it answers 410 and nothing else, None if none is set
    successor   the version to use instead
    guide       path of its description for people
    contract    SHA-256 of its committed schema (`blueprints/v<number>/openapi.json`): a released contract does not change
    """

    number: int
    released: date | None = None
    deprecated: date | None = None
    sunset: date | None = None
    successor: int | None = None
    guide: str = "/versions"
    contract: str | None = None

    def is_over(self, today: date) -> bool:
        return self.sunset is not None and today >= self.sunset

    def status(self, today: date) -> str:
        """`planned`, `current`, `deprecated` or `gone`."""
        if self.released is None:
            return "planned"
        if self.is_over(today):
            return "gone"
        return "deprecated" if self.deprecated is not None and today >= self.deprecated else "current"


class Versions:
    """The table of versions. Raises SettingsError if it is inconsistent: a sunset without a deprecation or too soon after it, a
    successor that does not exist, a released version without a contract."""

    def __init__(self, table: Sequence[Version]) -> None:
        self._table = {version.number: version for version in table}
        if len(self._table) != len(table):
            raise SettingsError("the table of versions names one twice")
        for version in table:
            _check(version, set(self._table))

    def __iter__(self) -> Iterator[Version]:
        return iter(self._table.values())

    def __contains__(self, number: int) -> bool:
        return number in self._table

    def __getitem__(self, number: int) -> Version:
        return self._table[number]


def _check(version: Version, known: set[int]) -> None:
    name = f"version {version.number}"
    if version.released is not None and version.contract is None:
        raise SettingsError(f"{name} is released without a contract")
    if version.successor is not None and version.successor not in known:
        raise SettingsError(f"{name} has a successor that is not in the table")
    if version.deprecated is not None and version.successor is None:
        raise SettingsError(f"{name} is deprecated without a successor")
    if version.sunset is None:
        return
    if version.deprecated is None:
        raise SettingsError(f"{name} has a sunset without a deprecation")
    if version.sunset < months_after(version.deprecated, SIX_MONTHS):
        raise SettingsError(f"{name} has its sunset less than {SIX_MONTHS} months after its deprecation")


def months_after(day: date, months: int) -> date:
    """The same day of the month `months` later, or the last day of that month."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


VERSIONS = Versions(
    [
        Version(1, date(2026, 1, 3), contract="26df2cabf58823f38f759795af5d00631ce8174972a085b6da76222be41cbf34"),
        Version(2, date(2026, 11, 26), contract="916f4ab53e0a13e3827e6bae97586d9c25d7318690aed54382044c66d77e863e"),
    ]
)
