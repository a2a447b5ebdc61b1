"""`make openapi`: records the examples of the OpenAPI document of v2 from a demo market at a fixed moment, and writes the
document."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from flask import Flask
from werkzeug.test import TestResponse

from app.config import api_versions
from app.config.api_versions import VERSIONS, Versions
from app.config.settings import Settings, load
from app.factory import create_app
from app.market.bars import Span
from app.market.calendar import NY, Calendar
from app.market.demo import DemoFeed
from app.market.feed_transport import FeedTransport
from app.notify.message import Condition
from app.signals.policy import SUPPORTED
from blueprints.v2.fields import PARTIAL
from blueprints.v2.notifications import NotificationBodies
from blueprints.v2.openapi import EVENTS, FILE, JSON, LINES, Examples, Limit, document
from blueprints.v2.operations import Operation
from blueprints.v2.routes import operations
from blueprints.v2.schemas import Json

EXAMPLES: Final = FILE.with_name("examples.json")
MOMENT: Final = datetime(2025, 3, 6, 12, 10, tzinfo=NY)
"""Of the demo market's own calendar: a Thursday with signals locked at 12:00."""

QUERIES: Final[Mapping[str, str]] = {
    "replay": "?at=2024-06-12T14:35:00-04:00",
    "calendar": "?from=2025-03-06&to=2025-03-07",
}
"""What is asked of operations that need a query."""

FIELDS: Final[Mapping[str, str]] = {
    "trading_directions": "signals.ticker,signals.action,signals.probability",
    "trading_direction": "action,probability,lock.expires_at",
    "structure": "price,northstar.phase4",
    "swing": "price,swing.phase4",
    "bars": "bars.start,bars.close",
    "recorded_signals": "signals.day,signals.action,signals.outcome,next",
}
"""Which fields are asked of operations that give partial answers."""

STREAM_QUERIES: Final[Mapping[str, str]] = {
    "replay": "?from=2024-06-12T14:58:00-04:00&to=2024-06-12T15:02:00-04:00",
}
"""What is asked of operations that stream beside their answer."""

SECONDS: Final = {"data": 0.412, "rpe": 0.009, "v6": 0.003, "signal": 0.001, "total": 0.427}

MOST_TRIES: Final = 20
"""How often bars are waited for, each time for as long as a request may wait."""

MOST_ENTRIES: Final = 6
"""How many entries of a list an example shows."""

HEADERS: Final = {
    "X-Request-Id": "2f1c9a7d5b3e4860a1c2d3e4f5061728",
    "traceparent": "00-2f1c9a7d5b3e4860a1c2d3e4f5061728-a1b2c3d4e5f60718-00",
}
ENDED: Final = Versions(
    [
        *(version for version in VERSIONS if version.number != 2),
        replace(
            VERSIONS[2],
            released=date(2025, 1, 2),
            contract="0" * 64,
            deprecated=date(2025, 1, 2),
            sunset=date(2025, 7, 2),
            successor=1,
        ),
    ]
)
"""A table in which version 2 is past its end."""


def made() -> Json:
    """The document, with the examples that were recorded."""
    found = json.loads(EXAMPLES.read_text())
    return document(operations.all, limits(), Examples(found["answers"], found["problems"], found["webhooks"]))


def limits() -> Mapping[str, Limit]:
    """The rate limit of each group of routes as it is unless it is set otherwise."""
    fields = {name: field for name, field in Settings.model_fields.items() if name.startswith("rate_limit_")}
    groups = {
        name.removeprefix("rate_limit_"): field for name, field in fields.items() if isinstance(field.default, int)
    }
    return {name: Limit(name, str(field.alias), field.default, 60) for name, field in groups.items()}


# --- examples ---


def record() -> Json:
    """The examples: the answer of each operation, and an error of each status."""
    with serving() as app:
        wait_for_bars(app)
        answers = {operation.name: recorded_answer(app, operation) for operation in operations.all}
        webhooks = {message["type"]: {"recorded": _message(message)} for message in recorded_messages(app)}
    problems = {str(status): recorded_problem(status) for status in sorted(PROBLEMS)}
    return {"answers": answers, "problems": problems, "webhooks": webhooks}


def wait_for_bars(app: Flask) -> None:
    """Asks until all bars are there: on a busy machine those of a demo market take longer than one request waits. Raises
    ValueError if they do not come."""
    for _ in range(MOST_TRIES):
        if all(
            signal["freshness"] == "live"
            for signal in answer_to(app, "/v2/trading-directions", JSON).get_json()["signals"]
        ):
            return
    raise ValueError("the bars of the demo market do not come")


def recorded_answer(app: Flask, operation: Operation[Any]) -> Json:
    """The example of an operation. Raises ValueError if its request is refused: QUERIES then lacks one that is good."""
    path = f"/v2{operation.path}".replace("{ticker}", "SPY")
    found: Json = {}
    if operation.answer is not None:
        asked = path + QUERIES.get(operation.name, "")
        found[JSON] = {"recorded": _example(asked, answer_to(app, asked, JSON).get_json())}
    if operation.has_fields:
        asked = f"{path}?fields={FIELDS[operation.name]}"
        found[PARTIAL] = {"recorded": _example(asked, answer_to(app, asked, PARTIAL).get_json())}
    if operation.lines is not None:
        asked = path + STREAM_QUERIES.get(operation.name, "")
        lines = answer_to(app, asked, LINES[0]).get_data(as_text=True).splitlines()
        found |= {key: {name: _example(asked, line) for name, line in kinds_of(lines).items()} for key in LINES}
        events = answer_to(app, asked, EVENTS).get_data(as_text=True).split("\n\n")
        found[EVENTS] = {"recorded": _example(asked, _event(events[0]))}
    return found


def recorded_messages(app: Flask) -> Iterator[Json]:
    """What a webhook gets, one message of each type."""
    pipeline = app.extensions["predict-server"].pipeline
    bodies, decision = NotificationBodies(pipeline), pipeline.signal("SPY", MOMENT).decision
    for body in (bodies.signal(decision, MOMENT), bodies.state("SPY", Condition.STALE, MOMENT), bodies.test(MOMENT)):
        yield json.loads(body)


def _message(body: Json) -> Json:
    return {"summary": f"`{body['type']}` of a demo market at {MOMENT.isoformat()}", "value": shortened(body)}


def answer_to(app: Flask, path: str, media_type: str) -> TestResponse:
    """The answer in a media type. Raises ValueError if there is none."""
    response = app.test_client().get(path, headers={**HEADERS, "Accept": media_type})
    if (response.status_code, response.mimetype) != (200, media_type):
        raise ValueError(f"GET {path} as {media_type}: {response.get_data(as_text=True)}")
    return response


def kinds_of(lines: Sequence[str]) -> Mapping[str, Json]:
    """The first line of each kind by its name. Durations differ each time: those of an example are chosen."""
    found: dict[str, Json] = {}
    for line in map(json.loads, lines):
        if "seconds" in line:
            line["seconds"] = SECONDS
        found.setdefault(line.get("status", next(iter(line))), line)
    return found


def _event(text: str) -> Json:
    return dict(field.split(": ", 1) for field in text.splitlines())


def _example(asked: str, value: Any) -> Json:
    return {"summary": f"GET {asked} on a demo market at {MOMENT.isoformat()}", "value": shortened(value)}


def shortened(value: Any) -> Any:
    """The value with at most MOST_ENTRIES entries in each list."""
    if isinstance(value, dict):
        return {name: shortened(inner) for name, inner in value.items()}
    return [shortened(inner) for inner in value[:MOST_ENTRIES]] if isinstance(value, list) else value


def _clock() -> datetime:
    return MOMENT


@lru_cache(maxsize=1)
def _market() -> FeedTransport:
    """The demo market with its days made, which takes longer on a busy machine than a fetch may."""
    calendar = Calendar()
    feed = DemoFeed(calendar)
    for ticker in SUPPORTED:
        feed.bars(ticker, Span.DAY, 0, 1)
    return FeedTransport(feed, calendar, _clock)


@contextmanager
def serving(versions: Versions = VERSIONS, **overrides: Any) -> Iterator[Flask]:
    """A server of the demo market that stands at MOMENT."""
    with TemporaryDirectory() as folder:
        values = {"market": "demo", "data_dir": Path(folder), "log_level": "ERROR", **overrides}
        app = create_app(load(**values), clock=_clock, transport=_market(), versions=versions)
        try:
            yield app
        finally:
            app.extensions["predict-server"].close()


def _asked(path: str, **options: Any) -> Callable[[], TestResponse]:
    def ask() -> TestResponse:
        with serving() as app:
            return app.test_client().get(path, headers=HEADERS | options.pop("headers", {}), **options)

    return ask


def _with_a_wrong_key() -> TestResponse:
    keys = "viewer:standard:2099-01-01:" + "0" * 64
    with serving(api_keys=keys) as app:
        return app.test_client().get("/v2/status", headers={**HEADERS, "X-API-Key": "predict_wrong"})


def _past_its_end() -> TestResponse:
    with serving(versions=ENDED) as app:
        return app.test_client().get("/v2/status", headers=HEADERS)


def _of_too_many() -> TestResponse:
    with serving(rate_limit_other=1) as app:
        client = app.test_client()
        client.get("/v2/status")
        return client.get("/v2/status", headers=HEADERS)


def _of_a_fault() -> TestResponse:
    def fail() -> str:
        raise RuntimeError("an example")

    with serving() as app:
        app.view_functions["v2.status"] = fail
        return app.test_client().get("/v2/status", headers=HEADERS)


def _without_a_model() -> TestResponse:
    with TemporaryDirectory() as empty, serving(models_dir=Path(empty)) as app:
        return app.test_client().get("/v2/models/SPY", headers=HEADERS)


def _by_post() -> TestResponse:
    with serving() as app:
        return app.test_client().post("/v2/status", headers=HEADERS)


PROBLEMS: Final[Mapping[int, tuple[str, Callable[[], TestResponse]]]] = {
    400: ("two wrong parameters", _asked("/v2/trading-directions?tickers=SPY,TSLA&colour=red")),
    401: ("a key that is not known", _with_a_wrong_key),
    404: ("a ticker that is not supported", _asked("/v2/trading-directions/TSLA")),
    405: ("POST", _by_post),
    410: ("a version past its end", _past_its_end),
    413: ("a body of more than 1 MiB", _asked("/v2/status", data=bytes((1 << 20) + 1))),
    429: ("the second request where one a minute is allowed", _of_too_many),
    500: ("a fault of the server", _of_a_fault),
    503: ("a server without models", _without_a_model),
}
"""How an error of each status is caused."""


def recorded_problem(status: int) -> Json:
    """The example of an error, under its code."""
    what, ask = PROBLEMS[status]
    body = ask().get_json()
    return {body["error_code"]: {"summary": what, "value": body}}


# --- writing ---


def write() -> None:
    """Records the examples, writes the document, and notes its hash in the table of versions if version 2 has one there."""
    logging.disable(logging.CRITICAL)
    EXAMPLES.write_text(json.dumps(record(), indent=1, ensure_ascii=False) + "\n")
    FILE.write_text(json.dumps(made(), indent=1, ensure_ascii=False) + "\n")
    contract, table = VERSIONS[2].contract, Path(api_versions.__file__)
    if contract is not None:
        table.write_text(table.read_text().replace(contract, hashlib.sha256(FILE.read_bytes()).hexdigest()))


if __name__ == "__main__":
    write()
