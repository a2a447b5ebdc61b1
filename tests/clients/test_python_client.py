"""The official Python client: it asks, follows, resumes, backs off, says when it hears nothing, and can be closed."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest
from predict_client import ApiError, Client, Follow, ProtocolError, Signal, Stale

from tests.blueprints.v2.calls import document
from tests.clients import FOLDER
from tests.clients.scripted_server import Connection, Script, ScriptedServer, scripted_server
from tests.redis_server import free_port
from tests.support import FakeTimer
from tests.waiting import PATIENCE_S, wait_for

KEY = "predict_secret"


def event(number: int, kind: str = "price", **more: Any) -> dict[str, Any]:
    return {"id": f"0badcafe-{number}", "kind": kind, "ticker": "SPY", **more}


def promising(seconds: float) -> dict[str, str]:
    """What a line says of the next one."""
    now = datetime.now(UTC)
    return {"server_time": now.isoformat(), "next_by": (now + timedelta(seconds=seconds)).isoformat()}


STAGES: list[dict[str, Any]] = [
    {"status": "computing", "ticker": "SPY"},
    {"data": {"price": 1.0}},
    {"rpe": {}},
    {"v6": {}},
    {"signal": {"action": "NO_TRADE"}},
    {"status": "complete", "seconds": {}},
]


def following(heartbeat_s: float) -> dict[str, Any]:
    """The line before the events."""
    return {"status": "following", "ticker": "SPY", "heartbeat_seconds": heartbeat_s, "ends_in_seconds": 840.0}


def stream(*lines: Mapping[str, Any], ends: bool = True, then: Script = lambda connection: None) -> Script:
    """Sends these lines, then follows another script, then ends the stream, or breaks it off."""

    def script(connection: Connection) -> None:
        connection.begin()
        for line in lines:
            connection.line(line)
        then(connection)
        if ends:
            connection.end()

    return script


def hold(connection: Connection) -> None:
    assert connection.wait_until_closed()


def answering(status: str, body: Mapping[str, Any], **headers: str) -> Script:
    said = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return lambda connection: connection.answer(status, json.dumps(body).encode(), said)


@contextmanager
def followed(*scripts: Script, **options: Any) -> Iterator[tuple[ScriptedServer, Follow]]:
    """A scripted server, and SPY followed there."""
    with scripted_server(*scripts) as server, Client(server.base, api_key=KEY).follow("SPY", **options) as follow:
        yield server, follow


def ids(follow: Follow, count: int) -> list[str]:
    """The ids of the next events."""
    return [next(follow).id for _ in range(count)]


# --- plain answers ---


def test_signal_signals_and_replay_ask_for_what_they_say() -> None:
    board = {"signals": [{"ticker": "SPY"}, {"ticker": "IWM"}]}
    said = {"ticker": "SPY", "action": "NO_TRADE"}
    with scripted_server(*(answering("200 OK", body) for body in (said, board, board, said))) as server:
        client = Client(server.base + "/", api_key=KEY)
        assert client.signal("SPY")["action"] == "NO_TRADE"
        assert [one["ticker"] for one in client.signals()] == ["SPY", "IWM"]
        client.signals(["SPY", "IWM"])
        client.replay("SPY", datetime.fromisoformat("2025-03-10T11:30:00+01:00"))
    assert [(asked.path, asked.query) for asked in server.asked] == [
        ("/v2/trading-directions/SPY", {}),
        ("/v2/trading-directions", {}),
        ("/v2/trading-directions", {"tickers": ["SPY,IWM"]}),
        ("/v2/replay/SPY", {"at": ["2025-03-10T11:30:00+01:00"]}),
    ]
    assert {asked.headers["x-api-key"] for asked in server.asked} == {KEY}


def test_a_moment_without_a_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Client().replay("SPY", datetime(2025, 3, 10, 11, 30))


def test_a_ticker_cannot_lead_to_another_path() -> None:
    with scripted_server(answering("404 NOT FOUND", {"status": 404})) as server, pytest.raises(ApiError):
        Client(server.base).signal("../../metrics?x=")
    assert server.asked[0].path == "/v2/trading-directions/..%2F..%2Fmetrics%3Fx%3D"


def test_a_refusal_says_what_the_server_said() -> None:
    problem = {"status": 503, "error_code": "DATA_FETCH_ERROR", "detail": "Later.", "request_id": "r-1"}
    with scripted_server(answering("503 SERVICE UNAVAILABLE", problem, Retry_After="7")) as server:
        client = Client(server.base)
        with pytest.raises(ApiError, match=r"503 DATA_FETCH_ERROR: Later\.") as caught:
            client.signal("SPY")
    assert (caught.value.code, caught.value.request_id, caught.value.retry_after_s) == ("DATA_FETCH_ERROR", "r-1", 7.0)


def test_a_redirect_gets_no_key() -> None:
    with (
        scripted_server(answering("200 OK", {})) as other,
        scripted_server(answering("302 FOUND", {}, Location=other.base)) as server,
        pytest.raises(ApiError, match="302"),
    ):
        Client(server.base, api_key=KEY).signal("SPY")
    assert other.asked == []


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"\xff"])
def test_an_answer_of_another_server_is_a_protocol_error(body: bytes) -> None:
    script: Script = lambda connection: connection.answer("200 OK", body, {})  # noqa: E731
    with scripted_server(script) as server, pytest.raises(ProtocolError, match="is it the predict server"):
        Client(server.base).signal("SPY")


# --- follow ---


def test_follow_gives_the_events_and_keeps_stages_and_heartbeats_to_itself() -> None:
    lines = [
        *STAGES,
        following(15),
        {**event(0, "heartbeat", **promising(15)), "id": None},
        event(4, "snapshot"),
        event(4, "heartbeat", **promising(15)),
        event(5, "signal", signal={"action": "BUY_CALL"}),
    ]
    with followed(stream(*lines, then=hold)) as (server, follow):
        kinds = [(found.kind, found.id) for found in (next(follow), next(follow))]
        assert follow.after == "0badcafe-5"
    assert kinds == [("snapshot", "0badcafe-4"), ("signal", "0badcafe-5")]
    (asked,) = server.asked
    assert (asked.path, asked.query) == ("/v2/trading-directions/SPY/stream", {"follow": ["true"]})
    assert asked.headers["accept"] == "application/jsonl"
    assert asked.headers["accept-encoding"] == "identity"
    assert asked.headers["x-api-key"] == KEY


def test_a_broken_connection_goes_on_behind_the_last_whole_line() -> None:
    scripts = [
        stream(event(1), event(2), ends=False, then=lambda connection: connection.piece(b'{"id":"0badcafe-3","ki')),
        stream(event(3), ends=False),
        stream(event(4), then=hold),
    ]
    with followed(*scripts, after="0badcafe-0") as (server, follow):
        assert ids(follow, 4) == ["0badcafe-1", "0badcafe-2", "0badcafe-3", "0badcafe-4"]
    assert [asked.query["after"] for asked in server.asked] == [["0badcafe-0"], ["0badcafe-2"], ["0badcafe-3"]]


def test_the_servers_own_end_is_followed_by_the_next_connection_when_it_says() -> None:
    times: list[float] = []

    def timed(script: Script) -> Script:
        return lambda connection: (times.append(time.monotonic()), script(connection))[1]

    resume = {"status": "resume", "after": "0badcafe-1", "retry_after_ms": 300}
    stopping = {"status": "stopping", "retry_after_ms": 300}
    scripts = [stream(event(1), resume), stream(event(2), stopping), stream(event(3), then=hold)]
    with followed(*map(timed, scripts)) as (server, follow):
        assert ids(follow, 3) == ["0badcafe-1", "0badcafe-2", "0badcafe-3"]
    assert [asked.query.get("after") for asked in server.asked] == [None, ["0badcafe-1"], ["0badcafe-2"]]
    assert all(later - sooner >= 0.3 for sooner, later in pairwise(times))


def test_an_interruption_is_told_with_its_cause_and_so_is_its_end() -> None:
    resume = {"status": "resume", "after": "0badcafe-1", "retry_after_ms": 200}
    busy = answering("503 SERVICE UNAVAILABLE", {"error_code": "BUSY", "detail": "Later."}, Retry_After="0")
    scripts = [stream(event(1), resume), busy, busy, lambda connection: None, stream(event(2), then=hold)]
    told: list[str] = []
    with followed(*scripts, on_connection=told.append) as (_, follow):
        assert ids(follow, 2) == ["0badcafe-1", "0badcafe-2"]
    assert told[0] == "the server ends the connection; it is asked again in 0.2 s"
    assert told[1] == "the server answers 503 BUSY: Later; it is asked again in 0.1 s"
    assert told[2].startswith("the server does not answer; it is asked again in ")
    assert told[3:] == ["the connection is back"]


def test_an_address_without_a_scheme_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="begins with http:// or https://"):
        Client("127.0.0.1:8000")


@pytest.mark.parametrize("status", ["429 TOO MANY REQUESTS", "503 SERVICE UNAVAILABLE"])
def test_a_busy_server_is_asked_again_when_it_says(status: str) -> None:
    began = time.monotonic()
    with followed(answering(status, {}, Retry_After="1"), stream(event(1), then=hold)) as (_, follow):
        assert ids(follow, 1) == ["0badcafe-1"]
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("status", ["400 BAD REQUEST", "401 UNAUTHORIZED", "404 NOT FOUND", "410 GONE"])
def test_a_refusal_for_good_is_raised_at_once(status: str) -> None:
    with followed(answering(status, {"error_code": "SOME"})) as (server, follow), pytest.raises(ApiError, match="SOME"):
        next(follow)
    assert len(server.asked) == 1


def test_an_error_as_the_last_line_is_a_refusal_or_a_reason_to_ask_again() -> None:
    later = {"status": "error", "problem": {"status": 503, "error_code": "DATA_FETCH_ERROR"}}
    never = {"status": "error", "problem": {"status": 410, "error_code": "GONE"}}
    with followed(stream(event(1), later), stream(event(2), never)) as (_, follow):
        assert ids(follow, 2) == ["0badcafe-1", "0badcafe-2"]
        with pytest.raises(ApiError, match="GONE"):
            next(follow)


# --- silence ---


def trickle(connection: Connection) -> None:
    """Bytes without end, of a line that does not end."""
    while True:
        connection.piece(b" ")
        time.sleep(0.02)


@pytest.mark.parametrize("silence", [hold, trickle])
def test_a_mute_connection_is_stale_and_the_next_call_goes_on(silence: Script) -> None:
    scripts = [stream(following(0.1), event(1), then=silence), stream(event(2), then=hold)]
    with followed(*scripts, grace_s=0.3) as (server, follow):
        assert ids(follow, 1) == ["0badcafe-1"]
        with pytest.raises(Stale, match="nothing has come about SPY") as caught:
            next(follow)
        assert caught.value.after == "0badcafe-1"
        assert caught.value.silent_s >= 0.4
        assert len(server.asked) == 1
        assert ids(follow, 1) == ["0badcafe-2"]
    assert server.asked[1].query["after"] == ["0badcafe-1"]


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> FakeTimer:
    """The client's own time, which a test moves."""
    timer = FakeTimer()
    for module in ("following", "lines"):
        monkeypatch.setattr(f"predict_client.{module}.time", SimpleNamespace(monotonic=timer.timer.now))
    return timer


def test_heartbeats_keep_a_quiet_ticker_from_being_stale(passing: FakeTimer) -> None:
    followers: list[Follow] = []

    def beat(connection: Connection) -> None:
        for _ in range(12):
            wait_for(lambda: (followers[0].after, followers[0]._silent_since) == ("0badcafe-1", passing.at))
            passing.forward(100)
            connection.line(event(1, "heartbeat", **promising(150)))
        connection.line(event(2))

    with followed(stream(following(150), event(1), then=beat), grace_s=1) as (_, follow):
        followers.append(follow)
        assert ids(follow, 2) == ["0badcafe-1", "0badcafe-2"]


def test_a_heartbeat_before_the_first_event_moves_no_id() -> None:
    first = {**event(0, "heartbeat", **promising(15)), "id": None}
    with followed(stream(following(15), first, ends=False), stream(event(2), then=hold)) as (server, follow):
        assert ids(follow, 1) == ["0badcafe-2"]
    assert "after" not in server.asked[1].query


def test_a_server_that_cannot_be_reached_is_stale_and_says_why() -> None:
    follow = Client(f"http://127.0.0.1:{free_port()}").follow("SPY", grace_s=-44.0)
    with pytest.raises(Stale) as caught:
        next(follow)
    assert "refused" in str(caught.value.__cause__)


def test_the_first_event_of_a_cold_server_may_take_longer_than_a_heartbeat() -> None:
    """The pause before it is longer than what the server promises and the grace together."""

    def slowly(connection: Connection) -> None:
        time.sleep(0.5)
        connection.line(event(1))

    with followed(stream(*STAGES, following(0.1), then=slowly), grace_s=0.1) as (_, follow):
        assert ids(follow, 1) == ["0badcafe-1"]


def test_a_caller_that_is_slow_finds_what_has_come_meanwhile(passing: FakeTimer) -> None:
    lines = [following(60), event(1), event(2)]
    with followed(stream(*lines, then=hold), grace_s=60) as (_, follow):
        assert ids(follow, 1) == ["0badcafe-1"]
        passing.forward(150)
        assert ids(follow, 1) == ["0badcafe-2"]


# --- bounds, threads ---


def test_a_line_without_an_end_is_refused_with_bounded_memory() -> None:
    def endless(connection: Connection) -> None:
        for _ in range(64):
            connection.piece(b"x" * 1_048_576)

    with followed(stream(then=endless)) as (_, follow):
        tracemalloc.start()
        with pytest.raises(ProtocolError, match="more than 1048576 bytes"):
            next(follow)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 * 1_048_576


def test_a_page_in_place_of_a_stream_is_refused() -> None:
    script: Script = lambda connection: connection.answer("200 OK", b"<p>", {"Content-Type": "text/html"})  # noqa: E731
    with followed(script) as (_, follow), pytest.raises(ProtocolError, match="text/html"):
        next(follow)


@pytest.mark.parametrize("scripts", [[stream(event(1), then=hold)], [stream(event(1), ends=False)]])
def test_close_from_another_thread_ends_the_loop(scripts: list[Script]) -> None:
    """While it waits for a line, and while it waits to connect again."""
    with followed(*scripts) as (_, follow):
        heard: list[str] = []
        first = threading.Event()

        def listen() -> None:
            for found in follow:
                heard.append(found.id)
                first.set()

        listening = threading.Thread(target=listen)
        listening.start()
        assert first.wait(PATIENCE_S)
        follow.close()
        listening.join(PATIENCE_S)
        assert not listening.is_alive()
    assert heard == ["0badcafe-1"]
    assert list(follow) == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, also where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_it_handles_no_signals_and_a_keyboard_interrupt_loses_nothing(interruptible: None) -> None:
    before = signal.getsignal(signal.SIGINT)
    heard = threading.Event()

    def interrupt(connection: Connection) -> None:
        assert heard.wait(PATIENCE_S)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def go_on(follow: Follow) -> None:
        heard.set()
        next(follow)

    with followed(stream(event(1), ends=False, then=interrupt), stream(event(2), then=hold)) as (server, follow):
        assert ids(follow, 1) == ["0badcafe-1"]
        with pytest.raises(KeyboardInterrupt):
            go_on(follow)
        assert ids(follow, 1) == ["0badcafe-2"]
    assert server.asked[1].query["after"] == ["0badcafe-1"]
    assert signal.getsignal(signal.SIGINT) is before


# --- the package ---


def test_it_needs_requests_alone() -> None:
    trees = [ast.parse(path.read_text()) for path in (FOLDER / "predict_client").glob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    roots = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    assert roots == {"requests", "predict_client"}


def test_it_is_imported_without_the_server(tmp_path: Path) -> None:
    code = "import sys, predict_client; assert not {'app', 'flask', 'pydantic', 'asyncio'} & set(sys.modules)"
    env = {**os.environ, "PYTHONPATH": str(FOLDER)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, check=True, timeout=PATIENCE_S)


NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def shape_of_type(kind: Any) -> Any:
    """A type as `shape_of_schema` writes the schema of it."""
    if get_origin(kind) is Literal:
        return sorted(get_args(kind))
    if get_origin(kind) is list:
        return {"items": shape_of_type(get_args(kind)[0])}
    if get_origin(kind) is UnionType or get_origin(kind) is Union:
        return {"any": [shape_of_type(one) for one in get_args(kind)]}
    if is_typeddict(kind):
        assert kind.__optional_keys__ == frozenset()
        return {name: shape_of_type(one) for name, one in get_type_hints(kind).items()}
    return NAMES[kind]


def shape_of_schema(schema: Mapping[str, Any]) -> Any:
    """A JSON schema of the document without words and bounds, its parts in place."""
    if "$ref" in schema:
        return shape_of_schema(document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return {"any": [shape_of_schema(one) for one in schema["anyOf"]]}
    if "enum" in schema:
        return sorted(schema["enum"])
    if "properties" in schema:
        assert set(schema["required"]) == set(schema["properties"])
        return {name: shape_of_schema(one) for name, one in schema["properties"].items()}
    return {"items": shape_of_schema(schema["items"])} if "items" in schema else schema["type"]


def test_its_signal_has_the_fields_and_types_of_the_document() -> None:
    assert shape_of_type(Signal) == shape_of_schema(document()["components"]["schemas"]["Signal"])
