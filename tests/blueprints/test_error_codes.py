"""The one table of error codes: it has every code that the code base can emit, and each code has a description that its URI
leads to."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from app.signals.policy import Gate
from blueprints import errors
from blueprints.error_codes import CODES, PAGE, entry_of, uri_of
from serving import refusals
from tests.blueprints.v2.calls import call
from tests.markdown import ROOT, section, table

Serve = Callable[..., Flask]
SHAPE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
NO_CODES = {"SIGNAL", "NO_TRADE"}
"""The reason code of a trade, and the action that has none."""


def emitted() -> set[str]:
    """Every code that stands in the code: given to an error, the code of a class of errors, a code of a status, a gate, or
    written into a body."""
    files = [
        file for folder in ("app", "blueprints", "middleware", "serving") for file in (ROOT / folder).rglob("*.py")
    ]
    found = {code for file in files if file.name != "error_codes.py" for code in _codes_in(file)}
    return (
        found | {gate.value for gate in Gate} | {*errors.HTTP_CODES.values()} | {*refusals.CODES.values()}
    ) - NO_CODES


def _codes_in(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        for part in _parts_with_codes(node):
            yield from _constants(part)


def _parts_with_codes(node: ast.AST) -> Iterator[ast.AST | None]:
    if isinstance(node, ast.keyword) and node.arg in ("code", "reason_code"):
        yield node.value
    if isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == "code" for target in node.targets
    ):
        yield node.value
    if isinstance(node, ast.Dict):
        yield from (
            v
            for k, v in zip(node.keys, node.values, strict=True)
            if isinstance(k, ast.Constant) and k.value == "error_code"
        )
    if isinstance(node, ast.FunctionDef) and node.name == "_code":
        yield from (part.value for part in ast.walk(node) if isinstance(part, ast.Return))


def _constants(node: ast.AST | None) -> Iterator[str]:
    for part in ast.walk(node) if node is not None else ():
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and SHAPE.fullmatch(part.value):
            yield part.value


def test_the_table_has_every_code_that_can_be_emitted_and_no_other() -> None:
    assert emitted() == {entry.code for entry in CODES}


def test_each_code_is_there_once_and_says_what_it_means_and_what_to_do() -> None:
    assert len({entry.code for entry in CODES}) == len(CODES)
    for entry in CODES:
        assert list(entry.statuses) == sorted(set(entry.statuses)), entry.code
        assert entry.meaning.endswith("."), entry.code
        assert entry.advice.endswith("."), entry.code
        assert not entry.title.endswith("."), entry.code


def test_every_status_of_an_error_has_a_code() -> None:
    known = {status for _, status in errors.STATUS} | {*errors.HTTP_CODES, 500, 502}
    known |= {status for status, _ in refusals.UNREADABLE.values()}
    assert known <= {status for entry in CODES for status in entry.statuses}


def test_the_address_of_each_code_leads_to_its_description(serve: Serve) -> None:
    text = serve().test_client().get(PAGE).get_data(as_text=True)
    for code in CODES:
        page, _, anchor = uri_of(code.code).partition("#")
        assert page == PAGE
        assert text.count(f'id="{anchor}"') == 1


@pytest.mark.parametrize(
    ("path", "code"),
    [("/trading-directions/TSLA", "UNSUPPORTED_TICKER"), ("/calendar?from=never", "INVALID_PARAMETER")],
)
def test_a_problem_has_the_address_of_its_kind_and_a_title_that_is_the_same_for_its_kind(
    serve: Serve, path: str, code: str
) -> None:
    problem = call(serve(), path).get_json()
    assert (problem["type"], problem["title"]) == (f"/docs/errors#{code}", entry_of(code).title)


def test_several_faults_stay_a_list_with_pointers(serve: Serve) -> None:
    problem = call(serve(), "/trading-directions?tickers=SPY,TSLA&colour=red").get_json()
    assert [fault["pointer"] for fault in problem["errors"]] == ["/tickers", "/colour"]


def test_the_documents_have_the_same_table() -> None:
    rows = table(section((ROOT / "docs" / "clients.md").read_text(), "Errors"))
    said = [(row[0].strip("`"), row[1], row[2], row[3]) for row in rows]
    assert said == [
        (entry.code, ", ".join(map(str, entry.statuses)), f"{entry.title}. {entry.meaning}", entry.advice)
        for entry in CODES
    ]
