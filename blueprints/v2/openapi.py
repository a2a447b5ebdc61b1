"""The OpenAPI document of v2, made from its types and routes (OpenAPI 3.1.1). `make openapi` writes it to
`blueprints/v2/openapi.json`; a test compares the two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from app.signals.policy import SUPPORTED
from blueprints import GROUPS
from blueprints.error_codes import codes_of
from blueprints.v2.fields import PARTIAL, partial_name, partial_schema, pattern_of
from blueprints.v2.headers import (
    ANSWER,
    CACHED,
    ENDING,
    OF_STATUS,
    PROBLEM,
    SIGNATURE,
    Header,
    described,
    header_objects,
)
from blueprints.v2.notifications import WEBHOOKS, Webhook
from blueprints.v2.operations import Operation
from blueprints.v2.problems import Problem
from blueprints.v2.schemas import REF, Json, schemas_of

FILE: Final = Path(__file__).with_name("openapi.json")

PROBLEMS: Final[Mapping[int, str]] = {
    400: "A parameter, or what the request says of itself, is wrong; `errors` names each parameter.",
    401: "The API key is unknown or expired.",
    404: "There is nothing at this path, or the ticker is not supported.",
    405: "The method may not be used here; `Allow` says which may.",
    410: "This version of the API is past its end.",
    413: "The body is too large.",
    429: "Too many requests; `Retry-After` says when the next one is allowed.",
    500: "Something went wrong on the server. `request_id` finds it in the log.",
    503: "The answer cannot be given now; `Retry-After` says when to try again, where that is known.",
}
ABOUT: Final = """\
Each signal is a function of bars that had ended, holds for its hour, and says how old it is.

Every answer has the headers of its limit and of its request; while a version of the API is deprecated, every answer says so
(`Deprecation`, `Sunset`, `Link`). Errors are problems (RFC 9457) whose `type` leads to what the client can do. A request that
never became one, because it is no HTTP or beyond the bounds of a connection, belongs to no version and is refused as
`application/json` with `error` and `error_code`."""


JSON: Final = "application/json"
LINES: Final = ("application/jsonl", "application/x-ndjson")
EVENTS: Final = "text/event-stream"
STREAMED: Final = """\
A stream is sent line by line as it is computed: as JSON lines (`application/jsonl`; the same bytes as `application/x-ndjson`
where that is asked for), or as server-sent events (`text/event-stream`), whose `data` are the same lines. The schema is that
of each line, or of each event. An error after the first line is the last line (`status` is `error`). A stream is never kept,
never compressed, and has `Vary: Accept`."""
SIGNED: Final = """\
Sent to each address of `WEBHOOK_URLS`, signed as Standard Webhooks has it (https://www.standardwebhooks.com): the receiver
checks `webhook-signature` with `WEBHOOK_SECRET`, and drops a message whose `webhook-id` it knows, since one that may have
arrived is sent again. Redirects are not followed."""
RECEIPTS: Final[Json] = {
    "2XX": {"description": "The message was taken. A body is not read."},
    "410": {"description": "Nothing more is to be sent here: nothing is for a week, or until a test is taken."},
    "default": {
        "description": "The message was not taken. It is sent again while it is valid, after `Retry-After` at the earliest."
    },
}
OF_V1: Final = frozenset({"MISSING_PARAMETER", "INVALID_DATE", "INVALID_TIME", "DATE_IN_FUTURE"})
"""Codes of parameters that version 2 does not have."""

TAGS: Final[Mapping[str, str]] = {
    "signals": "What to do, now and in the past.",
    "analyses": "What the market is doing.",
    "server": "Models, trading days, and the server itself.",
    "webhooks": "What the server sends to those whom `WEBHOOK_URLS` names.",
}
TAG_OF: Final[Mapping[str, str]] = {
    **dict.fromkeys(("trading-directions", "replay", "signals"), "signals"),
    **dict.fromkeys(("structure", "swing", "bars"), "analyses"),
}
"""The tag of a path by its first part; all others are about the server."""


class Limit(NamedTuple):
    """Requests that one client may send to a group of routes in any `window_s` seconds, unless the setting says otherwise."""

    group: str
    setting: str
    requests: int
    window_s: int


class Examples(NamedTuple):
    """Recorded answers and messages. answers: by operation and media type, problems: by status, webhooks: by type; of each the
    name, and the answer with what was asked."""

    answers: Mapping[str, Mapping[str, Mapping[str, Json]]]
    problems: Mapping[str, Mapping[str, Json]]
    webhooks: Mapping[str, Mapping[str, Json]]


def document(operations: Iterable[Operation[Any]], limits: Mapping[str, Limit], examples: Examples) -> Json:
    """The whole document. limits: by group."""
    listed = list(operations)
    types: set[type[BaseModel]] = {Problem, *(webhook.body for webhook in WEBHOOKS)}
    types |= {kind for operation in listed for kind in (operation.answer, operation.lines) if kind is not None}
    schemas, queries = schemas_of(types, {operation.query for operation in listed})
    partial = {operation.answer.__name__ for operation in listed if operation.has_fields and operation.answer}
    schemas |= {partial_name(name): partial_schema(name, schemas) for name in sorted(partial)}
    writer = _Writer(limits, examples, queries)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "predict server",
            "version": "2",
            "summary": "Signals for SPY, QQQ and IWM",
            "description": ABOUT,
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": {f"/v2{operation.path}": {"get": writer.operation(operation)} for operation in listed},
        "webhooks": {webhook.name: {"post": writer.webhook(webhook)} for webhook in WEBHOOKS},
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": {f"Problem{status}": writer.problem(status, text) for status, text in PROBLEMS.items()},
            "headers": header_objects(),
            "securitySchemes": {
                "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "Bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{}, {"ApiKey": []}, {"Bearer": []}],
    }


class _Writer:
    """Describes operations. queries: the schema of each query by the name of its class."""

    def __init__(self, limits: Mapping[str, Limit], examples: Examples, queries: Mapping[str, Json]) -> None:
        self._limits, self._examples, self._queries = limits, examples, queries

    def operation(self, operation: Operation[Any]) -> Json:
        """One route."""
        limit = self._limits[GROUPS.get(f"v2.{operation.name}", "other")]
        return {
            "operationId": operation.name,
            "tags": [TAG_OF.get(operation.path.split("/")[1], "server")],
            "summary": operation.summary,
            "description": "\n\n".join((_paragraph(operation.description), *_of_streams(operation), _counted(limit))),
            "parameters": [
                *_path_parameters(operation),
                *self._query_parameters(operation),
            ],
            "responses": self._responses(operation),
            "x-rate-limit": {
                "group": limit.group,
                "setting": limit.setting,
                "requests": limit.requests,
                "window_seconds": limit.window_s,
            },
        }

    def _query_parameters(self, operation: Operation[Any]) -> Iterable[Json]:
        """The parameters of a query; of `fields` the names that its answer has."""
        for parameter in _query_parameters(self._queries[operation.query.__name__]):
            if parameter["name"] == "fields" and operation.answer is not None:
                parameter["schema"]["items"] = {"type": "string", "pattern": pattern_of(operation.answer)}
            yield parameter

    def _responses(self, operation: Operation[Any]) -> Json:
        headers = (*ANSWER, *(CACHED if operation.cached else ()), *ENDING)
        responses: Json = {
            "200": {
                "description": " Or: ".join(
                    _first_paragraph(kind) for kind in (operation.answer, operation.lines) if kind
                ),
                "headers": _references(headers),
                "content": {name: self._with_examples(operation, name, kind) for name, kind in _contents(operation)},
            }
        }
        if operation.lines is not None:
            text = "The event stream that the client opens again was complete (`Last-Event-ID`)."
            responses["204"] = {"description": text, "headers": _references((*ANSWER, *ENDING))}
        if operation.cached:
            text = "The answer is the one that the client has (`If-None-Match`)."
            responses["304"] = {"description": text, "headers": _references(headers)}
        return responses | {str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in PROBLEMS}

    def _with_examples(self, operation: Operation[Any], media_type: str, schema: Json) -> Json:
        examples = self._examples.answers.get(operation.name, {}).get(media_type)
        return {"schema": schema} | ({"examples": dict(examples)} if examples else {})

    def webhook(self, webhook: Webhook) -> Json:
        """A message that the server sends."""
        schema = {"$ref": REF.format(model=webhook.body.__name__)}
        content = {"schema": schema, "examples": dict(self._examples.webhooks[webhook.name])}
        return {
            "operationId": f"webhook_{webhook.name.replace('.', '_')}",
            "tags": ["webhooks"],
            "summary": webhook.summary,
            "description": SIGNED,
            "parameters": [{"name": header.name, "in": "header", **described(header)} for header in SIGNATURE],
            "requestBody": {"required": True, "content": {JSON: content}},
            "responses": RECEIPTS,
            "security": [],
        }

    def problem(self, status: int, text: str) -> Json:
        """The response of a status of errors."""
        content: Json = {"schema": {"$ref": REF.format(model=Problem.__name__)}}
        examples = self._examples.problems.get(str(status))
        return {
            "description": f"{text} Codes: {', '.join(f'`{code}`' for code in codes_of(status) if code not in OF_V1)}.",
            "headers": _references((*PROBLEM, *OF_STATUS.get(status, ()), *ENDING)),
            "content": {"application/problem+json": content | ({"examples": dict(examples)} if examples else {})},
        }


def _references(headers: Iterable[Header]) -> Json:
    return {header.name: {"$ref": f"#/components/headers/{header.name}"} for header in headers}


def _paragraph(docstring: str) -> str:
    """A docstring without the indentation and the line ends of the code."""
    return "\n\n".join(" ".join(part.split()) for part in docstring.split("\n\n"))


def _first_paragraph(kind: type[BaseModel]) -> str:
    return _paragraph(kind.__doc__ or "").split("\n\n")[0]


def _contents(operation: Operation[Any]) -> Iterable[tuple[str, Json]]:
    """The media types of an answer and their schemas. The schema of a stream's media type is that of each of its lines; of an
    event stream it is that of each event (OpenAPI 3.1 has no word for a sequence of them)."""
    if operation.answer is not None:
        yield JSON, {"$ref": REF.format(model=operation.answer.__name__)}
    if operation.answer is not None and operation.has_fields:
        yield PARTIAL, {"$ref": REF.format(model=partial_name(operation.answer.__name__))}
    if operation.lines is None:
        return
    line = {"$ref": REF.format(model=operation.lines.__name__)}
    yield from ((media_type, line) for media_type in LINES)
    data = {"type": "string", "contentMediaType": JSON, "contentSchema": line}
    yield EVENTS, {"type": "object", "properties": {"id": {"type": "string"}, "data": data}, "required": ["data"]}


def _of_streams(operation: Operation[Any]) -> Iterable[str]:
    if operation.lines is not None:
        yield STREAMED


def _counted(limit: Limit) -> str:
    return (
        f"Counts against the limit of the group `{limit.group}`: {limit.requests} requests of one client in any "
        f"{limit.window_s} seconds, unless the operator set another number (`{limit.setting}`)."
    )


def _path_parameters(operation: Operation[Any]) -> Iterable[Json]:
    if operation.has_ticker:
        schema = {"type": "string", "enum": list(SUPPORTED)}
        yield {"name": "ticker", "in": "path", "required": True, "description": "A supported ticker.", "schema": schema}


def _query_parameters(query: Json) -> Iterable[Json]:
    for name, field in query.get("properties", {}).items():
        described = {key: value for key, value in field.items() if key not in ("description", "default")}
        parameter = {"name": name, "in": "query", "required": name in query.get("required", ())}
        parameter |= {"description": field.get("description", ""), "schema": _without_null(described)}
        if parameter["schema"].get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        yield parameter


def _without_null(schema: Json) -> Json:
    """A query has no null: a parameter is given or not."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind.get("type") != "null"]
    return {**{key: value for key, value in schema.items() if key != "anyOf"}, **kinds[0]} if kinds else schema
