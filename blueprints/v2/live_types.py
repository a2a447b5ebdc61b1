"""The events that those who follow a ticker get, and the lines around them. The first field of an event is its `kind`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from app.live.live_event import Kind, Missed
from app.market.plan import Market
from blueprints.v2.types import Answer, Freshness, Moment, Prices, Signal, StructureSummary

EventId = Annotated[str, Field(pattern=r"^[0-9a-f]{8}-[0-9]{1,15}$")]
"""`epoch-seq`, which `after` and `Last-Event-ID` take."""


class MarketStatus(Answer):
    """What stands around the signals of a ticker."""

    market_open: bool
    next_open: Moment | None
    """When the market next opens; null while it is open."""
    data_stale: bool
    """Whether a bar is overdue in an open market."""
    provider_held_back: bool
    """Whether calls to the provider are held back, because many failed."""
    models: str
    """Which models are loaded."""


class LiveEvent(Answer):
    """What every event but a heartbeat says."""

    kind: Kind
    id: EventId
    """`epoch-seq`: the place behind which a client goes on that comes back."""
    ticker: str
    epoch: str
    """The name of the sequence. Another one begins where the one before cannot be continued."""
    seq: int = Field(ge=0)
    """The number in the sequence, one count for all kinds, without a gap. A snapshot has that of the event before it."""
    generated_at: Moment
    """Market time of the state that is told of."""
    as_of: Moment | None
    """The end of the newest bar that the price rests on."""
    freshness: Freshness
    """How far the price could be trusted at `generated_at`. It says nothing about the moment at which the event is sent, which
    is later where a client gets what it missed."""
    source: Market
    told_afterwards: bool
    """Whether it was found afterwards, from the bars, since nobody followed or the server was down at its moment. The newest
    signal of the events is the one that holds until its lock expires, also where this is true."""


class SnapshotEvent(LiveEvent):
    """All that is known now: the first event, and what comes in place of events that cannot be sent."""

    kind: Literal[Kind.SNAPSHOT] = Kind.SNAPSHOT
    signal: Signal
    status: MarketStatus
    resumed: bool | None = None
    """False where events are missing that the client should have got; null where it asked for none."""
    missed: Missed | None = None
    """Why they are missing."""


class SignalEvent(LiveEvent):
    """A decision was locked, or a gate changed."""

    kind: Literal[Kind.SIGNAL] = Kind.SIGNAL
    signal: Signal


class PriceEvent(LiveEvent):
    """A new bar."""

    kind: Literal[Kind.PRICE] = Kind.PRICE
    prices: Prices
    structure: StructureSummary | None
    """Null in a closed market, and while fewer than 30 one-minute bars of the day are known."""


class StatusEvent(LiveEvent):
    """The market opened or closed, data became stale or current, calls to the provider are held back or made again, or other
    models were loaded."""

    kind: Literal[Kind.STATUS] = Kind.STATUS
    status: MarketStatus


class HeartbeatEvent(Answer):
    """Nothing changed, or nothing is known yet. It comes every 15 s, real time."""

    kind: Literal[Kind.HEARTBEAT] = Kind.HEARTBEAT
    id: EventId | None
    """The id of the last event; null, as `epoch` and `seq` are, while the server computes the first state of the ticker."""
    ticker: str
    epoch: str | None
    seq: int | None = Field(ge=0)
    server_time: Moment
    """Real time of the server."""
    next_by: Moment
    """When the next event comes at the latest, whatever happens. Like `server_time` it is real time of the server, whereas
    `generated_at` and `as_of` of other events are market time. A client that gets nothing for as long as it lies behind
    `server_time` has lost its connection; the clock of the client has no part in that."""


class Following(Answer):
    """The line that is sent at once where a client goes on behind an event, and behind the stages where it begins."""

    status: Literal["following"] = "following"
    ticker: str
    after: EventId | None
    """The event behind which it goes on; null where it begins with a snapshot."""
    heartbeat_seconds: float
    """Real seconds between two heartbeats."""
    ends_in_seconds: float
    """Real seconds until the stream ends by itself."""


class Resume(Answer):
    """The last line of a stream that ends by itself, or because the server stops: how to go on."""

    status: Literal["resume"] = "resume"
    after: EventId | None
    """The last event that was sent; null where there was none."""
    retry_after_ms: int
    """When to ask again, real milliseconds from now. It differs between clients, so that they do not all come at once."""
