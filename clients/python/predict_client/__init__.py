"""A small client of the predict server: signals of now and of past moments, and a ticker followed live.

    client = Client("http://127.0.0.1:8000")
    print(client.signal("SPY")["action"])
    for event in client.follow("SPY"):
        print(event.kind, event.data)

It needs `requests` alone. It works in a thread and in a notebook: it handles no signals and runs no event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast
from urllib.parse import quote

import requests

from predict_client.errors import ApiError, PredictError, ProtocolError, Stale
from predict_client.following import Event, Follow
from predict_client.live_events import Signal
from predict_client.responses import checked, json_of

__all__ = ["ApiError", "Client", "Event", "Follow", "PredictError", "ProtocolError", "Signal", "Stale"]

JSON_LINES = "application/jsonl"


class Client:
    """Asks one server. base_url: its address; api_key: is sent in a header and never in an address; timeout_s: seconds to wait
    for a connection, and for the next bytes of an answer. Threads may share a client. Raises ValueError for an address that
    does not begin with http:// or https://."""

    def __init__(
        self, base_url: str = "http://127.0.0.1:8000", *, api_key: str | None = None, timeout_s: float = 20.0
    ) -> None:
        if not base_url.lower().startswith(("http://", "https://")):
            raise ValueError(f"the address of a server begins with http:// or https://, unlike {base_url!r}")
        self._base = base_url.rstrip("/")
        self._headers = {} if api_key is None else {"X-API-Key": api_key}
        self._timeout_s = timeout_s

    def signal(self, ticker: str) -> Signal:
        """The signal of one ticker. Raises ApiError if the server refuses, and requests.RequestException if it cannot be
        reached."""
        return cast(Signal, self._get(_path(ticker)))

    def signals(self, tickers: Sequence[str] = ()) -> list[Signal]:
        """The signals of these tickers, by default of all. Raises as `signal` does."""
        query = {"tickers": ",".join(tickers)} if tickers else {}
        return cast(list[Signal], self._get("/v2/trading-directions", query)["signals"])

    def replay(self, ticker: str, at: datetime) -> Signal:
        """The signal of one ticker at a past moment. Raises ValueError if the moment has no time zone, else as `signal`
        does."""
        if at.tzinfo is None:
            raise ValueError(
                "the moment needs a time zone, like datetime(2025, 3, 11, 11, 30, tzinfo=ZoneInfo('America/New_York'))"
            )
        return cast(Signal, self._get(f"/v2/replay/{quote(ticker, safe='')}", {"at": at.isoformat()}))

    def follow(
        self,
        ticker: str,
        *,
        after: str | None = None,
        grace_s: float = 10.0,
        on_connection: Callable[[str], None] = lambda text: None,
    ) -> Follow:
        """The events of one ticker as they come, without an end: `for event in client.follow("SPY")`. after: the id of the
        last event that is known already; grace_s: seconds beyond what the server promised before the silence counts as
        stale. The first event of all may take 45 s beside them, since a server that has just started fetches bars first.
        on_connection: is called with some words when the connection ends, when attempts to make another one begin to fail in
        another way, and when it is back; in the thread that waits for the next event."""

        def connect(last_id: str | None, wait_s: float) -> requests.Response:
            query = {"follow": "true"} | ({} if last_id is None else {"after": last_id})
            headers = {"Accept": JSON_LINES, "Accept-Encoding": "identity"}
            return self._send(f"{_path(ticker)}/stream", query, headers, wait_s, stream=True)

        return Follow(ticker, connect, after=after, grace_s=grace_s, on_connection=on_connection)

    def _get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        return json_of(checked(self._send(path, query or {}, {"Accept": "application/json"}, self._timeout_s)))

    def _send(
        self, path: str, query: Mapping[str, str], headers: Mapping[str, str], wait_s: float, *, stream: bool = False
    ) -> requests.Response:
        """One request. A redirect is not followed, since it would take the key to another server."""
        return requests.get(
            self._base + path,
            params=query,
            headers={**headers, **self._headers},
            timeout=(min(self._timeout_s, wait_s), wait_s),
            allow_redirects=False,
            stream=stream,
        )


def _path(ticker: str) -> str:
    return f"/v2/trading-directions/{quote(ticker, safe='')}"
