"""Pushes metrics where nothing can scrape them: replicas behind one address push to a Pushgateway, each under labels of its
own, and delete their series when they stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote, unquote, urlsplit

import requests

from app.telemetry.exposition import Expose

EVERY_S: Final = 15.0
SEND_S: Final = 2.0
JOB: Final = "predict"


class PushgatewayClient:
    """`address`: URL of the Pushgateway; a user and a password in it are sent as Basic authentication. `labels()`: what
    distinguishes this process from others. `expose`: its metrics. Emits `metrics_not_pushed` once when the gateway fails, and
    `metrics_pushed` when it works again."""

    def __init__(
        self, address: str, labels: Callable[[], Mapping[str, str]], expose: Expose, emit: Callable[..., None]
    ) -> None:
        parts = urlsplit(address)
        self._address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False
        if parts.username is not None:
            self._session.auth = unquote(parts.username), unquote(parts.password or "")
        self._labels = labels
        self._expose = expose
        self._emit = emit
        self._failing = False
        self._sending = threading.Lock()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Push in the background from now on. To be called after any fork."""
        threading.Thread(target=self._run, name="pushing", daemon=True).start()

    def push(self) -> None:
        """Push once. Does nothing after `close`."""
        with self._sending:
            if not self._stopped.is_set():
                self._send("PUT")

    def close(self) -> None:
        """Push no more, and delete the series, so that this replica is not taken for one that hangs."""
        self._stopped.set()
        acquired = self._sending.acquire(timeout=SEND_S)  # a push in progress would create the series again
        self._send("DELETE")
        if acquired:
            self._sending.release()

    def _send(self, method: str) -> None:
        try:
            text, content_type = self._expose(None, ()) if method == "PUT" else ("", "text/plain")
            group = "".join(f"/{name}/{quote(value, safe='')}" for name, value in self._labels().items())
            address, headers = f"{self._address}/metrics/job/{JOB}{group}", {"Content-Type": content_type}
            response = self._session.request(
                method, address, data=text.encode(), headers=headers, timeout=SEND_S, allow_redirects=False, stream=True
            )
            with response:
                response.raise_for_status()
        except Exception as exc:  # if this ended the thread, the series of this replica would no longer change
            self._report(failing=True, error=type(exc).__name__)
        else:
            self._report(failing=False)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.push()
            self._stopped.wait(EVERY_S)

    def _report(self, *, failing: bool, **why: str) -> None:
        if failing != self._failing:
            self._failing = failing
            self._emit("metrics_not_pushed" if failing else "metrics_pushed", **why)
