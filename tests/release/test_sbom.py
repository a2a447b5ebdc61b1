"""The list of all that ships keeps to CycloneDX's schema, is complete, and is the same for the same release."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from app.version import VERSION
from ops.release.components import Component, shipped
from ops.release.sbom import bill


@pytest.fixture(scope="module")
def components() -> list[Component]:
    return shipped()


@pytest.fixture(scope="module")
def text(components: list[Component]) -> str:
    return bill(components)


@pytest.fixture(scope="module")
def document(text: str) -> Any:
    return json.loads(text)


def test_it_keeps_to_the_schema(text: str) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"library"', '"book"', 1)) is not None


def test_it_lists_each_component_with_its_address_and_licence(document: Any, components: list[Component]) -> None:
    assert {part["purl"] for part in document["components"]} == {one.purl for one in components}
    assert all(part["licenses"] for part in document["components"])
    assert (document["metadata"]["component"]["name"], document["metadata"]["component"]["version"]) == (
        "predict-server",
        VERSION,
    )


def test_it_says_what_needs_what(document: Any, components: list[Component]) -> None:
    purls = {(one.ecosystem, one.name): one.purl for one in components}
    needs = {entry["ref"]: entry.get("dependsOn", []) for entry in document["dependencies"]}
    assert purls["python", "werkzeug"] in needs[purls["python", "flask"]]
    assert purls["node", "engine.io-client"] in needs[purls["node", "socket.io-client"]]


def test_it_has_no_time_and_no_chance_in_it(document: Any, text: str, components: list[Component]) -> None:
    assert "timestamp" not in document["metadata"]
    assert bill(components[::-1]) == text
    assert json.loads(bill(components[:-1]))["serialNumber"] != document["serialNumber"]
