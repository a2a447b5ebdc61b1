"""Metrics where nobody can scrape: replicas behind an address that leads to any of them push to a Pushgateway instead, each
under its own name, and take their series back when they end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote, unquote, urlsplit

import requests

from middleware.workers import Show

EVERY_S: Final = 15.0
SEND_S: Final = 2.0
JOB: Final = "predict"


class Pushing:
    """`address`: of the Pushgateway, a user and a password in it are sent as such; `names()`: what tells this process from the
    others; `show`: its metrics. Says once that the gateway fails, and that it is back."""

    def __init__(
        self, address: str, names: Callable[[], Mapping[str, str]], show: Show, emit: Callable[..., None]
    ) -> None:
        parts = urlsplit(address)
        self._address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False
        if parts.username is not None:
            self._session.auth = unquote(parts.username), unquote(parts.password or "")
        self._names = names
        self._show = show
        self._emit = emit
        self._failing = False
        self._sending = threading.Lock()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Push from now on; after any fork."""
        threading.Thread(target=self._run, name="pushing", daemon=True).start()

    def push(self) -> None:
        """Push once; nothing after `close`."""
        with self._sending:
            if not self._stopped.is_set():
                self._send("PUT")

    def close(self) -> None:
        """Push no more, and take the series back, so that nobody takes this replica for one that stands still."""
        self._stopped.set()
        last = self._sending.acquire(timeout=SEND_S)  # a push under way would bring them again
        self._send("DELETE")
        if last:
            self._sending.release()

    def _send(self, method: str) -> None:
        try:
            text, content_type = self._show(None, ()) if method == "PUT" else ("", "text/plain")
            group = "".join(f"/{name}/{quote(value, safe='')}" for name, value in self._names().items())
            address, headers = f"{self._address}/metrics/job/{JOB}{group}", {"Content-Type": content_type}
            answer = self._session.request(
                method, address, data=text.encode(), headers=headers, timeout=SEND_S, allow_redirects=False, stream=True
            )
            with answer:
                answer.raise_for_status()
        except Exception as exc:  # a thread that died would leave this replica's series to stand still
            self._tell(failing=True, error=type(exc).__name__)
        else:
            self._tell(failing=False)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.push()
            self._stopped.wait(EVERY_S)

    def _tell(self, *, failing: bool, **why: str) -> None:
        if failing != self._failing:
            self._failing = failing
            self._emit("metrics_not_pushed" if failing else "metrics_pushed", **why)
