"""A server of a live market whose provider, clock and connection a test has in its hands."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from app.simulator.server import PolygonSimulator
from tests.browser.relay import Relay
from tests.browser.turned import TurnedClock, turned
from tests.redis_server import free_port
from tests.serving.test_gunicorn import Server

DAY = "2025-03-11"


class Played:
    """A server of a live market behind a relay, its provider, its clock, and a page that looks at it through the relay."""

    def __init__(self, folder: Path, provider: PolygonSimulator, clock: TurnedClock) -> None:
        self.provider, self.clock = provider, clock
        self._folder, self._port = folder, free_port()
        self._running = ExitStack()
        self.relay = Relay(self._port)

    def start(self) -> Server:
        """Start the server, again on the same port and with the same data."""
        values = {"MARKET": "polygon", "POLYGON_BASE_URL": self.provider.address}
        self.server = self._running.enter_context(turned(self._folder, self.clock, port=self._port, **values))
        return self.server

    def kill(self) -> None:
        self._running.close()

    def forward(self, text: str) -> None:
        """The market time becomes this one."""
        self.clock.set(f"{DAY} {text}")
