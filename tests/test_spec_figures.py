"""The specification's figures are those of the code: holidays, sizing, levels, features, error codes."""

from __future__ import annotations

import re
from datetime import date, datetime
from pathlib import Path

from app.market.calendar import CLOSE, EARLY_CLOSE, NY, ONE_DAY, Calendar
from app.model.features import DECISION_HOURS, FEATURES, MIN_DAYS
from app.model.scoring import ECE_BINS
from app.model.walk_forward import EMBARGO_DAYS
from app.signals import policy
from blueprints.v1.parameters import MAX_SYMBOLS

SPEC = Path(__file__).parent.parent / "docs" / "spec"


def chapter(page: str, number: str) -> str:
    """The text of a page's chapter."""
    text = (SPEC / f"{page}.md").read_text()
    match = re.search(rf"^#+ {re.escape(number)}\.? .*?(?=^## |^### |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match, f"{page}.md {number}"
    return match[0]


def rows(text: str) -> list[list[str]]:
    """Cells of all table rows, without the marks of code and weight."""
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ---")]
    return [[cell.strip(" `*") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def table(text: str) -> dict[str, list[str]]:
    return {first: rest for first, *rest in rows(text)}


def days(cell: str, year: int) -> set[date]:
    found = re.findall(r"(\d{1,2}) (Jan|Feb|Mar|Apr|May|Jun|Jul|Sep|Nov|Dec)", cell)
    return {datetime.strptime(f"{day} {month} {year}", "%d %b %Y").date() for day, month in found}


def weekdays(year: int) -> list[date]:
    first = date(year, 1, 1)
    return [day for day in (first + n * ONE_DAY for n in range(366)) if day.year == year and day.weekday() < 5]


def test_the_holidays_of_the_page_are_those_of_the_calendar() -> None:
    for year, (full, early) in ((int(y), cells) for y, cells in table(chapter("policy", "1")).items() if y.isdigit()):
        sessions = {day: Calendar().session(day) for day in weekdays(year)}
        closes = {day: s.close.astimezone(NY).time() for day, s in sessions.items() if s is not None}
        assert days(full, year) == set(sessions) - set(closes), year
        assert days(early, year) == {day for day, close in closes.items() if close == EARLY_CLOSE}, year
        assert set(closes.values()) == {CLOSE, EARLY_CLOSE}


def test_the_one_off_closures_of_the_page_are_closed() -> None:
    told = re.findall(r"20\d\d-\d\d-\d\d", chapter("policy", "1").split("One-off")[1].split("With a provider key")[0])
    assert len(told) == 6
    assert [day for day in told if Calendar().session(date.fromisoformat(day)) is not None] == []


def test_thresholds_and_roundings_are_those_of_the_policy() -> None:
    text = chapter("policy", "4")
    assert f"p > {policy.LONG_ABOVE} |" in text
    assert f"p < {policy.SHORT_BELOW} |" in text
    assert "[0.251, 0.749]" in text
    assert (policy.shown_active(0.75), policy.shown_active(0.7500001), policy.shown_active(0.2499)) == (
        0.749,
        0.751,
        0.249,
    )


def test_buckets_are_those_of_the_policy() -> None:
    told = table(chapter("policy", "5"))
    for edge, name, size in policy.BUCKETS:
        first = f"{edge:.2f}" if name != "weak" else f"above {edge:.2f}"
        assert told[first][1:] == [name, f"{size:.2f}"]


def test_time_multipliers_are_those_of_the_policy() -> None:
    told = table(chapter("policy", "6"))
    hours = {
        int(hour): float(cells[0]) for first, cells in told.items() for hour in re.findall(r"^\d+|(?<=, )\d+", first)
    }
    assert hours == {**policy.HOUR_MULTIPLIERS, 16: policy.AFTER_CLOSE}
    assert float(told["before 10"][0]) == policy.BEFORE_TEN


def test_levels_are_those_of_the_policy() -> None:
    told = {ticker: cells for ticker, cells in table(chapter("policy", "8")).items() if ticker in policy.SUPPORTED}
    for ticker, (take_profit, stop, even) in told.items():
        levels = policy.EXIT_DISTANCES[ticker]
        assert (take_profit, stop) == (f"{levels.take_profit * 100:.2f} %", f"{levels.stop_loss * 100:.2f} %")
        assert even == f"{levels.stop_loss / (levels.stop_loss + levels.take_profit) * 100:.1f} %"
    assert tuple(told) == policy.SUPPORTED


def test_gates_are_those_of_the_policy() -> None:
    told = {
        code: cells[3] for cells in rows(chapter("policy", "3")) for code in re.findall(r"[A-Z]+_[A-Z_]+", cells[2])
    }
    known = {
        gate.value: "yes" if gate.is_fault else "no" for gate in policy.Gate if gate is not policy.Gate.NO_MARKET_DATA
    }
    assert told == {**known, "RISK_BLOCK": "no", "NEUTRAL_ZONE": "no"}


def test_versions_and_hours_are_those_of_the_code() -> None:
    assert policy.SPEC_VERSION in chapter("policy", "12")
    assert ", ".join(f"{hour}:00" for hour in DECISION_HOURS[:-1]) in chapter("policy", "10")
    assert f"{MIN_DAYS} completed daily bars" in (SPEC / "README.md").read_text()
    assert f"more than {MAX_SYMBOLS} are a 400" in chapter("v1-contract", "3.1")


def test_the_features_are_those_of_the_page_in_its_order() -> None:
    assert tuple(name for number, name, *_ in rows(chapter("v6", "4")) if number.isdigit()) == FEATURES


def test_the_evaluation_is_the_one_of_the_page() -> None:
    text = chapter("v6", "7")
    assert f"embargo of {EMBARGO_DAYS} day" in text
    assert f"ECE ({ECE_BINS} bins)" in text
