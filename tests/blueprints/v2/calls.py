"""Calls of v2's routes, each judged by the OpenAPI document: an answer that it does not promise fails the test."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from flask import Flask
from werkzeug.routing import Map, MapAdapter, Rule
from werkzeug.test import TestResponse

from blueprints.v2.openapi import FILE
from tests.blueprints.schemas import Schemas

BASE = "urn:v2"
STREAMS = ("application/jsonl", "application/x-ndjson", "text/event-stream")


@cache
def document() -> dict[str, Any]:
    """The document as it is committed. Shared: copy before changing it."""
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def call(app: Flask, path: str, **options: Any) -> TestResponse:
    """The response to a GET below `/v2`, which is what the document promises."""
    response = app.test_client().get(f"/v2{path}", **options)
    response.get_data()
    response.close()  # a stream that is not closed stays open
    judge(path.partition("?")[0], response)
    return response


def ask(app: Flask, path: str, **options: Any) -> Any:
    """The body of the answer 200 to a GET below `/v2`."""
    response = call(app, path, **options)
    assert response.status_code == 200, response.get_data(as_text=True)
    return response.get_json()


def judge(path: str, response: TestResponse) -> None:
    """Raises jsonschema.ValidationError that names the place, KeyError for a status or a content type that is not promised."""
    promised = document()["paths"][f"/v2{_template(path)}"]["get"]["responses"][str(response.status_code)]
    promised = _resolved(promised)
    if "content" not in promised:
        assert not response.data
        return
    schema = promised["content"][response.mimetype]["schema"]
    for value in lines_of(response) if response.mimetype in STREAMS else [response.get_json()]:
        valid(value, schema)
    for name, header in promised["headers"].items():
        assert name in response.headers or not _resolved(header)["required"], name


def lines_of(response: TestResponse) -> list[Any]:
    """The lines of a stream; of an event stream the events, as objects of `id` and `data`."""
    text = response.get_data(as_text=True)
    if response.mimetype != "text/event-stream":
        return [json.loads(line) for line in text.splitlines()]
    return [dict(field.split(": ", 1) for field in event.splitlines()) for event in text.split("\n\n") if event]


def valid(value: Any, schema: dict[str, Any]) -> None:
    """Raises jsonschema.ValidationError unless the document's schema allows the value. JSON in a string is checked, too."""
    _schemas().check(_based(schema), value)
    for name, part in schema.get("properties", {}).items():
        if "contentSchema" in part:
            valid(json.loads(value[name]), part["contentSchema"])


def _based(schema: dict[str, Any]) -> dict[str, Any]:
    return {"$ref": BASE + schema["$ref"]} if "$ref" in schema else schema


def _resolved(part: dict[str, Any]) -> Any:
    """What a reference into the components leads to, or the part itself."""
    if "$ref" not in part:
        return part
    kind, name = part["$ref"].split("/")[-2:]
    return document()["components"][kind][name]


@cache
def _schemas() -> Schemas:
    return Schemas(BASE, document())


def _template(path: str) -> str:
    """The documented path that `path` is one of."""
    found, _ = _documented().match(path)
    return str(found).removeprefix("/v2")


@cache
def _documented() -> MapAdapter:
    rules = [Rule(p.removeprefix("/v2").replace("{", "<").replace("}", ">"), endpoint=p) for p in document()["paths"]]
    return Map(rules).bind("localhost")
