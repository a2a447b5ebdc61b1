"""v1's OpenAPI document as a judge of real answers."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from tests.blueprints.schemas import Schemas

FILE = Path(__file__).parent.parent.parent / "blueprints" / "v1" / "openapi.json"
BASE = "urn:v1"


@cache
def document() -> dict[str, Any]:
    """The document as it is committed. Shared: copy before changing it."""
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


def operations() -> dict[str, str]:
    """Every documented path with its method, upper case; a path of v1 has one."""
    return {path: method.upper() for path, item in document()["paths"].items() for method in item}


def documented(path: str, status: int) -> bool:
    """Whether the document says what this path answers with this status."""
    return path in operations() and str(status) in _responses(path)


def validate(path: str, status: int, body: object) -> None:
    """The body is what the document promises. Raises jsonschema.ValidationError that names the place; KeyError if the
    document promises nothing for this path and status."""
    _schemas().check(_schema(path, status), body)


@cache
def _schemas() -> Schemas:
    return Schemas(BASE, document())


@cache
def _schema(path: str, status: int) -> dict[str, str]:
    response = _responses(path)[str(status)]
    if "$ref" in response:
        response = _schemas().registry.resolver(BASE).lookup(response["$ref"]).contents
    return {"$ref": BASE + response["content"]["application/json"]["schema"]["$ref"]}


def _responses(path: str) -> dict[str, Any]:
    (operation,) = document()["paths"][path].values()
    responses: dict[str, Any] = operation["responses"]
    return responses
