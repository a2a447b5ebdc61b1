"""Faults of what the provider knows: snapshots that are old or fail, and closures that are announced at short notice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, time

from app.market.bars import Span, to_ms
from app.market.calendar import ONE_DAY, OPEN, day_of_ms, midnight_ms, ny
from app.market.feed_transport import AGGREGATES, EXCHANGES, SNAPSHOT, UPCOMING
from app.market.polygon import NANOSECONDS_IN_MS, Reply
from app.simulator.messages import Options, ReceivedCall, Row

EditReply = Callable[[Reply, Options, ReceivedCall], Reply]


def unchanged(reply: Reply, options: Options, call: ReceivedCall) -> Reply:
    """Returns the reply as it is."""
    return reply


def with_old_snapshot(reply: Reply, options: Options, call: ReceivedCall) -> Reply:
    """The snapshot is the one of `days` ago, its prices are multiplied by `factor`, and today has no daily bar."""
    if not SNAPSHOT.fullmatch(call.path):
        return _without_daily_bar_of_today(reply, call)
    snapshot, age_ms = reply.body["ticker"], int(options["days"] * Span.DAY.ms)
    day = {name: value * options["factor"] if name in "ohlc" else value for name, value in snapshot["day"].items()}
    minute, updated = {"t": snapshot["min"]["t"] - age_ms}, snapshot["updated"] - age_ms * NANOSECONDS_IN_MS
    return reply._replace(body={**reply.body, "ticker": {**snapshot, "day": day, "min": minute, "updated": updated}})


def with_failing_snapshot(reply: Reply, options: Options, call: ReceivedCall) -> Reply:
    """Snapshots fail, and today has no daily bar."""
    return Reply(500, None) if SNAPSHOT.fullmatch(call.path) else _without_daily_bar_of_today(reply, call)


def _without_daily_bar_of_today(reply: Reply, call: ReceivedCall) -> Reply:
    return _keep_rows(reply, lambda row: row["t"] < call.day_ms) if "/range/1/day/" in call.path else reply


def _keep_rows(reply: Reply, keep: Callable[[Row], bool]) -> Reply:
    rows = [row for row in reply.body.get("results") or [] if keep(row)]
    body = {name: value for name, value in reply.body.items() if name != "results"}
    return reply._replace(body={**body, "resultsCount": len(rows), **({"results": rows} if rows else {})})


def with_closure(reply: Reply, options: Options, call: ReceivedCall) -> Reply:
    """A day is announced as closed and has no bars."""
    day = _named_day(options, call)
    if call.path == UPCOMING and day_of_ms(call.day_ms) <= day:
        return _with_announcement(reply, day, {"status": "closed"})
    has_bars = AGGREGATES.fullmatch(call.path) is not None
    return _keep_rows(reply, lambda row: day_of_ms(row["t"]) != day) if has_bars else reply


def with_early_close(reply: Reply, options: Options, call: ReceivedCall) -> Reply:
    """An early close of a day at `hour` (New York) is announced, and its bars end then."""
    day = _named_day(options, call)
    opens, closes = (ny(day, at).astimezone(UTC) for at in (OPEN, time(int(options["hour"]))))
    if call.path == UPCOMING and day_of_ms(call.day_ms) <= day:
        hours = {"status": "early-close", "open": opens.isoformat(), "close": closes.isoformat()}
        return _with_announcement(reply, day, hours)
    if AGGREGATES.fullmatch(call.path) is None:
        return reply
    first_ms, end_ms = to_ms(closes), midnight_ms(day + ONE_DAY)
    return _keep_rows(reply, lambda row: not first_ms <= row["t"] < end_ms)


def _named_day(options: Options, call: ReceivedCall) -> date:
    """Returns the day of the option `day`, as yyyymmdd; the provider's running day if that is 0."""
    number = int(options["day"])
    return date(number // 10_000, number // 100 % 100, number % 100) if number else day_of_ms(call.day_ms)


def _with_announcement(reply: Reply, day: date, hours: Row) -> Reply:
    """Returns the list of holidays with one more, in order of the days."""
    rows = [{"date": day.isoformat(), "exchange": name, "name": "Special", **hours} for name in EXCHANGES]
    return reply._replace(body=sorted([*reply.body, *rows], key=lambda row: row["date"]))
