"""The market-data client (polygon.md): asks for bars and open prices, turns answers into Bars and failures into errors.

The network is one callable, `Transport`: (path, params) -> Reply. Over HTTP it is `HttpTransport`; the recorded and
the demo market are transports too (`FeedTransport`), so that every market runs this client. It never caches, never retries and
never puts a key or an address into a message.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from app.clock import REAL_TIME, Timer
from app.errors import BudgetSpent, NotEntitled, Unavailable, Upstream
from app.market.bars import Bars, Floats, Ints, Span, repaired, to_ms
from app.market.calendar import ONE_DAY, Calendar, Session, midnight_ms

MAX_PAGES = 100
PAGE_LIMIT = 50_000
SESSIONS_PER_PAGE = PAGE_LIMIT // (16 * 60)
"""A page holds so many base bars: of spans within the day minutes, which there are from 04:00 to 20:00 (polygon.md 3)."""

MAX_REPLY_BYTES = 64 * 2**20
LONGEST_WAIT_S = 3600.0
HOSTS = frozenset({"api.massive.com", "api.polygon.io"})
PATH_SPAN = {
    Span.MINUTE: "1/minute",
    Span.FIVE_MINUTES: "5/minute",
    Span.HALF_HOUR: "30/minute",
    Span.HOUR: "1/hour",
    Span.DAY: "1/day",
}
FIELDS = ("o", "h", "l", "c", "v")
BEYOND = 9e15
"""No price, volume or moment in ms is as large; whole numbers below it are exact as floats."""

OUTSIDE = "outside the days asked for"
NANOSECONDS_IN_MS = 1_000_000
"""Snapshots are dated in nanoseconds, bars in milliseconds (polygon.md 2)."""

KEY_REFUSED = "the provider does not know the API key"


class Reply(NamedTuple):
    """What a transport returns: HTTP status, decoded JSON (None if it was not JSON), seconds of Retry-After, how many seconds
    the call took, and the provider's own time (Date header, RFC 9110 6.6.1)."""

    status: int
    body: Any
    retry_after: float | None = None
    took_s: float = 0.0
    date: datetime | None = None


class ProviderNotFound(Upstream):
    """The provider does not know the path or the ticker (404)."""


Transport = Callable[[str, Mapping[str, str]], Reply]


@dataclass(frozen=True, slots=True)
class Aggregates:
    """Bars of one request. `delayed`: the provider marks them as late; `rejected`: dropped rows by reason; `widened`: how many
    rows have a low or high that was widened by a rounding.

    `starts`: the start, ms, of every row delivered, broken ones included: a bar that is there but unusable differs from a
    bar that is missing (policy.md 3, gates 3 and 4).
    """

    bars: Bars
    delayed: bool
    rejected: Counter[str]
    starts: frozenset[int]
    widened: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A ticker's running day. `open`: USD, None if it is not known yet (0 means unknown, polygon.md 3.14). `dates`: the
    moments, ms since the epoch, that the provider gives for it: of the update, and of the newest minute."""

    open: float | None
    dates: tuple[int, ...]

    def is_of(self, session: Session) -> bool:
        """Whether every date of the snapshot lies between the session's open and the end of its day. A snapshot without a
        date, of another day, or of the hours before the open has no open of the session."""
        first, end = to_ms(session.open), midnight_ms(session.day + ONE_DAY)
        return bool(self.dates) and all(first <= date_ms < end for date_ms in self.dates)


class Polygon:
    """Polygon's REST interface as far as this server uses it (polygon.md 2).

    Every method raises Upstream (the call failed, or its answer cannot be right), BudgetSpent (429), NotEntitled (403) or
    Unavailable (no key).
    """

    def __init__(self, transport: Transport, calendar: Calendar, base_url: str = "https://api.massive.com") -> None:
        self._transport = transport
        self._calendar = calendar
        self._origin = _origin(base_url)

    def aggregates(self, ticker: str, span: Span, first: date | int, last: date) -> Aggregates:
        """Returns all bars that start from New York day `first`, or from that moment in ms, to the end of day `last`;
        split-adjusted, repaired."""
        path = f"/v2/aggs/ticker/{ticker}/range/{PATH_SPAN[span]}/{first}/{last}"
        params = {"adjusted": "true", "sort": "asc", "limit": str(PAGE_LIMIT)}
        rows: list[Any] = []
        delayed = False
        for page in self._pages(path, params):
            if page.get("ticker", ticker) != ticker:
                raise Upstream("the provider answered for another ticker")
            results = page.get("results") or []
            if not isinstance(results, list):
                raise Upstream("the provider's answer holds no list of bars")
            rows += results
            delayed = delayed or page.get("status") == "DELAYED"
        window = first if isinstance(first, int) else midnight_ms(first), midnight_ms(last) + Span.DAY.ms * 25 // 24
        return self._aggregates(rows, span, delayed, window)

    def snapshot(self, ticker: str) -> Snapshot:
        """Returns the running day as the provider knows it (polygon.md 2, call 6)."""
        body = self._call(f"/v2/snapshot/locale/us/markets/stocks/tickers/{ticker}", {})
        ticker_body = _inner(body, "ticker")
        if ticker_body.get("ticker", ticker) != ticker:
            raise Upstream("the provider answered for another ticker")
        price = _inner(ticker_body, "day").get("o")
        dates = (
            _positive(ticker_body.get("updated"), NANOSECONDS_IN_MS),
            _positive(_inner(ticker_body, "min").get("t"), 1),
        )
        known = float(price) if _is_number(price) and price is not None and price > 0 else None
        return Snapshot(known, tuple(date_ms for date_ms in dates if date_ms is not None))

    def upcoming_closures(self) -> list[Any]:
        """Returns the rows of announced holidays and early closes as they are (polygon.md 2, call 10)."""
        reply = self._transport("/v1/marketstatus/upcoming", {})
        if reply.status == 200 and isinstance(reply.body, list):
            return reply.body
        raise_for_reply(reply, marked=False)
        raise Upstream("the provider's answer holds no list of holidays")

    def _aggregates(self, rows: list[Any], span: Span, delayed: bool, window: tuple[int, int]) -> Aggregates:
        t, columns, malformed = _columns(rows)
        outside = (t < window[0]) | (t >= window[1])
        columns = {name: column[~outside] for name, column in columns.items()}
        bars, rejected, widened = repaired(t[~outside], columns, self._ends(span))
        rejected += Counter({"not a bar": malformed, OUTSIDE: int(outside.sum())})
        return Aggregates(bars, delayed, +rejected, frozenset(t.tolist()), widened)

    def _ends(self, span: Span) -> Callable[[Ints], Ints]:
        return self._calendar.day_ends if span is Span.DAY else lambda t: t + span.ms

    def _pages(self, path: str, params: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Yields the answer and those to which its `next_url` leads (polygon.md 3.4)."""
        seen = set()
        for _ in range(MAX_PAGES):
            body = self._call(path, params)
            yield body
            following = body.get("next_url")
            if not following:
                return
            path, params = self._follow(str(following))
            if (path, *params.items()) in seen:
                raise Upstream("the provider's pages lead in a circle")
            seen.add((path, *params.items()))
        raise Upstream(f"the provider's answer has more than {MAX_PAGES} pages")

    def _follow(self, url: str) -> tuple[str, dict[str, str]]:
        """Returns path and parameters of a `next_url`, which may only lead to the provider (polygon.md 1). Raises Upstream."""
        try:
            parts, origin = urlsplit(url), _origin(url)
        except ValueError:
            raise Upstream("the provider's next page is no address") from None
        trusted = parts.scheme == "https" and parts.hostname in HOSTS and origin[2] in (None, 443)
        if not trusted and origin != self._origin:
            raise Upstream("the provider's next page points to a foreign host")
        return parts.path, {k: v for k, v in parse_qsl(parts.query) if k.lower() != "apikey"}

    def _call(self, path: str, params: Mapping[str, str]) -> dict[str, Any]:
        reply = self._transport(path, params)
        raise_for_reply(reply)
        body: dict[str, Any] = reply.body
        return body


def raise_for_reply(reply: Reply, *, marked: bool = True) -> None:
    """Raises the failures of polygon.md 6. A good answer passes; where `marked`, it must have the status `OK` or `DELAYED`."""
    body = reply.body if isinstance(reply.body, dict) else {}
    if reply.status == 200:
        if not isinstance(reply.body, dict):
            raise Upstream("the provider's answer is not JSON of the agreed shape")
        if marked and body.get("status") not in ("OK", "DELAYED"):
            message = "the provider did not answer the request"
            raise Upstream(message, detail=f"{message}: {_reason_given(body)}")
    elif reply.status == 401:
        raise Unavailable(KEY_REFUSED, part="api_key", code="DATA_FETCH_ERROR")
    elif reply.status == 403:
        message = "the data plan does not include this data"
        raise NotEntitled(message, detail=f"{message} ({_reason_given(body)})")
    elif reply.status == 404:
        raise ProviderNotFound("the provider answered with status 404")
    elif reply.status == 429:
        wait = 20.0 if reply.retry_after is None else reply.retry_after
        raise BudgetSpent("the provider's call limit is reached", retry_after=wait)
    else:
        message = f"the provider answered with status {reply.status}"
        raise Upstream(message, detail=f"{message}: {_reason_given(body)}")


def _reason_given(body: Mapping[str, Any]) -> str:
    """Returns the provider's own words, cut short, without anything that looks like an address or a key parameter."""
    text = str(body.get("error") or body.get("message") or "no reason given")
    return re.sub(r"\S*(?:://|apikey)\S*", "...", text, flags=re.IGNORECASE)[:160]


def _columns(rows: list[Any]) -> tuple[Ints, dict[str, Any], int]:
    """Returns starts and columns o h l c v of the rows that have the form of a bar, and how many have not. Values may still be
    bad."""
    objects = [row for row in rows if isinstance(row, dict)]
    starts = _numbers(objects, "t")
    good = ~np.isnan(starts)
    t = starts[good].astype(np.int64)
    return t, {name: _numbers(objects, name)[good] for name in FIELDS}, len(rows) - len(t)


def _numbers(rows: list[dict[str, Any]], name: str) -> Floats:
    """Returns the values under a name; NaN for what is no number. Where all are numbers they are not looked at one by one."""
    values = [row.get(name) for row in rows]
    if set(map(type, values)) <= {int, float}:
        with suppress(OverflowError):
            column = np.array(values, dtype=np.float64)
            return np.where(np.abs(column) < BEYOND, column, np.nan)
    return np.array([value if _is_number(value) else np.nan for value in values], dtype=np.float64)


def _inner(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Returns the object under a name; an empty one if there is none."""
    inner = body.get(name)
    return inner if isinstance(inner, dict) else {}


def _positive(value: Any, unit: int) -> int | None:
    """Returns a whole number above 0 in whole units; None for anything else."""
    return value // unit if type(value) is int and value > 0 else None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -BEYOND < value < BEYOND


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


class HttpTransport:
    """Calls the provider over HTTP with a bearer key (polygon.md 1).

    `connect_s` and `read_s` bound one socket operation each, `total_s` the whole call; `headers()` go with each. Redirects are
    not followed, so that the key goes to the configured host alone.
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        connect_s: float = 5.0,
        read_s: float = 15.0,
        total_s: float = 20.0,
        pool: int = 10,
        headers: Callable[[], Mapping[str, str]] = dict,
        timer: Timer = REAL_TIME,
    ) -> None:
        self._now = timer.now
        self._headers = headers
        self._base_url = base_url
        self._timeouts = (connect_s, read_s)
        self._total_s = total_s
        self._session = _session(base_url, pool)
        self._session.auth = _Bearer(key)

    def __call__(self, path: str, params: Mapping[str, str]) -> Reply:
        began = self._now()
        try:
            response = self._session.get(
                self._base_url + path,
                params=params,
                headers=self._headers(),
                timeout=self._timeouts,
                stream=True,
                allow_redirects=False,
            )
            with response:
                body = _json_or_none(_read(response, began + self._total_s, self._now))
                wait = _retry_after(response.headers.get("Retry-After"), response.headers.get("Date"))
                dated_at = _date(response.headers.get("Date"))
                return Reply(response.status_code, body, wait, self._now() - began, dated_at)
        except requests.Timeout:
            raise Upstream("the provider did not answer in time") from None
        except (requests.RequestException, HTTPError, OSError, ValueError) as exc:
            message = "the connection to the provider failed"
            raise Upstream(message, detail=f"{message} ({type(exc).__name__})") from None


def _session(base_url: str, pool: int) -> requests.Session:
    """Returns a session for one host, with the proxy and the certificates that the environment names for it now. They are not
    read again for each call."""
    session = requests.Session()
    found = session.merge_environment_settings(base_url, {}, None, None, None)
    session.proxies, session.verify, session.trust_env = found["proxies"], found["verify"], False
    session.mount(base_url, HTTPAdapter(pool_maxsize=pool, pool_connections=1))
    return session


class _Bearer(requests.auth.AuthBase):
    """Sets the key as a header. As an auth object it also keeps requests from reading the machine's .netrc."""

    def __init__(self, key: str) -> None:
        self._header = f"Bearer {key}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


def _read(response: requests.Response, deadline: float, now: Callable[[], float]) -> bytes:
    """Returns the whole body, which is read piece by piece so that the deadline holds for a slow one, too. Raises Upstream."""
    body = bytearray()
    while piece := response.raw.read1(65_536, decode_content=True):
        body += piece
        if len(body) > MAX_REPLY_BYTES:
            raise Upstream("the provider's answer is too large")
        if now() > deadline:
            raise Upstream("the provider did not finish its answer in time")
    return bytes(body)


def _json_or_none(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _retry_after(value: str | None, date_header: str | None) -> float | None:
    """Returns the seconds of a Retry-After header (RFC 9110 10.2.3), which is a number, or a date by the provider's own clock;
    None if it is absent or cannot be read."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_WAIT_S)
    try:
        wait = (parsedate_to_datetime(text) - parsedate_to_datetime(date_header or "")).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(wait, 0.0), LONGEST_WAIT_S)


def _date(value: str | None) -> datetime | None:
    """Returns the moment of a Date header; None where it is missing, cannot be read or names no time zone."""
    try:
        moment = parsedate_to_datetime(value or "")
    except (ValueError, TypeError):
        return None
    return None if moment.tzinfo is None else moment


def no_key(path: str, params: Mapping[str, str]) -> Reply:
    """The transport of a server without a key. Every call raises Unavailable, which says what is missing (ruling M1)."""
    raise Unavailable("no market-data key is configured", part="api_key", code="DATA_FETCH_ERROR")
