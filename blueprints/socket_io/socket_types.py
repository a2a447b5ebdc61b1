"""What clients and server send each other over Socket.IO beside the five events of `blueprints/v2/live_types.py`, which are
sent as they are. What comes from a client is bounded, and everything that an event does not take is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import ErrorDetails

from app.config import api_keys
from app.live.live_event import Position, position_of
from app.market.plan import Market
from blueprints.socket_io.described import Described
from blueprints.v2.live_types import EventId
from blueprints.v2.types import Answer, Moment

PROTOCOL: Final = 1
"""The version of this protocol. A change that a client could notice and not ignore makes it another number."""

MOST_TICKERS, MOST_TICKER_LETTERS = 32, 12
"""How many tickers a message may name, and how many letters a ticker may have, whether it is supported or not."""

MOST_KEY_LETTERS, MOST_RECOVERY_LETTERS = api_keys.MAX_LENGTH, 64
MOST_FAULTS, MOST_SHOWN = 5, 40
OUR_OWN, UNKNOWN = "Value error, ", "extra_forbidden"
"""How pydantic begins the message of a validator of ours, and what it calls a field that is not known."""

TAKES: Final = {
    "ticker": f"must be a ticker of 1 to {MOST_TICKER_LETTERS} letters",
    "tickers": f"must be a list of 1 to {MOST_TICKERS} tickers of at most {MOST_TICKER_LETTERS} letters",
    "subscribe": f"must be a ticker of 1 to {MOST_TICKER_LETTERS} letters, or a list of 1 to {MOST_TICKERS} of them",
    "after": "must be the id of an event, like `ab12cd34-17`, or an object with such an id for each ticker",
    "key": f"must be a text of at most {MOST_KEY_LETTERS} letters",
    "pid": f"must be a text of at most {MOST_RECOVERY_LETTERS} letters",
    "offset": f"must be a text of at most {MOST_RECOVERY_LETTERS} letters",
}
"""What each field takes, completing the sentence "`FIELD` ..."."""

Ticker = Annotated[
    str, StringConstraints(strip_whitespace=True, to_upper=True, min_length=1, max_length=MOST_TICKER_LETTERS)
]
"""A ticker as a client writes it, turned into upper case."""

Tickers = Annotated[list[Ticker], Field(min_length=1, max_length=MOST_TICKERS)]
After = EventId | Annotated[dict[Ticker, EventId | None], Field(max_length=MOST_TICKERS)]
"""The id of the last event that a client has: of its one ticker, or of each of its tickers. Ids of tickers that the message
does not name are ignored, so that a client can send all that it has."""

RecoveryText = Annotated[str, Field(max_length=MOST_RECOVERY_LETTERS)]


class ErrorCode(Described):
    """What is wrong."""

    UNKNOWN_EVENT = (
        "UNKNOWN_EVENT",
        "The server has no event of that name.",
        "Send `subscribe` or `unsubscribe`.",
    )
    INVALID_PAYLOAD = (
        "INVALID_PAYLOAD",
        "The event, or `auth`, is not followed by what it takes; `detail` names each field that is wrong.",
        "Correct the fields that `detail` names.",
    )
    UNKNOWN_NAMESPACE = (
        "UNKNOWN_NAMESPACE",
        "The client asks for another namespace than `/`.",
        "Connect to the namespace `/`, which client libraries do where none is named.",
    )
    ALREADY_CONNECTED = (
        "ALREADY_CONNECTED",
        "The client has sent a second CONNECT packet on the same connection. The first one holds.",
        "Send one CONNECT packet on each connection, as client libraries do.",
    )
    UNSUPPORTED_TICKER = (
        "UNSUPPORTED_TICKER",
        "The server has no signals of this ticker.",
        "Subscribe to a ticker that the server supports.",
    )
    TOO_MANY_MESSAGES = (
        "TOO_MANY_MESSAGES",
        "The client sends more messages than it may (`limits.messages_per_second`); this one was not read.",
        "Send fewer. A client that goes on is disconnected.",
    )
    TOO_MANY_CONNECTIONS = (
        "TOO_MANY_CONNECTIONS",
        "The address or key of the client has as many connections as it may (`limits.connections_per_client`).",
        "Close another connection, and subscribe to several tickers over one.",
    )
    UNAUTHORIZED = (
        "UNAUTHORIZED",
        "The API key in `auth.key` is unknown or has expired.",
        "Send a valid key, or none.",
    )
    UNAVAILABLE = (
        "UNAVAILABLE",
        "The state of the ticker cannot be computed now, so that neither events nor heartbeats come.",
        "Wait: events go on by themselves. Until then, what was sent last is not live.",
    )
    INTERNAL = (
        "INTERNAL",
        "The server has a fault. The connection goes on.",
        "Tell the operator when it happened; the log has the fault.",
    )


class ByeReason(Described):
    """Why the server ends a connection."""

    RESTART = (
        "restart",
        "The server stops or is replaced. `retry_after_ms` differs between clients, so that they do not all come at once.",
        "Nothing: the client library connects again by itself.",
    )
    SLOW = (
        "slow",
        "The client did not read what it was sent for too long, or too much was waiting for it.",
        "Read faster, or subscribe to fewer tickers. What was missed comes with `after`.",
    )
    REPLACED = (
        "replaced",
        "The same client has connected again.",
        "Nothing: the newer connection has its subscriptions.",
    )
    TOO_MANY_MESSAGES = (
        "too_many_messages",
        "The client went on to send more messages than it may, though it was told so.",
        "Send fewer.",
    )
    MESSAGE_TOO_LARGE = (
        "message_too_large",
        "The client sent a message of more bytes than `limits.message_bytes`.",
        "Send smaller ones.",
    )
    INVALID_MESSAGE = (
        "invalid_message",
        "The client sent binary data, or something that is no message of Socket.IO.",
        "Use a client library of Socket.IO, protocol version 5, and send JSON alone.",
    )


# --- from the client ---


def _one_of_two(schema: dict[str, Any]) -> None:
    """Says in a schema that there is `ticker` or `tickers`, and not both."""
    schema["oneOf"] = [{"required": ["ticker"]}, {"required": ["tickers"]}]


class ClientMessage(BaseModel):
    """What all messages of clients share: a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TickersMessage(ClientMessage):
    """Names one ticker or several."""

    model_config = ConfigDict(json_schema_extra=_one_of_two)

    ticker: Ticker | None = None
    """One ticker."""
    tickers: Tickers | None = None
    """One ticker or more, instead of `ticker`."""

    @model_validator(mode="after")
    def _names_one_or_several(self) -> TickersMessage:
        if (self.ticker is None) == (self.tickers is None):
            raise ValueError("the payload must have `ticker` or `tickers`, and not both")
        return self

    def named(self) -> Sequence[str]:
        """The tickers, each once, in the order in which they were given."""
        return tuple(dict.fromkeys(self.tickers or (self.ticker or "",)))


class Subscribe(TickersMessage):
    """Subscribes to tickers, in addition to those that the client is subscribed to. A ticker that it is subscribed to already
    begins anew: behind `after`, or with a snapshot."""

    after: After | None = None
    """Where to go on: the `id` of the last event that the client has, or an object with an id for each ticker. Of a ticker
    without one a snapshot comes first."""

    @model_validator(mode="after")
    def _says_of_which_ticker(self) -> Subscribe:
        _check_after(self.after, self.named())
        return self

    def position(self, ticker: str) -> Position | None:
        """The event behind which one of its tickers goes on; None where it begins with a snapshot."""
        return _position(self.after, ticker)


class Unsubscribe(TickersMessage):
    """Ends the events of tickers. It does nothing about those that the client is not subscribed to."""


class ConnectAuth(BaseModel):
    """What a client may put into `auth` when it connects. Other keys are the application's own and are not read."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)

    subscribe: Ticker | Tickers | None = None
    """Tickers that the client is subscribed to at once, as if it had sent `subscribe`. A client that gives `auth` as a function
    is subscribed again after each reconnect."""
    after: After | None = None
    """The same as in `subscribe`."""
    key: Annotated[str, Field(max_length=MOST_KEY_LETTERS)] | None = None
    """The API key."""
    pid: RecoveryText | None = None
    """The client library sets it when it comes back (Socket.IO's connection state recovery)."""
    offset: RecoveryText | None = None
    """The client library sets it when it comes back: the offset of the last event that it has."""

    @model_validator(mode="after")
    def _says_of_which_ticker(self) -> ConnectAuth:
        _check_after(self.after, self.named())
        return self

    def named(self) -> Sequence[str]:
        """The tickers to subscribe to, each once, in the order in which they were given."""
        return (self.subscribe,) if isinstance(self.subscribe, str) else tuple(dict.fromkeys(self.subscribe or ()))

    def position(self, ticker: str) -> Position | None:
        """The event behind which a ticker goes on; None where it begins with a snapshot. A single id is of the ticker that
        `subscribe` names."""
        return None if isinstance(self.after, str) and ticker not in self.named() else _position(self.after, ticker)


def _check_after(after: str | dict[str, str | None] | None, tickers: Sequence[str]) -> None:
    if isinstance(after, str) and len(tickers) != 1:
        raise ValueError("`after` is an object with an id for each ticker unless there is exactly one ticker")


def _position(after: str | dict[str, str | None] | None, ticker: str) -> Position | None:
    found = after.get(ticker) if isinstance(after, dict) else after
    return None if found is None else position_of(found)


def what_is_wrong(exc: ValidationError) -> str:
    """A sentence about a payload that was refused, for `detail`. It repeats nothing of the payload but names of fields, cut to
    MOST_SHOWN letters."""
    errors = exc.errors(include_url=False, include_input=False)
    said = list(dict.fromkeys(_fault(error) for error in errors))
    more = f", and {len(said) - MOST_FAULTS} more" if len(said) > MOST_FAULTS else ""
    return f"{'; '.join(said[:MOST_FAULTS])}{more}"


def _fault(error: ErrorDetails) -> str:
    if not error["loc"]:
        return "the payload must be one object" if error["type"] == "model_type" else error["msg"].removeprefix(OUR_OWN)
    name = str(error["loc"][0])
    return f"`{shown(name)}` {'is not known' if error['type'] == UNKNOWN else TAKES[name]}"


def shown(name: str) -> str:
    """A name that a client sent, for a sentence: MOST_SHOWN letters at most, without halves of surrogate pairs."""
    return name[:MOST_SHOWN].encode(errors="replace").decode()


# --- from the server ---


class Limits(Answer):
    """What a client may do."""

    subscriptions: int = Field(ge=1)
    """How many tickers a connection may be subscribed to at a time."""
    connections_per_client: int = Field(ge=1)
    """How many connections one address, or one API key, may have open at a time."""
    messages_per_second: float = Field(gt=0)
    """How many messages a connection may send a second."""
    message_bytes: int = Field(ge=1)
    """How many bytes a message may have."""


class HelloEvent(Answer):
    """The first event of every connection."""

    protocol: Literal[1] = PROTOCOL
    """The version of this protocol."""
    server_time: Moment
    """Real time of the server."""
    market_time: Moment
    """Market time of the server, which differs from real time in a demo and in a recorded market. A `signal`, `price` or
    `status` event whose `generated_at` is earlier is replayed: it happened before the client connected, and its `freshness` is
    that of its own moment."""
    clock_speed: float = Field(gt=0)
    """How fast the clock of the market runs: market seconds per real second. 1 in the live market."""
    epoch: str
    """The name of the count to which the offsets of this connection belong. It is not the `epoch` of a ticker's events."""
    heartbeat_seconds: float = Field(gt=0)
    """Real seconds between two heartbeats of a ticker."""
    source: Market
    """Where bars come from."""
    recovered: bool
    """Whether the client library found its state again, subscriptions included, so that no event is missing (`socket.recovered`
    says the same)."""
    limits: Limits
    """What this client may do."""


class RejectedTicker(Answer):
    """A ticker that the client is not subscribed to, though it asked for it."""

    ticker: str
    """The ticker as the server read it."""
    code: ErrorCode
    """What is wrong, for programs."""
    detail: str
    """Why, in words."""


class ErrorEvent(Answer):
    """Something that the client sent could not be used, or a subscription cannot go on. The connection goes on."""

    code: ErrorCode
    """What is wrong, for programs."""
    detail: str
    """What happened, in words."""
    ticker: str | None
    """The ticker that it is about; null where it is about none."""
    retry_after_ms: int | None = Field(ge=0)
    """When to try again, real milliseconds from now; null where that would not help."""


class Acknowledgement(Answer):
    """The answer to every event of a client that asks for one, also to an event that could not be used."""

    subscribed: Sequence[str]
    """All tickers that the client is subscribed to now."""
    rejected: Sequence[RejectedTicker]
    """Those that it asked for and did not get."""
    next_by: Moment | None
    """When the next event comes at the latest, whatever happens, in real time of the server; null where the client is
    subscribed to nothing. A client that gets nothing for as long as `next_by` lies behind `server_time` has lost its
    connection; the clock of the client has no part in that."""
    server_time: Moment
    """Real time of the server."""
    market_time: Moment
    """Market time of the server. A `signal`, `price` or `status` event behind `after` whose `generated_at` is earlier is
    replayed."""
    error: ErrorEvent | None = None
    """Why nothing was done; null where the event was read. The same is also sent as the event `error`."""


class ByeEvent(Answer):
    """The last event of a connection that the server ends. The client library connects again by itself."""

    reason: ByeReason
    """Why, for programs."""
    detail: str
    """What happened, in words."""
    retry_after_ms: int = Field(ge=0)
    """When to come back, real milliseconds from now. It differs between clients, so that they do not all come at once."""


class ConnectAnswer(Answer):
    """What the client library gets when it is connected (Socket.IO's CONNECT packet)."""

    sid: str
    """The id of the connection (`socket.id`)."""
    pid: str
    """The client library sends it when it comes back, to find its state again."""


class ConnectRefusal(Answer):
    """Why a client may not connect: `error.data` of `connect_error` (Socket.IO's CONNECT_ERROR packet). The JavaScript client
    does not try again by itself: its program calls `socket.connect()` after `retry_after_ms`, unless that is null."""

    code: ErrorCode
    """What is wrong, for programs."""
    detail: str
    """What happened, in words."""
    retry_after_ms: int | None = Field(ge=0)
    """When to try again, real milliseconds from now; null where the same would be refused again."""
