"""A stand-in for Polygon: a real HTTP server on loopback that answers from a transport, and misbehaves on command.

For tests and demonstrations of what happens between a server and its provider: refusals, cut and crawling answers,
broken rows, plans. It never leaves the machine, never serves anything but the transport's own answers and its faults,
and its accepting loop never waits: a connection that is held is held on its own thread, until `behave()`.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from app.clock import Clock, wall_clock
from app.errors import PredictError
from app.market.bars import COLUMNS, Bars, Span, from_ms, no_bars, to_ms
from app.market.calendar import NY, ONE_DAY, OPEN, Calendar, day_of_ms, midnight_ms, ny, ny_day
from app.market.polygon import NANOSECONDS_IN_MS, Reply, Transport
from app.market.wire import AGGREGATES, SNAPSHOT, Feed

CONTROL = "/_fault"
UPCOMING = "/v1/marketstatus/upcoming"
SOME = 5
"""Of broken rows there is one in so many."""

HOLE = 7
DAY_MS = Span.DAY.ms
JSON = (("Content-Type", "application/json"),)
CLOSE_WITHIN_S = 5.0
UNKNOWN_KEY = Reply(401, {"status": "ERROR", "error": "Unknown API Key"})
NO_ENDPOINT = Reply(403, {"status": "NOT_AUTHORIZED", "message": "You are not entitled to this data."})
NO_TIMEFRAME = Reply(403, {"status": "NOT_AUTHORIZED", "message": "Your plan doesn't include this data timeframe."})
TOO_MANY = Reply(429, {"status": "ERROR", "error": "You've exceeded the maximum requests per minute."})
REJECTED = Reply(200, {"status": "ERROR", "error": "The request was rejected."})

Options = Mapping[str, float]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One request that reached the provider. `at`: seconds by the stand-in's `now`; `moment`: the provider's time."""

    at: float
    path: str
    query: str
    authorization: str | None
    traceparent: str | None = None
    moment: datetime | None = None

    @property
    def day_ms(self) -> int:
        """Midnight of the provider's running day, ms."""
        return midnight_ms(ny_day(self.moment or wall_clock()))


@dataclass(frozen=True, slots=True)
class Answer:
    """What is about to be sent. `skew_s`: how far its Date is off."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = JSON
    skew_s: float = 0.0


class Line(Protocol):
    """The connection as a fault handles it."""

    def encoded(self, answer: Answer) -> bytes: ...

    def write(self, data: bytes) -> None: ...

    def held(self, seconds: float | None) -> bool:
        """Wait so long, or without end; True if `behave()` ended it."""
        ...

    def hang_up(self) -> None:
        """Close once what is written is sent."""
        ...

    def reset(self) -> None: ...


def send(line: Line, answer: Answer, options: Options) -> None:
    """The ordinary way: at once, in one write."""
    line.write(line.encoded(answer))


Edit = Callable[[Row, Options, Call], Row]
Bend = Callable[[Reply, Options, Call], Reply]
Change = Callable[[Answer, Options], Answer]
Sending = Callable[[Line, Answer, Options], None]


def unchanged(answer: Answer, options: Options) -> Answer:
    return answer


def unbent(reply: Reply, options: Options, call: Call) -> Reply:
    return reply


@dataclass(frozen=True, slots=True)
class Fault:
    """A way to misbehave. `options`: names and defaults; `edit`: of the body of an aggregates answer, the only ones such a
    fault hits; `bend`: of any good answer, by what was asked and when; `change`: of any answer; `sending`: how it goes over
    the line."""

    help: str
    options: Options = field(default_factory=dict)
    edit: Edit | None = None
    bend: Bend = unbent
    change: Change = unchanged
    sending: Sending = send

    def hits(self, path: str) -> bool:
        return self.edit is None or AGGREGATES.fullmatch(path) is not None


@dataclass(frozen=True, slots=True)
class Terms:
    """What a plan has (polygon.md 4). `years` of history; None: all."""

    years: int | None = None
    today: bool = True
    snapshots: bool = True
    delayed: bool = False


PLANS: Mapping[str, Terms] = {
    "advanced": Terms(),
    "starter": Terms(years=5, delayed=True),
    "basic": Terms(years=2, today=False, snapshots=False),
}


@dataclass(slots=True)
class Misbehaviour:
    """The fault that is on. `times`: hits left; None: without end."""

    fault: str
    only: str
    times: int | None
    options: dict[str, float]


@dataclass(frozen=True, slots=True)
class Hit:
    """A fault as it meets one request; `released` is set by the next `behave()`."""

    fault: Fault
    options: Options
    released: threading.Event


class StandIn:
    """Polygon on loopback. As a context manager it serves from enter to exit, on threads of its own.

    key: the only one it takes, in the header or as apiKey; none: it takes any. now: the seconds of `Call.at`.
    plan, clock: what it refuses, by the New York day of that clock; the bars' own lateness is the transport's.
    """

    def __init__(
        self,
        wire: Transport,
        *,
        key: str | None = None,
        port: int = 0,
        now: Callable[[], float] = time.monotonic,
        plan: str = "advanced",
        clock: Clock | None = None,
    ) -> None:
        if plan not in PLANS:
            raise ValueError(f"no plan {plan}; there are {', '.join(PLANS)}")
        if plan == "basic" and clock is None:
            raise ValueError("the basic plan needs a clock: it ends yesterday")
        self._wire, self._key, self._now = wire, key, now
        self._terms, self._clock = PLANS[plan], clock
        self._lock = threading.Lock()
        self._on: Misbehaviour | None = None
        self._released = threading.Event()
        self._listener = _Listener(self, port)
        self.address = f"http://127.0.0.1:{self._listener.server_address[1]}"
        self.calls: list[Call] = []

    def __enter__(self) -> Self:
        self._listener.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def misbehave(self, fault: str, *, only: str = "", times: int | None = None, **options: float) -> None:
        """From now on, in place of any fault before; after `times` hits it heals. `only`: a part of the paths it hits.

        Raises ValueError naming the faults, or the options, there are.
        """
        self.turn_on(_misbehaviour(fault, only, times, options))

    def turn_on(self, wanted: Misbehaviour) -> None:
        with self._lock:
            self._on = wanted

    def behave(self) -> None:
        """Back to normal. What is held in `slow`, `silence` or `trickle` gets the rest of its answer now."""
        with self._lock:
            self._on = None
            self._released.set()
            self._released = threading.Event()

    def fault(self) -> dict[str, Any] | None:
        """The fault that is on, with what is left of it."""
        with self._lock:
            return None if self._on is None else asdict(self._on)

    def close(self) -> None:
        """Stop listening and drop every connection, held ones without a further byte."""
        self._listener.stop()
        self.behave()
        self._listener.wait_for_lines()

    def moment(self) -> datetime:
        return (self._clock or wall_clock)()

    def answer(
        self, path: str, query: str, authorization: str | None, traceparent: str | None = None
    ) -> tuple[Answer, Hit | None]:
        """What to say to a request, and the fault that tells how to send it."""
        with self._lock:
            call = Call(self._now(), path, query, authorization, traceparent, self.moment())
            self.calls.append(call)
            hit = self._hit(path)
        reply = self._reply(call)
        if hit is None:
            return answered(reply), None
        if hit.fault.edit is not None and reply.status == 200:
            reply = reply._replace(body=hit.fault.edit(reply.body, hit.options, call))
        if reply.status == 200:
            reply = hit.fault.bend(reply, hit.options, call)
        return hit.fault.change(answered(reply), hit.options), hit

    def _hit(self, path: str) -> Hit | None:
        on = self._on
        if on is None or on.only not in path or not FAULTS[on.fault].hits(path):
            return None
        if on.times is not None:
            on.times -= 1
            self._on = on if on.times else None
        return Hit(FAULTS[on.fault], on.options, self._released)

    def _reply(self, call: Call) -> Reply:
        params = dict(parse_qsl(call.query))
        if self._key is not None and not self._knows(call.authorization, params.get("apiKey")):
            return UNKNOWN_KEY
        try:
            reply = self._refusal(call.path) or self._wire(call.path, params)
        except PredictError as exc:
            return Reply(500, {"status": "ERROR", "error": exc.message})
        if self._terms.delayed and reply.status == 200 and AGGREGATES.fullmatch(call.path):
            return reply._replace(body={**reply.body, "status": "DELAYED"})
        return reply

    def _knows(self, authorization: str | None, parameter: str | None) -> bool:
        return authorization == f"Bearer {self._key}" or (authorization is None and parameter == self._key)

    def _refusal(self, path: str) -> Reply | None:
        """The plan's 403, if it is one."""
        if SNAPSHOT.fullmatch(path):
            return None if self._terms.snapshots else NO_ENDPOINT
        asked = AGGREGATES.fullmatch(path)
        if asked is None or self._clock is None:
            return None
        try:
            first, last = _day(asked[3]), _day(asked[4])
        except (ValueError, OverflowError):
            return None
        return None if self._has(first, last, ny_day(self._clock())) else NO_TIMEFRAME

    def _has(self, first: date, last: date, today: date) -> bool:
        years = self._terms.years
        return (self._terms.today or last < today) and (years is None or first >= _years_before(today, years))


class _Listener(socketserver.ThreadingTCPServer):
    """Accepts connections, each for a thread of its own, and knows those that are open."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, stand_in: StandIn, port: int) -> None:
        self.stand_in = stand_in
        self._thread: threading.Thread | None = None
        self._lines: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(("127.0.0.1", port), _Connection)

    def start(self) -> None:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="stand-in", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
            self._thread = None
        self.server_close()
        with self._changed:
            for line in self._lines:
                _cut(line)

    def wait_for_lines(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._lines, CLOSE_WITHIN_S)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._lines.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._lines.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone is no error of ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Connection(BaseHTTPRequestHandler):
    """One client's connection: reads requests, sends answers."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener
    _hit: Hit | None = None

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == CONTROL:
            faults = {name: {"help": fault.help, "options": dict(fault.options)} for name, fault in FAULTS.items()}
            self._say({"on": self.server.stand_in.fault(), "faults": faults})
            return
        authorization = self.headers.get("Authorization")
        trace = self.headers.get("traceparent")
        answer, self._hit = self.server.stand_in.answer(parts.path, parts.query, authorization, trace)
        try:
            if self._hit is None:
                send(self, answer, {})
            else:
                self._hit.fault.sending(self, answer, self._hit.options)
        except OSError:
            self.close_connection = True

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        try:
            self.server.stand_in.turn_on(_demanded(parts.path.removeprefix(f"{CONTROL}/"), parts.query))
        except ValueError as exc:
            self._say({"error": str(exc), "faults": list(FAULTS)}, HTTPStatus.BAD_REQUEST)
            return
        self._say({"on": self.server.stand_in.fault()})

    def do_DELETE(self) -> None:
        if urlsplit(self.path).path != CONTROL:
            self._say({"error": f"only {CONTROL} can be deleted"}, HTTPStatus.NOT_FOUND)
            return
        self.server.stand_in.behave()
        self._say({"on": None})

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: the requests are in `calls`."""

    def encoded(self, answer: Answer) -> bytes:
        at = self.server.stand_in.moment().timestamp() + answer.skew_s
        head = [
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
            f"Date: {formatdate(at, usegmt=True)}",
            f"Content-Length: {len(answer.body)}",
            *(f"{name}: {value}" for name, value in answer.headers),
        ]
        return "\r\n".join([*head, "", ""]).encode() + answer.body

    def write(self, data: bytes) -> None:
        self.connection.sendall(data)

    def held(self, seconds: float | None) -> bool:
        return self._hit is not None and self._hit.released.wait(seconds)

    def hang_up(self) -> None:
        self.close_connection = True

    def reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def _say(self, body: Any, status: int = HTTPStatus.OK) -> None:
        send(self, answered(Reply(status, body)), {})


def answered(reply: Reply) -> Answer:
    return Answer(reply.status, json.dumps(reply.body).encode())


def _misbehaviour(fault: str, only: str, times: int | None, options: Options) -> Misbehaviour:
    known = FAULTS.get(fault)
    if known is None:
        raise ValueError(f"no fault {fault}; there are {', '.join(FAULTS)}")
    if strange := options.keys() - known.options.keys():
        raise ValueError(f"{fault} has no option {', '.join(sorted(strange))}; it has {list(known.options)}")
    if times is not None and times < 1:
        raise ValueError("times must be at least 1")
    return Misbehaviour(fault, only, times, {**known.options, **options})


def _demanded(fault: str, query: str) -> Misbehaviour:
    """What a control request asks for; raises ValueError."""
    given: dict[str, str] = dict(parse_qsl(query))
    only, times = given.pop("only", ""), given.pop("times", None)
    options = {name: _finite(value) for name, value in given.items()}
    return _misbehaviour(fault, only, None if times is None else int(times), options)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number to work with")
    return value


def _cut(line: socket.socket) -> None:
    try:
        line.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def _day(text: str) -> date:
    """The New York day of a path's `from` or `to`."""
    return day_of_ms(int(text)) if text.isdigit() else date.fromisoformat(text)


def _years_before(day: date, years: int) -> date:
    leap = (day.month, day.day) == (2, 29)
    return day.replace(year=day.year - years, day=28 if leap else day.day)


def _always(answer: Answer) -> Change:
    return lambda good, options: answer


def _limited(answer: Answer, options: Options) -> Answer:
    refused = answered(TOO_MANY)
    return replace(refused, headers=(*JSON, ("Retry-After", f"{options['retry_after']:g}")))


def _marked_delayed(answer: Answer, options: Options) -> Answer:
    body = json.loads(answer.body)
    is_good = isinstance(body, dict) and body.get("status") == "OK"
    return replace(answer, body=json.dumps({**body, "status": "DELAYED"}).encode()) if is_good else answer


def _skewed(answer: Answer, options: Options) -> Answer:
    body, skew_s = json.loads(answer.body), options["seconds"]
    if isinstance(body, dict) and "serverTime" in body:
        at = datetime.fromisoformat(body["serverTime"]) + timedelta(seconds=skew_s)
        answer = replace(answer, body=json.dumps({**body, "serverTime": at.isoformat(timespec="seconds")}).encode())
    return replace(answer, skew_s=skew_s)


def _halved(answer: Answer, options: Options) -> Answer:
    return replace(answer, body=answer.body[: len(answer.body) // 2])


def _half_zipped(answer: Answer, options: Options) -> Answer:
    zipped = gzip.compress(answer.body, mtime=0)
    return replace(answer, body=zipped[: len(zipped) // 2], headers=(*answer.headers, ("Content-Encoding", "gzip")))


def _send_late(line: Line, answer: Answer, options: Options) -> None:
    line.held(options["seconds"])
    send(line, answer, options)


def _say_nothing(line: Line, answer: Answer, options: Options) -> None:
    line.held(None)
    send(line, answer, options)


def _trickle(line: Line, answer: Answer, options: Options) -> None:
    """The head at once, then the body byte by byte; the last one is kept back."""
    whole = line.encoded(answer)
    sent = len(whole) - len(answer.body)
    line.write(whole[:sent])
    while sent < len(whole) - 1:
        line.write(whole[sent : sent + 1])
        sent += 1
        if line.held(options["seconds"]):
            break
    line.held(None)
    line.write(whole[sent:])


def _reset(line: Line, answer: Answer, options: Options) -> None:
    line.reset()


def _send_short(line: Line, answer: Answer, options: Options) -> None:
    line.write(line.encoded(answer)[: -max(1, len(answer.body) // 2)])
    line.hang_up()


def _of_rows(change: Callable[[list[Row], Options], list[Row]]) -> Edit:
    def edit(body: Row, options: Options, call: Call) -> Row:
        rows = change(body.get("results") or [], options)
        return {**body, "results": rows, "resultsCount": len(rows)} if rows else body

    return edit


def _with_nan(rows: list[Row], options: Options) -> list[Row]:
    return [row if i % SOME else {**row, "c": math.nan} for i, row in enumerate(rows)]


def _with_negative(rows: list[Row], options: Options) -> list[Row]:
    return [row if i % SOME else {**row, **{name: -row[name] for name in "ohlc"}} for i, row in enumerate(rows)]


def _unsorted(rows: list[Row], options: Options) -> list[Row]:
    return rows[1::2] + rows[::2]


def _with_duplicates(rows: list[Row], options: Options) -> list[Row]:
    return [copy for i, row in enumerate(rows) for copy in [row] * (1 if i % SOME else 2)]


def _of_yesterday(rows: list[Row], options: Options) -> list[Row]:
    return [{**row, "t": row["t"] - DAY_MS} for row in rows]


def _frozen(body: Row, options: Options, call: Call) -> Row:
    """Minutes alone: the daily bars of the days before are what they are."""
    rows = body.get("results") or []
    if "/range/1/minute/" not in call.path or not rows:
        return body
    kept = [row for row in rows if row["t"] < options["since"]]
    return {**body, "results": kept, "resultsCount": len(kept)}


def _with_future_minutes(body: Row, options: Options, call: Call) -> Row:
    """Two more minutes, stamped one and two hours after the newest one."""
    rows = body.get("results") or []
    if "/range/1/minute/" not in call.path or not rows:
        return body
    more = [{**rows[-1], "t": rows[-1]["t"] + hours * Span.HOUR.ms} for hours in (1, 2)]
    return {**body, "results": rows + more, "resultsCount": len(rows) + len(more)}


def _split(rows: list[Row], options: Options) -> list[Row]:
    factor, before = options["factor"], options["before"]
    return [_rebased(row, factor) if row["t"] < before else row for row in rows]


def _rebased(row: Row, factor: float) -> Row:
    return {**row, **{name: row[name] / factor for name in "ohlc"}, "v": row["v"] * factor}


def _with_holes(body: Row, options: Options, call: Call) -> Row:
    """By the minute's own number, so that a hole is one in every answer."""
    rows = body.get("results") or []
    if "/range/1/minute/" not in call.path or not rows:
        return body
    kept = [row for row in rows[:-1] if row["t"] // Span.MINUTE.ms % HOLE] + rows[-1:]
    return {**body, "results": kept, "resultsCount": len(kept)}


def _cut_day(rows: list[Row], options: Options) -> list[Row]:
    return [row for row in rows if _hour(row) < options["hour"]]


def _with_midday_hole(rows: list[Row], options: Options) -> list[Row]:
    return [row for row in rows if not options["first"] <= _hour(row) < options["last"]]


def _hour(row: Row) -> float:
    """The New York hour at which a bar starts, with its minutes as a fraction."""
    at = from_ms(row["t"]).astimezone(NY)
    return at.hour + at.minute / 60


def _without_row(rows: list[Row], options: Options) -> list[Row]:
    middle = rows[len(rows) // 2]["t"] if rows else 0.0
    return [row for row in rows if row["t"] != (options["start"] or middle)]


def _without_rows(body: Row, options: Options, call: Call) -> Row:
    left = {name: value for name, value in body.items() if name not in ("results", "next_url")}
    return {**left, "resultsCount": 0}


def _circling(body: Row, options: Options, call: Call) -> Row:
    return {**body, "next_url": f"https://api.polygon.io{call.path}?{call.query}"}


def _leading_away(body: Row, options: Options, call: Call) -> Row:
    return {**body, "next_url": f"https://evil.example{call.path}?cursor=1"}


def _kept_rows(reply: Reply, keep: Callable[[Row], bool]) -> Reply:
    rows = [row for row in reply.body.get("results") or [] if keep(row)]
    body = {name: value for name, value in reply.body.items() if name != "results"}
    return reply._replace(body={**body, "resultsCount": len(rows), **({"results": rows} if rows else {})})


def _without_daily_bar_of_today(reply: Reply, call: Call) -> Reply:
    return _kept_rows(reply, lambda row: row["t"] < call.day_ms) if "/range/1/day/" in call.path else reply


def _with_old_snapshot(reply: Reply, options: Options, call: Call) -> Reply:
    """The snapshot is the one of `days` ago, at prices of its own."""
    if not SNAPSHOT.fullmatch(call.path):
        return _without_daily_bar_of_today(reply, call)
    found, age_ms = reply.body["ticker"], int(options["days"] * DAY_MS)
    day = {name: value * options["factor"] if name in "ohlc" else value for name, value in found["day"].items()}
    minute, updated = {"t": found["min"]["t"] - age_ms}, found["updated"] - age_ms * NANOSECONDS_IN_MS
    return reply._replace(body={**reply.body, "ticker": {**found, "day": day, "min": minute, "updated": updated}})


def _with_failing_snapshot(reply: Reply, options: Options, call: Call) -> Reply:
    return Reply(500, None) if SNAPSHOT.fullmatch(call.path) else _without_daily_bar_of_today(reply, call)


def _named_day(options: Options, call: Call) -> date:
    """The day of the option `day`, as yyyymmdd; the provider's running day if that is 0."""
    number = int(options["day"])
    return date(number // 10_000, number // 100 % 100, number % 100) if number else day_of_ms(call.day_ms)


def _with_announcement(reply: Reply, day: date, hours: Row) -> Reply:
    """The list of holidays with one more, in its place."""
    added = [{"date": day.isoformat(), "exchange": name, "name": "Special", **hours} for name in ("NYSE", "NASDAQ")]
    return reply._replace(body=sorted([*reply.body, *added], key=lambda row: row["date"]))


def _with_closure(reply: Reply, options: Options, call: Call) -> Reply:
    day = _named_day(options, call)
    if call.path == UPCOMING and day_of_ms(call.day_ms) <= day:
        return _with_announcement(reply, day, {"status": "closed"})
    traded = AGGREGATES.fullmatch(call.path) is not None
    return _kept_rows(reply, lambda row: day_of_ms(row["t"]) != day) if traded else reply


def _with_early_close(reply: Reply, options: Options, call: Call) -> Reply:
    day = _named_day(options, call)
    first, last = (ny(day, at).astimezone(UTC) for at in (OPEN, clock_time(int(options["hour"]))))
    if call.path == UPCOMING and day_of_ms(call.day_ms) <= day:
        hours = {"status": "early-close", "open": first.isoformat(), "close": last.isoformat()}
        return _with_announcement(reply, day, hours)
    if AGGREGATES.fullmatch(call.path) is None:
        return reply
    first_ms, end_ms = to_ms(last), midnight_ms(day + ONE_DAY)
    return _kept_rows(reply, lambda row: not first_ms <= row["t"] < end_ms)


BAD_GATEWAY = Answer(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", (("Content-Type", "text/html"),))
FAULTS: Mapping[str, Fault] = {
    "401": Fault("the key is not known", change=_always(answered(UNKNOWN_KEY))),
    "403": Fault("the plan does not reach to these days", change=_always(answered(NO_TIMEFRAME))),
    "429": Fault("the call limit is reached; says for how long", {"retry_after": 7.0}, change=_limited),
    "429-bare": Fault("the call limit is reached; says nothing", change=_always(Answer(429))),
    "500": Fault("fails, with an empty body", change=_always(Answer(500))),
    "502-html": Fault("a gateway's page instead of JSON", change=_always(BAD_GATEWAY)),
    "empty-200": Fault("200 without a byte of body", change=_always(Answer(200))),
    "error-200": Fault("200 whose status is ERROR", change=_always(answered(REJECTED))),
    "delayed": Fault("the good answer, marked DELAYED", change=_marked_delayed),
    "slow": Fault("the good answer after some seconds", {"seconds": 5.0}, sending=_send_late),
    "truncated-json": Fault("JSON cut in the middle, its length right", change=_halved),
    "broken-gzip": Fault("a gzip stream cut in the middle, its length right", change=_half_zipped),
    "trickle": Fault("a byte every so many seconds, never the last one", {"seconds": 0.2}, sending=_trickle),
    "silence": Fault("reads the request and says nothing", sending=_say_nothing),
    "reset": Fault("resets the connection", sending=_reset),
    "short-body": Fault("closes before the announced length is sent", sending=_send_short),
    "nan-prices": Fault("one row in five closes at NaN", edit=_of_rows(_with_nan)),
    "negative-prices": Fault("one row in five has negative prices", edit=_of_rows(_with_negative)),
    "unsorted": Fault("rows out of order", edit=_of_rows(_unsorted)),
    "duplicates": Fault("one row in five comes twice", edit=_of_rows(_with_duplicates)),
    "missing-minute": Fault("one minute in seven is missing, never the newest", edit=_with_holes),
    "cut-day": Fault("no rows from an hour (New York) on", {"hour": 11.0}, edit=_of_rows(_cut_day)),
    "midday-hole": Fault(
        "no rows between two hours (New York)", {"first": 10.5, "last": 11.5}, edit=_of_rows(_with_midday_hole)
    ),
    "missing-row": Fault(
        "a row (its start, ms; the middle one) is missing", {"start": 0.0}, edit=_of_rows(_without_row)
    ),
    "yesterday": Fault("rows stamped 24 hours early", edit=_of_rows(_of_yesterday)),
    "empty": Fault("no rows, status OK", edit=_without_rows),
    "next-url-loop": Fault("the next page is this one, for ever", edit=_circling),
    "next-url-foreign": Fault("the next page is on another host", edit=_leading_away),
    "clock-skew": Fault("the provider's clock is so many seconds ahead", {"seconds": 300.0}, change=_skewed),
    "old-snapshot": Fault(
        "today has no daily bar, and the snapshot is that of so many days ago, its prices multiplied by a factor",
        {"days": 1.0, "factor": 0.97},
        bend=_with_old_snapshot,
    ),
    "snapshot-500": Fault("today has no daily bar, and snapshots fail", bend=_with_failing_snapshot),
    "unscheduled-closure": Fault(
        "a day (yyyymmdd; 0: today) is announced as closed and has no bars", {"day": 0.0}, bend=_with_closure
    ),
    "early-close": Fault(
        "an early close of a day (yyyymmdd; 0: today) is announced, and its bars end then",
        {"day": 0.0, "hour": 13.0},
        bend=_with_early_close,
    ),
    "split": Fault(
        "prices before a moment (ms) divided by a factor", {"factor": 2.0, "before": 2.0**62}, edit=_of_rows(_split)
    ),
    "future-bars": Fault("two more minutes, stamped one and two hours after the newest", edit=_with_future_minutes),
    "frozen": Fault("no minute from a moment (ms) on, however late it is", {"since": 0.0}, edit=_frozen),
}


class OnOurDays:
    """A feed whose whole sessions of first .. last stand for the market's trading days since `first`, one after the other
    and over and over, so that a made-up market has a today. On a day with an early close its minutes go on to 16:00."""

    def __init__(self, feed: Feed, calendar: Calendar, first: date, last: date) -> None:
        self._feed, self._calendar, self._first = feed, calendar, first
        sessions = [calendar.session(day) for day in calendar.trading_days(first, last)]
        self._days = [session.day for session in sessions if session is not None and not session.is_short]

    def bars(self, ticker: str, span: Span, first_ms: int, end_ms: int) -> Bars:
        if end_ms <= midnight_ms(self._first):
            return no_bars()
        asked, last = day_of_ms(first_ms), day_of_ms(end_ms - 1)
        pairs = [(day, shown) for day, shown in self._pairs(last) if day >= asked]
        parts = [self._shown(ticker, span, day, shown) for day, shown in pairs]
        whole = Bars(*(np.concatenate([getattr(p, n) for p in [no_bars(), *parts]]) for n in COLUMNS))
        lo, hi = np.searchsorted(whole.t, [first_ms, end_ms])
        return whole[int(lo) : int(hi)]

    def official_open(self, ticker: str, day: date) -> float | None:
        shown = dict(self._pairs(day)).get(day)
        return None if shown is None else self._feed.official_open(ticker, shown)

    def _pairs(self, last: date) -> list[tuple[date, date]]:
        """The trading days up to `last`, each with the day of the feed that stands for it."""
        days = self._calendar.trading_days(self._first, last)
        return [(day, self._days[i % len(self._days)]) for i, day in enumerate(days)]

    def _shown(self, ticker: str, span: Span, day: date, shown: date) -> Bars:
        begin, moved = midnight_ms(shown), midnight_ms(day) - midnight_ms(shown)
        bars = self._feed.bars(ticker, span, begin, begin + DAY_MS)
        t = bars.t + moved
        return replace(bars, t=t, end=self._calendar.day_ends(t) if span is Span.DAY else bars.end + moved)
