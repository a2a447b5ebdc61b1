"""How long v2's answers hold: each has a tag and an age that ends at the moment at which it can next change, and is then made
anew; streams and answers about the server are never kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from tests.blueprints.v2.calls import call, document
from tests.support import FakeClock, settle

Serve = Callable[..., Flask]
KEPT = {
    "/trading-directions": "/v2/trading-directions",
    "/trading-directions?tickers=SPY,IWM": "/v2/trading-directions",
    "/trading-directions/SPY": "/v2/trading-directions/{ticker}",
    "/structure/SPY": "/v2/structure/{ticker}",
    "/swing/SPY": "/v2/swing/{ticker}",
    "/bars/SPY": "/v2/bars/{ticker}",
}
"""What is kept, and the documented path of each."""


def max_age(control: str) -> int:
    name, _, seconds = control.removeprefix("private, ").partition("=")
    assert name == "max-age"
    return int(seconds)


def warm(app: Flask, path: str) -> None:
    """Ask for it until all bars are here, and known to be: the next answer is kept."""
    call(app, path)
    settle(app)


def test_what_is_documented_with_a_tag_is_what_is_kept() -> None:
    tagged = {
        path for path, found in document()["paths"].items() if "ETag" in found["get"]["responses"]["200"]["headers"]
    }
    assert tagged == set(KEPT.values())
    assert all("304" in document()["paths"][path]["get"]["responses"] for path in tagged)


@pytest.mark.parametrize("path", KEPT)
def test_a_kept_answer_is_the_same_bytes_until_it_can_change(serve: Serve, clock: FakeClock, path: str) -> None:
    """Bars turn final five seconds after their end, and one that is still missing 15 seconds later is overdue, so that nothing
    changes from second 21 to the next minute."""
    app = serve()
    clock.set("2025-03-11 11:30:21")
    warm(app, path)
    first = call(app, path)
    clock.forward(seconds=35)
    kept = call(app, path)
    assert kept.data == first.data
    assert kept.headers["ETag"] == first.headers["ETag"]
    assert max_age(first.headers["Cache-Control"]) - max_age(kept.headers["Cache-Control"]) == 35
    assert max_age(kept.headers["Cache-Control"]) == 4
    clock.forward(seconds=4)
    assert call(app, path).get_json()["generated_at"] == "2025-03-11T11:31:00-04:00"


@pytest.mark.parametrize("path", KEPT)
def test_the_age_of_an_answer_ends_when_a_bar_turns_final(serve: Serve, clock: FakeClock, path: str) -> None:
    app = serve()
    clock.set("2025-03-11 11:31:01")
    before = call(app, path)
    settle(app)
    assert max_age(call(app, path).headers["Cache-Control"]) == 4
    clock.forward(seconds=4)
    after = call(app, path)
    assert after.get_json()["generated_at"] > before.get_json()["generated_at"]


@pytest.mark.parametrize("path", KEPT)
def test_who_has_the_answer_gets_304_until_it_changes(serve: Serve, clock: FakeClock, path: str) -> None:
    app = serve()
    clock.set("2025-03-11 11:30:06")
    warm(app, path)
    tag = {"If-None-Match": call(app, path).headers["ETag"]}
    known = call(app, path, headers=tag)
    assert (known.status_code, known.data, known.headers["ETag"]) == (304, b"", tag["If-None-Match"])
    clock.set("2025-03-11 11:31:00")
    changed = call(app, path, headers=tag)
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag["If-None-Match"]


def test_the_header_and_the_path_share_one_kept_answer(serve: Serve, clock: FakeClock) -> None:
    app = serve()
    clock.set("2025-03-11 11:30:06")
    warm(app, "/trading-directions")
    first = call(app, "/trading-directions")
    clock.forward(seconds=2)
    by_header = app.test_client().get("/trading_directions", headers={"X-API-Version": "2"})
    assert by_header.data == first.data
    assert by_header.headers["ETag"] == first.headers["ETag"]


def test_v1_and_v2_never_share_a_kept_answer(serve: Serve, clock: FakeClock) -> None:
    app = serve()
    clock.set("2025-03-11 11:30:06")
    client = app.test_client()
    for _ in range(2):
        assert "trading_rules" in client.get("/trading-directions").get_json()
        assert "signals" in client.get("/trading-directions", headers={"X-API-Version": "2"}).get_json()


@pytest.mark.parametrize(
    "path", ["/models", "/models/SPY", "/status", "/calendar", "/replay/SPY?at=2025-03-10T11:00:00-04:00"]
)
def test_other_answers_are_not_to_be_stored(standing: Flask, path: str) -> None:
    response = call(standing, path)
    assert response.headers["Cache-Control"] == "no-store"
    assert "ETag" not in response.headers


def test_a_stream_is_neither_stored_nor_transformed(standing: Flask) -> None:
    response = call(standing, "/trading-directions/SPY/stream")
    assert response.headers["Cache-Control"] == "no-store, no-transform"
    assert "Accept" in response.headers["Vary"]
    assert "ETag" not in response.headers
