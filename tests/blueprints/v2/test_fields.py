"""`fields=`: which members of an answer are sent, under which media type, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from tests.blueprints.v2.calls import ask, call, document
from tests.support import FakeClock

Serve = Callable[..., Flask]
PARTIAL = "application/vnd.predict.partial+json"
ROUTES = {
    "/trading-directions": "best,signals.ticker,signals.prices",
    "/trading-directions/SPY": "action,prices.now,prices.at_11,gates.gate",
    "/structure/SPY": "price,northstar.phase4,rpe.phase1_truth",
    "/swing/SPY": "swing",
    "/bars/SPY": "as_of,bars.start,bars.close",
    "/signals/SPY": "signals.day,signals.action,gaps",
}


def part(whole: Any, names: list[str]) -> Any:
    """What is left of an answer, member by member."""
    left: dict[str, Any] = {}
    for name in names:
        member, _, inner = name.partition(".")
        value = whole[member]
        if not inner:
            left[member] = value
        elif isinstance(value, list):
            before = left.get(member, [{} for _ in value])
            left[member] = [{**kept, inner: one[inner]} for kept, one in zip(before, value, strict=True)]
        else:
            left[member] = {**left.get(member, {}), inner: value[inner]}
    return left


@pytest.mark.parametrize("path", ROUTES)
def test_a_partial_answer_has_the_members_that_are_named_and_no_others(standing: Flask, path: str) -> None:
    whole = ask(standing, path)
    response = call(standing, f"{path}?fields={ROUTES[path]}")
    assert (response.status_code, response.mimetype) == (200, PARTIAL)
    assert response.get_json() == part(whole, ROUTES[path].split(","))


@pytest.mark.parametrize("path", ROUTES)
def test_every_documented_name_is_one(standing: Flask, path: str) -> None:
    template = f"/v2{path}".replace("SPY", "{ticker}")
    parameters = document()["paths"][template]["get"]["parameters"]
    (schema,) = (each["schema"] for each in parameters if each["name"] == "fields")
    names = schema["items"]["pattern"].removeprefix("^(").removesuffix(")$").replace("\\.", ".").split("|")
    response = call(standing, path, query_string={"fields": ",".join(names)})
    assert response.get_json() == ask(standing, path)
    assert {name for name in names if "." not in name} == set(ask(standing, path))


def test_a_whole_member_is_more_than_a_part_of_it(standing: Flask) -> None:
    for names in ("prices,prices.now", "prices.now,prices", "prices,prices"):
        answer = call(standing, f"/trading-directions/SPY?fields={names}").get_json()
        assert answer == {"prices": ask(standing, "/trading-directions/SPY")["prices"]}


def test_a_part_of_what_is_null_is_null(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-08 12:00")
    assert call(serve(), "/trading-directions/SPY?fields=size.time_multiplier").get_json() == {"size": None}


@pytest.mark.parametrize(
    ("fields", "pointers"),
    [
        ("", ["/fields/0"]),
        ("action,colour,price.", ["/fields/1", "/fields/2"]),
        ("prices.now.cents", ["/fields/0"]),
        ("Action", ["/fields/0"]),
        ("action,,ticker", ["/fields/1"]),
        ("__all__", ["/fields/0"]),
        ("reason.mark", ["/fields/0"]),
    ],
)
def test_names_that_an_answer_has_not_are_refused_with_their_places(
    serve: Serve, fields: str, pointers: list[str]
) -> None:
    response = call(serve(), "/trading-directions/SPY", query_string={"fields": fields})
    assert response.status_code == 400
    assert [fault["pointer"] for fault in response.get_json()["errors"]] == pointers


@pytest.mark.parametrize("path", ["/status", "/models", "/replay/SPY"])
def test_a_route_without_fields_refuses_them(standing: Flask, path: str) -> None:
    assert call(standing, f"{path}?fields=ticker").status_code == 400


def test_partial_answers_are_kept_apart(serve: Serve) -> None:
    app = serve()
    whole = call(app, "/bars/SPY")
    for path in ("/bars/SPY", "/bars/SPY?fields=as_of", "/bars/SPY?fields=bars.close"):
        call(app, path)
    tags = [call(app, f"/bars/SPY{query}").headers["ETag"] for query in ("", "?fields=as_of", "?fields=bars.close")]
    assert len(set(tags)) == 3
    again = call(app, "/bars/SPY?fields=as_of", headers={"If-None-Match": tags[1]})
    assert again.status_code == 304
    kept = call(app, "/bars/SPY?fields=as_of")
    assert (kept.mimetype, kept.get_json()) == (PARTIAL, {"as_of": whole.get_json()["as_of"]})


def test_the_next_page_has_the_same_fields(serve: Serve, clock: FakeClock) -> None:
    app = serve()
    for hour in (12, 13):
        clock.set(f"2025-03-11 {hour}:01")
        ask(app, "/trading-directions")
    first = call(app, "/signals/SPY?limit=1&fields=signals.decision_hour,next")
    assert first.headers["Link"] == f'<{first.get_json()["next"]}>; rel="next"'
    second = call(app, first.get_json()["next"].removeprefix("/v2"))
    assert second.get_json() == {"signals": [{"decision_hour": 13}], "next": None}
