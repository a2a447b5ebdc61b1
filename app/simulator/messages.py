"""The calls that reach the simulated provider, the responses that leave it, and the connection as a fault handles it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from app.clock import wall_clock
from app.market.calendar import midnight_ms, ny_day
from app.market.polygon import Reply

JSON = (("Content-Type", "application/json"),)

Options = Mapping[str, float]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReceivedCall:
    """One request that reached the provider. `at`: seconds by the simulator's `now`; `provider_time`: by its clock."""

    at: float
    path: str
    query: str
    authorization: str | None
    traceparent: str | None = None
    provider_time: datetime | None = None

    @property
    def day_ms(self) -> int:
        """Midnight of the provider's running day, ms."""
        return midnight_ms(ny_day(self.provider_time or wall_clock()))


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response that is about to be sent. `skew_s`: by how many seconds its Date header is ahead."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = JSON
    skew_s: float = 0.0


class Connection(Protocol):
    """The connection as a fault handles it."""

    def encode(self, response: HttpResponse) -> bytes: ...

    def write(self, data: bytes) -> None: ...

    def wait(self, seconds: float | None) -> bool:
        """Waits that long, or without end for None. Returns True if the end of the fault ended the wait."""
        ...

    def close_after_write(self) -> None:
        """Closes the connection once what is written is sent."""
        ...

    def reset(self) -> None: ...


def send(connection: Connection, response: HttpResponse, options: Options) -> None:
    """Sends the response as usual: at once, in one write."""
    connection.write(connection.encode(response))


def response_of(reply: Reply) -> HttpResponse:
    """Returns the reply as an HTTP response with a JSON body."""
    return HttpResponse(reply.status, json.dumps(reply.body).encode())
