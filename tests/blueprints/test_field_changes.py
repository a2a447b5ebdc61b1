"""What v2 changed against v1, field by field: every field of v1's bodies is there once, and every field of v2 that is named
exists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import pytest
from flask import Flask

from blueprints.field_changes import BELOW, CHANGES, PAGE, Change
from tests.blueprints import openapi as v1
from tests.blueprints.v2 import calls as v2

Serve = Callable[..., Flask]
PLACES = {"tickers.*": "tickers.{ticker}", "models.*": "models.{ticker}", "v6_signals.*": "v6_signals.{ticker}"}
ROUTES = sorted({change.route for change in CHANGES})


def leaves(schema: Any, components: dict[str, Any], path: str = "") -> Iterator[str]:
    """The fields of a schema that hold values, with the way to them: through objects, lists and alternatives. A `*` stands for
    any name."""
    while "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    parts = [part for kind in ("anyOf", "oneOf", "allOf") for part in schema.get(kind, [])]
    parts += [*schema.get("prefixItems", []), *([schema["items"]] if isinstance(schema.get("items"), dict) else [])]
    for part in parts:
        yield from leaves(part, components, path)
    named = dict(schema.get("properties", {}))
    if isinstance(schema.get("additionalProperties"), dict):
        named["*"] = schema["additionalProperties"]
    for name, part in named.items():
        yield from leaves(part, components, f"{path}.{name}" if path else name)
    if not named and path:
        yield path


@cache
def fields(version: int, route: str) -> frozenset[str]:
    """The fields of the answer to GET at a route, without the objects that hold others."""
    whole = v1.document() if version == 1 else v2.document()
    content = whole["paths"][route]["get"]["responses"]["200"]["content"]["application/json"]
    found = set(leaves(content["schema"], whole["components"]["schemas"]))
    return frozenset(name for name in found if not any(other.startswith(f"{name}.") for other in found))


def written(field: str) -> str:
    """A field as the table writes it."""
    for place, name in PLACES.items():
        field = field.replace(place, name)
    return field.replace("*", "{name}")


def row_of(route: str, field: str) -> Change:
    """The row of a field: its own one, or the nearest one of those that speak for all below them."""
    rows = {change.field: change for change in CHANGES if change.route == route}
    if field in rows:
        return rows[field]
    parts = field.split(".")
    above = (f"{'.'.join(parts[:length])}{BELOW}" for length in range(len(parts), 0, -1))
    return next(rows[name] for name in above if name in rows)


def becomes(route: str, field: str) -> tuple[str, str] | None:
    """Route and field of v2 that a field of v1 became; None where it is gone. Raises StopIteration for one without a row."""
    row = row_of(route, field)
    if row.new_route is None or row.new_field is None:
        return None
    below = field[len(row.field) - len(BELOW) :] if row.field.endswith(BELOW) else ""
    return row.new_route, row.new_field.removesuffix(BELOW) + below


@pytest.mark.parametrize("route", ROUTES)
def test_every_field_of_v1_has_a_row(route: str) -> None:
    missing = []
    for field in map(written, fields(1, route)):
        try:
            row_of(route, field)
        except StopIteration:
            missing.append(field)
    assert sorted(missing) == []


@pytest.mark.parametrize("route", ROUTES)
def test_what_a_field_became_is_a_field_of_v2(route: str) -> None:
    wrong = []
    for field in map(written, fields(1, route)):
        new = becomes(route, field)
        if new is not None and new[1] not in {name.replace("*", "{name}") for name in known(new[0])}:
            wrong.append(f"{field} -> {new[0]} {new[1]}")
    assert sorted(wrong) == []


def known(route: str) -> frozenset[str]:
    """The fields of a route of v2, and the objects and lists that hold them."""
    found = fields(2, route)
    above = {".".join(name.split(".")[:length]) for name in found for length in range(1, name.count(".") + 1)}
    return found | above


@pytest.mark.parametrize("route", ROUTES)
def test_every_row_is_of_a_field_that_v1_has_and_each_is_there_once(route: str) -> None:
    rows = [change.field for change in CHANGES if change.route == route]
    assert [field for field, count in Counter(rows).items() if count > 1] == []
    used = {row_of(route, written(field)).field for field in fields(1, route)}
    assert sorted(set(rows) - used) == []


def test_a_field_that_is_gone_has_a_reason() -> None:
    assert [change.field for change in CHANGES if change.new_field is None and not change.note] == []


def test_the_page_and_the_versions_show_every_row(serve: Serve) -> None:
    client = serve().test_client()
    text = client.get(PAGE).get_data(as_text=True)
    assert text.count("<tr>") == len(CHANGES) + 1
    said = client.get("/versions").get_json()["changes"]
    assert said["page"] == PAGE
    assert [tuple(row.values()) for row in said["fields"]] == [tuple(change) for change in CHANGES]
