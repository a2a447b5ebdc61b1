"""Calls of v2's routes, each judged by the OpenAPI document: an answer that it does not promise fails the test."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from flask import Flask
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from werkzeug.routing import Map, Rule
from werkzeug.test import TestResponse

from blueprints.v2.openapi import FILE

BASE = "urn:v2"


@cache
def document() -> dict[str, Any]:
    """The document as it is committed. Shared: copy before changing it."""
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def call(app: Flask, path: str, **options: Any) -> TestResponse:
    """The response to a GET below `/v2`, which is what the document promises."""
    response = app.test_client().get(f"/v2{path}", **options)
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
    schema = promised["content"][response.mimetype]["schema"]["$ref"]
    Draft202012Validator({"$ref": BASE + schema}, registry=_registry()).validate(response.get_json())
    for name in promised["headers"]:
        assert name in response.headers, name


def _resolved(part: dict[str, Any]) -> Any:
    return document()["components"]["responses"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part


@cache
def _registry() -> Registry[Any]:
    resource: Resource[Any] = Resource.from_contents(document(), default_specification=DRAFT202012)
    return Registry().with_resource(BASE, resource)


def _template(path: str) -> str:
    """The documented path that `path` is one of."""
    rules = [Rule(p.removeprefix("/v2").replace("{", "<").replace("}", ">"), endpoint=p) for p in document()["paths"]]
    found, _ = Map(rules).bind("localhost").match(path)
    return str(found).removeprefix("/v2")
