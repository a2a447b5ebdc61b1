"""Metrics where nobody can scrape: replicas behind an address that leads to any of them push to a Pushgateway instead, each
under its own name, and take their series back when they end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from prometheus_client import CollectorRegistry, delete_from_gateway, push_to_gateway
from prometheus_client.exposition import basic_auth_handler, default_handler

EVERY_S: Final = 15.0
SEND_S: Final = 2.0
JOB: Final = "predict"


class Pushing:
    """`address`: of the Pushgateway, a user and a password in it are sent as such; `names`: what tells this replica from the
    others; `registry`: its metrics. Says once that the gateway fails, and that it is back."""

    def __init__(
        self,
        address: str,
        names: Mapping[str, str],
        registry: CollectorRegistry,
        notice: Callable[..., None],
    ) -> None:
        parts = urlsplit(address)
        host = parts.netloc.rpartition("@")[2]
        self._address = f"{parts.scheme}://{host}{parts.path}".rstrip("/")
        self._user = None if parts.username is None else unquote(parts.username)
        self._password = unquote(parts.password or "")
        self._names = dict(names)
        self._registry = registry
        self._notice = notice
        self._failing = False
        self._sending = threading.Lock()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Push from now on; after any fork."""
        threading.Thread(target=self._run, name="pushing", daemon=True).start()

    def push(self) -> None:
        """Push once; nothing after `close`."""
        with self._sending:
            if self._stopped.is_set():
                return
            try:
                push_to_gateway(self._address, JOB, self._registry, self._names, SEND_S, self._handler)
            except Exception as exc:  # a thread that died would leave this replica's series to stand still
                self._tell(failing=True, error=type(exc).__name__)
            else:
                self._tell(failing=False)

    def close(self) -> None:
        """Push no more, and take the series back, so that nobody takes this replica for one that stands still."""
        self._stopped.set()
        last = self._sending.acquire(timeout=SEND_S)  # a push under way would bring them again
        try:
            delete_from_gateway(self._address, JOB, self._names, SEND_S, self._handler)
        except Exception as exc:  # the server ends all the same
            self._tell(failing=True, error=type(exc).__name__)
        finally:
            if last:
                self._sending.release()

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.push()
            self._stopped.wait(EVERY_S)

    def _tell(self, *, failing: bool, **why: str) -> None:
        if failing != self._failing:
            self._failing = failing
            self._notice("metrics_not_pushed" if failing else "metrics_pushed", **why)

    def _handler(self, url: str, method: str, timeout: float | None, headers: Any, data: bytes) -> Callable[[], None]:
        if self._user is None:
            return default_handler(url, method, timeout, headers, data)
        return basic_auth_handler(url, method, timeout, headers, data, self._user, self._password)
