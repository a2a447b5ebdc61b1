"""The OpenAPI document of v2, made from its types and routes (OpenAPI 3.1.1). `make openapi` writes it to
`blueprints/v2/openapi.json`; a test compares the two."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from app.signals.policy import SUPPORTED
from blueprints.v2.operations import Operation
from blueprints.v2.problems import Problem

FILE: Final = Path(__file__).with_name("openapi.json")
REF: Final = "#/components/schemas/{model}"
Json = dict[str, Any]

PROBLEMS: Final[Mapping[int, str]] = {
    400: "A parameter is wrong; `errors` names each.",
    401: "The API key is unknown, expired or missing.",
    404: "There is nothing at this path, or the ticker is not supported.",
    405: "The method may not be used here; `Allow` says which may.",
    410: "This version of the API is past its end.",
    413: "The body is too large.",
    429: "Too many requests; `Retry-After` says when the next one is allowed.",
    500: "Something went wrong on the server. `request_id` finds it in the log.",
    503: "The answer cannot be given now; `Retry-After` says when to try again, where that is known.",
}
RATE_HEADERS: Final[Mapping[str, str]] = {
    "RateLimit-Policy": "The limit of the route's group: its name, requests `q` in a window of `w` seconds.",
    "RateLimit": "What the limit leaves: requests `r`, and in `t` seconds the next one.",
    "X-Request-Id": "The id of the request, which the log has too.",
}
CACHE_HEADERS: Final[Mapping[str, str]] = {
    "ETag": "The tag of this answer; a request with it in `If-None-Match` gets 304 while the answer is the same.",
    "Cache-Control": "For how many seconds the answer holds: `max-age` ends when it can next change.",
}


def document(operations: Iterable[Operation[Any]]) -> Json:
    """The whole document."""
    listed = list(operations)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "predict server",
            "version": "2",
            "summary": "Signals for SPY, QQQ and IWM",
            "description": "Each signal is a function of bars that had ended, holds for its hour, and says how old it is.",
        },
        "servers": [{"url": "/"}],
        "paths": {f"/v2{operation.path}": {"get": _operation(operation)} for operation in listed},
        "components": {
            "schemas": _schemas(listed),
            "responses": {f"Problem{status}": _problem(status, text) for status, text in PROBLEMS.items()},
            "headers": {name: _header(text) for name, text in {**RATE_HEADERS, **CACHE_HEADERS}.items()},
            "securitySchemes": {
                "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "Bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{}, {"ApiKey": []}, {"Bearer": []}],
    }


def _schemas(operations: Sequence[Operation[Any]]) -> Json:
    """The types of all answers and lines, and those of queries' parameters."""
    types: set[type[BaseModel]] = {Problem}
    types |= {kind for operation in operations for kind in (operation.answer, operation.lines) if kind is not None}
    ordered = sorted(types, key=lambda model: model.__name__)
    _, answered = models_json_schema([(model, "serialization") for model in ordered], ref_template=REF)
    queried = [operation.query.model_json_schema(ref_template=REF).get("$defs", {}) for operation in operations]
    schemas = {name: schema for group in (*queried, answered["$defs"]) for name, schema in group.items()}
    return dict(sorted(schemas.items()))


def _operation(operation: Operation[Any]) -> Json:
    headers = [*RATE_HEADERS, *(CACHE_HEADERS if operation.cached else ())]
    described = operation.answer or operation.lines
    responses: Json = {
        "200": {
            "description": (described.__doc__ or "").split("\n\n")[0] if described else "",
            "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in headers},
            "content": dict(_contents(operation)),
        }
    }
    if operation.lines is not None:
        responses["204"] = {"description": "The event stream that the client opens again was complete."}
    if operation.cached:
        responses["304"] = {"description": "The answer is the one that the client has."}
    responses |= {str(status): {"$ref": f"#/components/responses/Problem{status}"} for status in PROBLEMS}
    return {
        "operationId": operation.name,
        "summary": operation.description.split("\n")[0],
        "parameters": [*_path_parameters(operation), *_query_parameters(operation)],
        "responses": responses,
    }


def _contents(operation: Operation[Any]) -> Iterable[tuple[str, Json]]:
    """The media types of an answer. The schema of a stream's media type is that of each of its lines; of an event stream it
    is that of each event (OpenAPI 3.1 has no word for a sequence of them)."""
    if operation.answer is not None:
        yield "application/json", {"schema": {"$ref": REF.format(model=operation.answer.__name__)}}
    if operation.lines is None:
        return
    line = {"$ref": REF.format(model=operation.lines.__name__)}
    for media_type in ("application/jsonl", "application/x-ndjson"):
        yield media_type, {"schema": line}
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": line}
    event = {"type": "object", "properties": {"id": {"type": "string"}, "data": data}, "required": ["data"]}
    yield "text/event-stream", {"schema": event}


def _path_parameters(operation: Operation[Any]) -> Iterable[Json]:
    if operation.has_ticker:
        schema = {"type": "string", "enum": list(SUPPORTED)}
        yield {"name": "ticker", "in": "path", "required": True, "description": "A supported ticker.", "schema": schema}


def _query_parameters(operation: Operation[Any]) -> Iterable[Json]:
    schema = operation.query.model_json_schema(by_alias=True, ref_template=REF)
    for name, field in schema.get("properties", {}).items():
        described = {key: value for key, value in field.items() if key not in ("title", "description", "default")}
        parameter = {"name": name, "in": "query", "required": name in schema.get("required", ())}
        parameter |= {"description": field.get("description", ""), "schema": _without_null(described)}
        if described.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        yield parameter


def _without_null(schema: Json) -> Json:
    """A query has no null: a parameter is given or not."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind.get("type") != "null"]
    return {**{key: value for key, value in schema.items() if key != "anyOf"}, **kinds[0]} if kinds else schema


def _problem(status: int, text: str) -> Json:
    response: Json = {
        "description": text,
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}},
        "content": {"application/problem+json": {"schema": {"$ref": REF.format(model=Problem.__name__)}}},
    }
    return response


def _header(text: str) -> Json:
    return {"description": text, "schema": {"type": "string"}}


def write() -> None:
    """Writes the document."""
    from blueprints.v2.routes import operations

    FILE.write_text(json.dumps(document(operations.all), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write()
