"""The AsyncAPI document of the Socket.IO protocol, made from its types (AsyncAPI 3.0.0). `make asyncapi` writes it to
`blueprints/socket_io/asyncapi.json`; a test compares the two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from blueprints.socket_io.socket_types import (
    PROTOCOL,
    Acknowledgement,
    ByeEvent,
    ConnectAnswer,
    ConnectAuth,
    ConnectRefusal,
    ErrorEvent,
    HelloEvent,
    Subscribe,
    Unsubscribe,
)
from blueprints.v2.live_types import HeartbeatEvent, PriceEvent, SignalEvent, SnapshotEvent, StatusEvent
from blueprints.v2.schemas import REF, Json, schemas_of

FILE: Final = Path(__file__).with_name("asyncapi.json")
PATH: Final = "/socket.io/"
OFFSET: Final = (
    "Its second argument is the offset of the event, a text that the client library keeps to find its state again; or null, "
    "for an event that was missed and is not the last of those."
)
FIRST_OFFSET: Final = "Its second argument is the first offset, or null on a connection whose state was found again."
NO_OFFSET: Final = "Its second argument is null."
ABOUT: Final = f"""\
Live signals of SPY, QQQ and IWM over Socket.IO (protocol version 5, namespace `/`, path `{PATH}`).

A client connects, subscribes to tickers, and gets a snapshot of each and every change from then on. Payloads are JSON objects.
Those of the five events about a ticker are the lines of
`GET /v2/trading-directions/{{ticker}}/stream?follow=true` in the OpenAPI document, which is at `/openapi.json`."""


class Event(NamedTuple):
    """A message under the name that clients give to `on` and `emit`. offset: what is said of the argument behind the payload,
    which is an offset; None where there is none."""

    name: str
    payload: type[BaseModel]
    offset: str | None = None


SENT: Final = (
    Event("hello", HelloEvent, FIRST_OFFSET),
    Event("snapshot", SnapshotEvent, OFFSET),
    Event("signal", SignalEvent, OFFSET),
    Event("price", PriceEvent, OFFSET),
    Event("status", StatusEvent, OFFSET),
    Event("heartbeat", HeartbeatEvent, NO_OFFSET),
    Event("error", ErrorEvent),
    Event("bye", ByeEvent),
)
"""The events that the server sends."""

RECEIVED: Final = (Event("subscribe", Subscribe), Event("unsubscribe", Unsubscribe))
"""The events that the server takes, each of which it acknowledges."""

CONNECT: Final = Event("connect", ConnectAuth)
ANSWERS: Final = (Event("connected", ConnectAnswer), Event("connect_error", ConnectRefusal))
ACKNOWLEDGEMENT: Final = Event("acknowledgement", Acknowledgement)
MESSAGES: Final = (*SENT, *RECEIVED, ACKNOWLEDGEMENT, CONNECT, *ANSWERS)

Examples = Mapping[str, Sequence[Json]]
"""Payloads by the name of a message."""


def document(examples: Examples) -> Json:
    """The whole document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "predict server, live",
            "version": str(PROTOCOL),
            "description": ABOUT,
        },
        "defaultContentType": "application/json",
        "servers": {"this": _server()},
        "channels": {"root": _channel()},
        "operations": dict(_operations()),
        "components": {
            "schemas": schemas(),
            "messages": {event.name: _message(event, examples) for event in MESSAGES},
            "securitySchemes": {
                "ApiKey": {"type": "httpApiKey", "in": "header", "name": "X-API-Key"},
                "Bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def schemas() -> Json:
    """The schemas of all messages and of the types in them."""
    received = {event.payload for event in (*RECEIVED, CONNECT)}
    sent, asked = schemas_of({event.payload for event in MESSAGES} - received, received)
    asked = {name: {**_without_nulls(schema), "title": name} for name, schema in asked.items()}
    whole: Json = _for_draft_7(dict(sorted((sent | asked).items())))
    return whole


def _server() -> Json:
    return {
        "host": "{host}",
        "protocol": "socketio",
        "pathname": PATH,
        "description": "The server that answers this document. An API key may stand in `auth.key` instead of a header.",
        "variables": {"host": {"default": "127.0.0.1:8000", "description": "Its name and port."}},
    }


def _channel() -> Json:
    return {
        "address": "/",
        "title": "The namespace of Socket.IO",
        "description": "All messages go over the default namespace.",
        "servers": [{"$ref": "#/servers/this"}],
        "messages": {event.name: {"$ref": f"#/components/messages/{event.name}"} for event in MESSAGES},
    }


def _message(event: Event, examples: Examples) -> Json:
    about = " ".join((event.payload.__doc__ or "").split())
    found = examples.get(event.name, ())
    return {
        "name": event.name,
        "title": event.name,
        "summary": about,
        **({"description": event.offset} if event.offset else {}),
        "payload": {"$ref": REF.format(model=event.payload.__name__)},
        **({"examples": [{"payload": payload} for payload in found]} if found else {}),
        "x-offset": {OFFSET: "always", FIRST_OFFSET: "first", NO_OFFSET: "null", None: "never"}[event.offset],
    }


def _operations() -> Iterator[tuple[str, Json]]:
    yield CONNECT.name, {**_operation("receive", [CONNECT]), "reply": _reply(ANSWERS)}
    for event in RECEIVED:
        yield event.name, {**_operation("receive", [event]), "reply": _reply([ACKNOWLEDGEMENT])}
    for event in SENT:
        yield event.name, _operation("send", [event])


def _operation(action: str, events: Sequence[Event]) -> Json:
    return {"action": action, **_reply(events)}


def _reply(events: Sequence[Event]) -> Json:
    return {
        "channel": {"$ref": "#/channels/root"},
        "messages": [{"$ref": f"#/channels/root/messages/{event.name}"} for event in events],
    }


def _without_nulls(schema: Json) -> Json:
    """The schema of a message of a client. Its fields are there or not; that a null is taken for one that is not there needs no
    word."""
    fields = {name: _without_null(field) for name, field in schema["properties"].items()}
    return {**schema, "properties": fields}


def _without_null(field: Json) -> Json:
    kinds = [kind for kind in field["anyOf"] if kind.get("type") != "null"]
    kept = {key: value for key, value in field.items() if key not in ("anyOf", "default")}
    return {**kept, **(kinds[0] if len(kinds) == 1 else {"anyOf": kinds})}


def _for_draft_7(schema: Any) -> Any:
    """The schema in the dialect of AsyncAPI 3.0, in which nothing beside a `$ref` counts."""
    if isinstance(schema, list):
        return [_for_draft_7(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _for_draft_7(value) for key, value in schema.items()}
    if "$ref" in found and len(found) > 1:
        found["allOf"] = [{"$ref": found.pop("$ref")}]
    return found
