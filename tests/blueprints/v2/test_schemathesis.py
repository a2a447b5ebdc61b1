"""Schemathesis over v2's document: all of its checks, on each operation alone and on sequences of them, against the app; and a
check of our own for the lines of a stream, since it looks into events but into no JSON lines."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, TypeAlias

import pytest
import schemathesis
from flask import Flask
from jsonschema import ValidationError
from schemathesis import Case, CheckContext, HookContext
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response
from schemathesis.engine import Status, events, from_schema
from werkzeug.wsgi import ClosingIterator

from blueprints.v2 import following
from tests.blueprints.v2.calls import document, valid
from tests.support import FakeClock

Serve = Callable[..., Flask]
Environ: TypeAlias = dict[str, Any]
WsgiApp: TypeAlias = Callable[[Environ, Any], Iterable[bytes]]

LINES = ("application/jsonl", "application/x-ndjson")
ENOUGH, ENOUGH_IN_SOAK = 2_000, 10_000
CHECKS = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
    "object_level_authorization",
    "every_line_is_as_documented",
}
"""Schemathesis' checks but `ignored_auth`, which has no work while the server has no keys."""

MOMENTS = [
    "2025-03-11T11:30:00-04:00",
    "2025-03-11T10:00:00-04:00",
    "2025-03-10T13:31:00-04:00",
    "2025-03-10T15:59:59.999999-04:00",
    "2025-03-10T12:00:00Z",
    "2025-03-09T02:30:00-05:00",
    "2024-12-24T13:30:00-05:00",
    "2024-11-29T11:00:00-05:00",
    "2024-11-03T01:30:00-04:00",
    "1993-01-29T10:30:00-05:00",
]
"""Past ones of the running day, of other trading days, of days without trading, and of nights when clocks change."""

DAYS = [
    "2025-03-11",
    "2025-03-10",
    "2025-03-08",
    "2024-11-29",
    "2024-12-25",
    "2024-02-29",
    "1993-01-29",
    "2100-01-01",
]

SERIES = ["2025-03-10T10:56:00-04:00", "2025-03-10T11:01:00-04:00", "2025-03-10T11:04:30-04:00", "2025-03-10T15:05:00Z"]
"""Moments that are the ends of short series."""

BEYOND_SCHEMAS = (
    *("Lies ahead: ", "Lies before ", "Must lie between ", "Must be 0 to "),
    *("Needs `follow=true`", "Needs `at`"),
    *("Is missing (", "Cannot be given beside ", "Must be a moment of the same "),
    *("Is for the span 1d alone", "Is for no daily bars", "Is none that a page "),
)
"""How the faults begin that no JSON schema can rule out: those of two parameters together, and those of the clock."""


ACCEPTED = cycle([*LINES, "text/event-stream", "*/*"])


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    """Asks for each format of a stream in turn."""
    if len(case.operation.definition.raw["responses"]["200"]["content"]) > 1:
        case.headers["Accept"] = next(ACCEPTED)


@schemathesis.check
def every_line_is_as_documented(context: CheckContext, response: Response, case: Case) -> None:
    """The check of our own: every line of a stream of JSON lines is one, and is what the document says of lines."""
    media_type = response.headers["content-type"][0].partition(";")[0]
    if response.status_code == 200 and media_type in LINES:
        said = document()["paths"][case.operation.path]["get"]["responses"]["200"]["content"][media_type]["schema"]
        lines = response.content.decode().split("\n")
        assert lines.pop() == "", "the last line does not end"
        try:
            for line in lines:
                valid(json.loads(line), said)
        except (ValidationError, ValueError) as exc:
            raise AssertionError(str(exc)) from None
        statuses = [json.loads(line).get("status") for line in lines]
        assert (statuses[0] in ("computing", "following"), statuses[-1] in ("complete", "resume")) == (True, True), (
            statuses
        )


@dataclass
class Run:
    """What one run of Schemathesis did.

    cases     how many it made
    distinct  how many different requests reached the server
    passed    how often each check passed
    statuses  how often each status was answered
    failures  what it found, each once with the request that shows it
    """

    cases: int = 0
    distinct: set[tuple[str, ...]] = field(default_factory=set)
    passed: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: dict[str, str] = field(default_factory=dict)

    def watched(self, app: WsgiApp) -> WsgiApp:
        """The app, with its requests and statuses counted."""

        def call(environ: Environ, start_response: Any) -> Iterable[bytes]:
            asked = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "HTTP_ACCEPT", "HTTP_IF_NONE_MATCH")
            self.distinct.add(tuple(environ.get(name, "") for name in asked))

            def begin(status: str, *rest: Any) -> Any:
                self.statuses[int(status[:3])] += 1
                return start_response(status, *rest)

            with closing(ClosingIterator(app(environ, begin))) as body:  # Schemathesis closes no stream
                return [b"".join(body)]

        return call

    def note(self, event: events.EngineEvent) -> None:
        """Counts what an event of the engine tells. An error of the engine is a failure as well."""
        if isinstance(event, events.NonFatalError | events.FatalError):
            self.failures[repr(event)] = ""
        if not isinstance(event, events.ScenarioFinished):
            return
        self.cases += len(event.recorder.cases)
        for check in (check for checks in event.recorder.checks.values() for check in checks):
            self.passed[check.name] += check.status is Status.SUCCESS
            if check.failure_info is not None:
                failure = check.failure_info.failure
                said = f"{event.recorder.label}: {failure.title}: {failure.message}"
                self.failures.setdefault(said, check.failure_info.code_sample)


def drawn_from(**dictionaries: str) -> dict[str, Any]:
    """Query parameters whose values mostly come from a dictionary."""
    return {f"query.{name}": {"dictionary": of, "probability": 0.7} for name, of in dictionaries.items()}


def configuration(fuzzed: int, sequences: int) -> SchemathesisConfig:
    """All phases, the same cases in every run. fuzzed: at most so many of each operation; sequences: of several operations."""
    return SchemathesisConfig.from_dict(
        {
            "seed": 2025,
            "suppress-health-check": ["all"],
            "dictionaries": {
                "moments": {"values": MOMENTS},
                "days": {"values": DAYS},
                "series": {"values": SERIES},
            },
            "parameters": drawn_from(at="moments", day="days", **{"from": "days", "to": "days"}),
            "operations": [
                {"include-path": "/v2/replay/{ticker}", "parameters": drawn_from(**{"from": "series", "to": "series"})}
            ],
            "generation": {"deterministic": True, "max-examples": fuzzed},
            "phases": {
                "examples": {"fill-missing": True},
                "coverage": {"generate-duplicate-query-parameters": True},
                "stateful": {"generation": {"max-examples": sequences}},
            },
        }
    )


@pytest.fixture(autouse=True)
def _following_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LASTS_S", 0.0)


def is_beyond_schemas(response: Response) -> bool:
    """Whether a request was refused for nothing but what no schema can say."""
    if response.status_code != 400:
        return False
    faults = json.loads(response.content).get("errors") or []
    return bool(faults) and all(fault["detail"].startswith(BEYOND_SCHEMAS) for fault in faults)


def run(app: WsgiApp, fuzzed: int, sequences: int, path: str = "") -> Run:
    """Everything that Schemathesis asks this app, of one path of the document if it is named."""
    found, promised = Run(), copy.deepcopy(document())
    if path:
        promised["paths"] = {path: promised["paths"][path]}
    schema = schemathesis.openapi.from_dict(promised, config=configuration(fuzzed, sequences))
    schema.app = found.watched(app)

    @schema.hook
    def filter_failure(context: HookContext, failure: Failure, case: Case, response: Response) -> bool:
        return failure.title != "Schema-valid request rejected" or not is_beyond_schemas(response)

    for event in from_schema(schema).execute():
        found.note(event)
    return found


@pytest.mark.timeout(900)
@pytest.mark.parametrize("share", [24, pytest.param(1, marks=pytest.mark.soak)], ids=["a twenty-fourth", "all"])
def test_two_thousand_cases_find_nothing(serve: Serve, share: int) -> None:
    found, enough = run(serve(), fuzzed=150 // share, sequences=24 // share), ENOUGH // share
    assert found.failures == {}
    assert found.cases >= enough
    assert len(found.distinct) >= enough // 2
    assert {name for name, passed in found.passed.items() if passed >= enough // 2} >= CHECKS
    assert {200, 400, 404, 405} <= set(found.statuses) <= {200, 204, 304, 400, 404, 405}


def with_bodies(app: WsgiApp, edit: Callable[[bytes], bytes]) -> WsgiApp:
    """The app with every body edited, of the same length."""
    return lambda environ, start_response: [edit(b"".join(app(environ, start_response)))]


@pytest.mark.parametrize(
    ("right", "wrong", "path", "said"),
    [
        (b'"NO_TRADE"', b'"NOTRADE" ', "/v2/trading-directions/{ticker}", "Response violates schema"),
        (b'{"data":', b'{"dada":', "/v2/trading-directions/{ticker}/stream", "Custom check failed: `every_line_is"),
    ],
)
def test_what_is_not_as_documented_is_found(serve: Serve, right: bytes, wrong: bytes, path: str, said: str) -> None:
    found = run(with_bodies(serve(), lambda body: body.replace(right, wrong)), fuzzed=3, sequences=1, path=path)
    assert any(failure.startswith(f"GET {path}: {said}") for failure in found.failures), found.failures


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("at", ["2025-03-11 11:30", "2025-03-11 09:31", "2025-03-11 15:59:58", "2025-03-08 12:00"])
def test_ten_thousand_cases_find_nothing(serve: Serve, clock: FakeClock, at: str) -> None:
    """In the hour of a decision, before the first one, two seconds before the close, and in a closed market."""
    clock.set(at)
    found = run(serve(), fuzzed=300, sequences=100)
    assert found.failures == {}
    assert found.cases >= ENOUGH_IN_SOAK // 4
