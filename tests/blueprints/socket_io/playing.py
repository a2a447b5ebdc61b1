"""The server of Socket.IO over events that a test publishes and links that it reads: what each client got, as plain values."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, cast

from app.clock import Timer
from app.errors import RateLimited, Unauthorized
from app.factory.sockets import MESSAGES
from app.live.broadcaster import Broadcasters
from app.live.event_log import Head
from app.live.fan_out import FanOut, Membership, Recipient
from app.live.feed import Feed, Numbers
from app.live.live_event import Kind, LiveEvent, Noticed, Position
from app.market.plan import Market
from app.telemetry.stages import NULL_STAGES
from blueprints.shared.reconnecting import Spread
from blueprints.socket_io.admission import ServerParts
from blueprints.socket_io.client import ClientParts
from blueprints.socket_io.server import SocketServer
from blueprints.socket_io.socket_types import Limits
from serving.link_bounds import Allowance
from tests.live.broadcasting import PlainShape
from tests.support import FakeTimer, new_york

NOTICED = Noticed(new_york("2025-03-11 10:30"), None, None, "", "")


class Owner(NamedTuple):
    id: str = "address:1.2.3.4"
    factor: float = 1.0


class Live:
    """Two tickers, whose events a test publishes one by one."""

    def __init__(self) -> None:
        self.numbers = Numbers()
        self.fan_outs = {
            name: FanOut(Feed(name, PlainShape(), self.numbers), lambda: None, lambda: None) for name in ("SPY", "QQQ")
        }
        self.held = 0

    def begin(self) -> None:
        """The first state of each ticker is known."""
        for name, fan_out in self.fan_outs.items():
            fan_out.feed.publish(head(Position(EPOCHS[name], 0)), [])
            fan_out.deliver()

    def tell(self, ticker: str, kind: Kind = Kind.PRICE) -> None:
        fan_out = self.fan_outs[ticker]
        assert fan_out.feed.head is not None
        position = fan_out.feed.head.position.forward(1)
        body = json.dumps({"kind": kind, "id": str(position)}).encode()
        fan_out.feed.publish(head(position), [LiveEvent(ticker, kind, position, body)])
        fan_out.deliver()

    def join(self, ticker: str, recipient: Recipient, after: Position | None = None) -> Membership:
        return self.fan_outs[ticker].join(recipient, after)

    def hold(self, ticker: str) -> Callable[[], None]:
        self.held += 1
        return self._release

    def _release(self) -> None:
        self.held -= 1

    def position_at(self, ticker: str, number: int) -> Position | None:
        return self.fan_outs[ticker].feed.position_at(number)

    def members(self) -> int:
        return sum(len(one) for one in self.fan_outs.values())


def head(position: Position) -> Head:
    return Head(position, NOTICED, json.dumps({"kind": "snapshot", "id": str(position)}).encode())


EPOCHS = {"SPY": "5b5b5b5b", "QQQ": "99999999"}


class FakeLinks:
    """Keeps what each connection was sent. full: connections whose clients take nothing."""

    def __init__(self) -> None:
        self.sent: dict[str, list[list[Any]]] = defaultdict(list)
        self.ended: dict[str, str] = {}
        self.full: set[str] = set()
        self.gone: set[str] = set()

    def accepts(self, eio_sid: str) -> bool:
        return eio_sid not in self.gone

    def post(self, eio_sid: str, message: str, key: Hashable | None = None) -> bool:
        if eio_sid in self.full and key is not None:
            return False
        self.sent[eio_sid].append(json.loads(message.removeprefix("42")))
        return True

    def sender(self, eio_sid: str) -> None:
        return None

    def finish(self, eio_sid: str, last: str | None = None, code: int = 1013, reason: str = "") -> None:
        self.ended[eio_sid] = reason
        if last is not None:
            self.sent[eio_sid].append(json.loads(last.removeprefix("42")))


class Limit:
    """At most so many connections of one client."""

    def __init__(self, most: int = 20) -> None:
        self.most, self.open = most, 0

    def acquire(self, client: object, group: str) -> None:
        if self.open >= self.most:
            raise RateLimited("the limit of the group `sockets` is used up", retry_after=30)
        self.open += 1

    def release(self, client_id: str) -> None:
        self.open -= 1


class Playing:
    """A server and its clients. A connection is known by a name, which is its Socket.IO and its Engine.IO id."""

    def __init__(self, most: int = 20, key: str | None = None) -> None:
        self.live, self.links, self.limit, self.timer = Live(), FakeLinks(), Limit(most), FakeTimer()
        self.emitted: list[tuple[str, dict[str, Any]]] = []
        self.encoded: list[str] = []
        limits = Limits(subscriptions=3, connections_per_client=most, messages_per_second=10, message_bytes=16384)
        clients = ClientParts(
            cast(Broadcasters, self.live),
            self.links,
            self._message_of,
            self._timer(),
            lambda: Allowance(MESSAGES, self.timer.timer.now),
            Spread(),
            lambda name, **f: self.emitted.append((name, f)),
            NULL_STAGES,
        )
        self.server = SocketServer(
            ServerParts(clients, self.limit, limits, lambda: Market.DEMO, lambda: NOTICED.at, 1.0, self._owner(key))  # type: ignore[arg-type]
        )

    def _message_of(self, text: str) -> str:
        self.encoded.append(text)
        return text

    def _timer(self) -> Timer:
        return self.timer.timer

    def _owner(self, key: str | None) -> Callable[[str], Owner] | None:
        def owner(secret: str) -> Owner:
            if secret != key:
                raise Unauthorized("the API key is unknown or expired")
            return Owner("key:ours")

        return None if key is None else owner

    def connect(self, name: str, auth: object = None, owner: Owner | None = None) -> str:
        """Connect, and return the session's id."""
        self.server.connect(name, name, owner or Owner(), auth)
        self.server.connected(name)
        pid = self.server.pid_of(name)
        assert pid is not None
        return pid

    def cut(self, name: str) -> None:
        self.server.disconnected(name, is_wanted=False)

    def take(self, name: str) -> list[list[Any]]:
        """What was sent since the last look: name, payload, and the offset where there is one."""
        return self.links.sent.pop(name, [])

    def names(self, name: str) -> list[str]:
        return [" ".join(filter(None, (one[0], one[1].get("id"), one[1].get("instead")))) for one in self.take(name)]
