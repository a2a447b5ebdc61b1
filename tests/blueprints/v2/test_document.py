"""The OpenAPI document of v2: valid, made from the types, and complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import OpenAPIV31SpecValidator

from blueprints.v2 import openapi
from blueprints.v2.routes import operations
from tests.blueprints.v2.calls import document

Serve = Callable[..., Flask]


def test_the_committed_document_is_the_one_that_the_types_make() -> None:
    """After a change: make openapi."""
    assert document() == openapi.document(operations.all)


def test_the_document_is_valid_openapi_3_1() -> None:
    assert document()["openapi"] == "3.1.1"
    OpenAPIV31SpecValidator(document()).validate()


def test_the_documented_paths_are_v2s_routes(serve: Serve) -> None:
    rules = [rule for rule in serve().url_map.iter_rules() if rule.endpoint.startswith("v2.")]
    assert {rule.rule.replace("<", "{").replace(">", "}") for rule in rules} == set(document()["paths"])
    assert all((rule.methods or set()) - {"HEAD", "OPTIONS"} == {"GET"} for rule in rules)


@pytest.mark.parametrize("path", sorted(document()["paths"]))
@pytest.mark.parametrize("status", [200, 400, 401, 404, 405, 410, 413, 429, 500, 503])
def test_every_path_documents_every_status_a_client_may_meet(path: str, status: int) -> None:
    assert str(status) in document()["paths"][path]["get"]["responses"]


def objects(schema: object, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object schema below, with its place."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield where, schema
        for key, member in schema.items():
            yield from objects(member, f"{where}/{key}")
    elif isinstance(schema, list):
        for place, member in enumerate(schema):
            yield from objects(member, f"{where}/{place}")


def test_every_object_is_closed_and_every_type_described() -> None:
    found = list(objects(document()["components"]["schemas"]))
    assert len(found) > 50
    assert [where for where, schema in found if "additionalProperties" not in schema] == []
    assert [where for where, schema in found if where.count("/") == 1 and not schema.get("description")] == []
    enums = {name: schema for name, schema in document()["components"]["schemas"].items() if "enum" in schema}
    assert len(enums) > 20
    assert [name for name, schema in enums.items() if not schema.get("description")] == []


def test_no_two_types_share_a_name() -> None:
    """Pydantic names both after their modules then, which generators of clients cut off again."""
    names = list(document()["components"]["schemas"])
    assert [name for name in names if "__" in name] == []
    assert len({name.lower() for name in names}) == len(names)
