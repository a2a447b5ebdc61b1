"""The queries of v2's routes, and how their values are written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from app.errors import Fault
from app.market.calendar import NY, ny_day
from app.market.inception import FIRST_DAY
from app.pipeline import ChartSpan
from app.signals.policy import SUPPORTED
from blueprints.shared.values import parse_day
from blueprints.v2.live_types import EventId
from blueprints.v2.operations import FieldsQuery, Query, refused

MAX_DAYS = 400
"""How many days one answer of the calendar or of the track record may span."""

MAX_DAILY_BARS, DAILY_BARS = 250, 60
"""How many daily bars one answer may have, and how many it has unless it is asked for another number."""

MAX_SIGNALS, SIGNALS = 100, 30
"""How many signals one page of the track record may have, and how many it has unless it is asked for another number."""

LAST_DAY = date(2100, 1, 1)
MINUTES_OF_A_DAY = 24 * 60
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[-+ ]\d\d:\d\d)", re.ASCII)


def _listed(text: str) -> tuple[str, ...]:
    """The tickers of a list like `SPY,QQQ`, upper case, each once."""
    return tuple(dict.fromkeys(part.strip().upper() for part in text.split(",")))


def _known(tickers: tuple[str, ...]) -> tuple[str, ...]:
    if not set(tickers) <= set(SUPPORTED):
        raise ValueError(f"must be a list of supported tickers: {','.join(SUPPORTED)}")
    return tickers


def _with_offset(text: str) -> datetime:
    """An ISO 8601 moment with its offset. A space stands for the plus sign that a query turns into one."""
    if MOMENT.fullmatch(text):
        with suppress(ValueError, OverflowError):
            return datetime.fromisoformat(text.replace(" ", "+")).astimezone(NY)
    raise ValueError("must be a moment with its offset, like 2024-06-12T14:35:00-04:00")


def _day(text: str) -> date:
    day = parse_day(text)
    if day is None:
        raise ValueError("must be a day of the calendar, YYYY-MM-DD")
    if not FIRST_DAY <= day <= LAST_DAY:
        raise ValueError(f"must lie between {FIRST_DAY} and {LAST_DAY}")
    return day


Day = Annotated[date, BeforeValidator(_day)]


def _range(first: date, last: date) -> tuple[date, date]:
    """First and last day of a range. Raises BadRequest for one that ends before it begins, or is too long."""
    if not 0 <= (last - first).days < MAX_DAYS:
        raise refused([Fault("/to", f"must be 0 to {MAX_DAYS - 1} days after `from`")])
    return first, last


def _yes_or_no(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("must be true or false")
    return text == "true"


YesOrNo = Annotated[bool, BeforeValidator(_yes_or_no)]


def _whole(text: str) -> int:
    if not re.fullmatch(r"-?\d{1,9}", text, re.ASCII):
        raise ValueError("must be a whole number")
    return int(text)


class TickersQuery(FieldsQuery):
    """Which tickers an answer is about."""

    tickers: Annotated[
        tuple[str, ...],
        BeforeValidator(_listed),
        AfterValidator(_known),
        Field(json_schema_extra={"type": "array", "items": {"type": "string", "enum": list(SUPPORTED)}, "minItems": 1}),
    ] = SUPPORTED
    """A list of supported tickers, separated by commas. By default all of them."""

    def named_tickers(self) -> tuple[str, ...]:
        return self.tickers


Moment = Annotated[datetime, BeforeValidator(_with_offset), Field(json_schema_extra={"format": "date-time"})]


class ReplayQuery(Query):
    """The moment of a replay, or the moments of a series."""

    at: Moment | None = None
    """A moment that is over, with its offset. Without it, `from` and `to` are needed."""
    first: Annotated[Moment | None, Field(alias="from")] = None
    """The first moment of a series, with its offset."""
    last: Annotated[Moment | None, Field(alias="to")] = None
    """Until when a series goes, with its offset: a moment of the same New York day."""
    step: Annotated[int | None, Field(ge=1, le=MINUTES_OF_A_DAY)] = None
    """Minutes between two moments of a series; 1 by default."""
    recompute: YesOrNo = False
    """With `at`: `true` computes the decision anew from the bars that are known now, also where it stands in the record, so
    that the two can be compared. `lock.recorded` is then false."""

    def moments(self) -> list[datetime]:
        """The moments that are asked for, in their order. Raises BadRequest where they are none, or of several days."""
        faults = [Fault(f"/{name}", text) for name, text in self._faults()]
        if faults:
            raise refused(faults)
        first, last = self.at or self.first, self.at or self.last
        assert first is not None
        assert last is not None
        step = timedelta(minutes=self.step or 1)
        return [first + step * count for count in range((last - first) // step + 1)]

    def _faults(self) -> Iterator[tuple[str, str]]:
        """Which parameters do not go together, and why."""
        series = {"from": self.first, "to": self.last, "step": self.step}
        if self.at is None and self.recompute:
            yield "recompute", "needs `at`"
        if self.at is not None:
            yield from ((name, "cannot be given beside `at`") for name, value in series.items() if value is not None)
        elif self.first is None and self.last is None:
            yield "at", "is missing (or `from` and `to` for a series)"
        elif self.first is None or self.last is None:
            yield "from" if self.first is None else "to", "is missing (a series has both ends)"
        elif self.last < self.first or ny_day(self.last) != ny_day(self.first):
            yield "to", "must be a moment of the same New York day as `from`, and not before it"


class BarsQuery(FieldsQuery):
    """Which bars an answer has."""

    day: Day | None = None
    """The day, YYYY-MM-DD; of daily bars the last one. By default today, on a day without trading the last trading day."""
    span: ChartSpan = ChartSpan.MINUTE
    """How long one bar lasts."""
    extended: YesOrNo = False
    """Whether bars outside the regular session are answered too; daily bars have none."""
    days: Annotated[int, Field(ge=1, le=MAX_DAILY_BARS), BeforeValidator(_whole)] | None = None
    """How many daily bars, 1 to 250, by default 60; for no other span."""

    def faults(self, today: date) -> list[Fault]:
        """What is wrong with it on `today` in New York."""
        daily = self.span is ChartSpan.DAY
        checks = (
            (self.day is not None and self.day > today, "/day", f"lies ahead: in this market it is {today}"),
            (self.days is not None and not daily, "/days", "is for the span 1d alone"),
            (self.extended and daily, "/extended", "is for no daily bars"),
        )
        return [Fault(pointer, message) for wrong, pointer, message in checks if wrong]


class RecordQuery(FieldsQuery):
    """Which part of the track record an answer has."""

    first: Annotated[Day | None, Field(alias="from")] = None
    """The first day, YYYY-MM-DD. By default 30 days before the last one."""
    last: Annotated[Day | None, Field(alias="to")] = None
    """The last day, YYYY-MM-DD, fewer than 400 days after the first. By default today in New York."""
    limit: Annotated[int, Field(ge=1, le=MAX_SIGNALS), BeforeValidator(_whole)] = SIGNALS
    """How many signals a page has at most, 1 to 100; by default 30."""
    cursor: Annotated[str, Field(max_length=64)] | None = None
    """Where the page begins, as `next` of the page before says."""

    def days(self, today: date) -> tuple[date, date]:
        """First and last day. Raises BadRequest for a range that is none, or too long."""
        last = self.last or today
        return _range(self.first or last - timedelta(days=30), last)


class FollowQuery(Query):
    """Whether a stream goes on after the signal."""

    follow: YesOrNo = False
    """`true`: the stream goes on with a snapshot and every change. It ends after 14 minutes with a line `resume`, which says
    behind which event, and when, to ask again."""
    after: EventId | None = None
    """With `follow=true`: the id of the last event that the client has. The stream begins with the events behind it; without
    it, with the stages of the signal. The header `Last-Event-ID` does the same; where both are given, `after` is ignored."""

    def resumes_after(self, last_event_id: str | None) -> str | None:
        """The id behind which to go on. last_event_id: the header. Raises BadRequest for `after` without `follow`."""
        if self.after is not None and not self.follow:
            raise refused([Fault("/after", "needs `follow=true`")])
        return self.after if last_event_id is None else last_event_id


class CalendarQuery(Query):
    """The days of a calendar."""

    first: Annotated[Day | None, Field(alias="from")] = None
    """The first day, YYYY-MM-DD. By default today in New York."""
    last: Annotated[Day | None, Field(alias="to")] = None
    """The last day, YYYY-MM-DD, fewer than 400 days after the first. By default 30 days after it."""

    def days(self, today: date) -> tuple[date, date]:
        """First and last day. Raises BadRequest for a range that is none, or too long."""
        first = self.first or today
        return _range(first, self.last or first + timedelta(days=30))
