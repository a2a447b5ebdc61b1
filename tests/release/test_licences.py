"""Licences of all that ships: each is known and allowed, and the page that lists them is current."""

from __future__ import annotations

import pytest

from ops.release.components import Component, shipped
from ops.release.licences import DECIDED, PAGE, page, refused
from ops.release.locks import EXTRA, RUNTIME, pins


@pytest.fixture(scope="module")
def components() -> list[Component]:
    return shipped()


def test_the_licence_of_everything_that_ships_is_known_and_allowed(components: list[Component]) -> None:
    assert refused(components) == []


def test_what_ships_is_the_server_its_extra_the_dashboard_and_swagger_ui(components: list[Component]) -> None:
    names = {(one.ecosystem, one.name) for one in components}
    foreign = {"colorama", "pywin32", "httpx2-jsfetch", "pycparser", "cffi"}
    assert {name for ecosystem, name in names if ecosystem == "python"} - foreign == {
        *pins(RUNTIME),
        *pins(EXTRA),
    } - foreign
    assert {("node", "svelte"), ("node", "lightweight-charts"), ("node", "swagger-ui-dist")} <= names
    assert not names & {("node", "vite"), ("node", "vitest"), ("python", "pytest"), ("python", "pywin32")}


def test_the_page_of_licences_is_current(components: list[Component]) -> None:
    assert PAGE.read_text() == page(components), "`make licences` writes it"


def test_each_decision_is_about_something_that_ships_under_that_licence(components: list[Component]) -> None:
    licences = {one.name: one.licence for one in components}
    assert {name: licences.get(name) for name in DECIDED} == {name: licence for name, (licence, _) in DECIDED.items()}


@pytest.mark.parametrize(
    ("name", "licence", "passes"),
    [
        ("new", "MIT", True),
        ("new", "Apache-2.0 OR GPL-3.0-only", True),
        ("new", "(MIT OR GPL-3.0-only) AND BSD-3-Clause", True),
        ("new", "MIT AND GPL-3.0-only", False),
        ("new", "AGPL-3.0-or-later", False),
        ("new", "MPL-2.0", False),
        ("certifi", "MPL-2.0", True),
        ("new", "", False),
    ],
)
def test_a_licence_passes_if_it_is_allowed_or_decided_on_for_that_package(
    name: str, licence: str, passes: bool
) -> None:
    lines = refused([Component("python", name, "1.0", "server", licence, False, ())])
    assert lines == ([] if passes else [f"{name} 1.0: {licence or 'unknown'}"])
