"""What starts the events of a server of `python -m bench.fan_out`: each byte that arrives on a connection of its own is one."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import gevent
from gevent.server import StreamServer

from bench.events import numbers

PORT = int(os.environ["TRIGGER_PORT"])


def on_trigger(publish: Callable[[int], object]) -> None:
    """Calls `publish(number)` for each event, in a greenlet. The other greenlets have a turn between two events."""

    def handle(client: Any, address: object) -> None:
        while data := client.recv(64):
            for _ in data:
                publish(next(numbers))
                gevent.sleep(0)

    StreamServer(("127.0.0.1", PORT), handle).start()
