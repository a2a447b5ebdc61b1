"""Who may connect over Socket.IO: pages of which origins, over which transport, and how often."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import date
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.config import api_keys

HANDSHAKE = "/socket.io/?EIO=4&transport=polling"
Serve = Callable[..., Flask]


@pytest.mark.parametrize(
    "origin", [None, "http://localhost", "https://LOCALHOST", "https://dashboard.example", "https://Dashboard.Example"]
)
def test_pages_of_this_host_and_of_the_named_origins_may_connect(serve: Serve, origin: str | None) -> None:
    client = serve(cors_origins="https://dashboard.example").test_client()
    response = client.get(HANDSHAKE, headers={} if origin is None else {"Origin": origin})
    assert response.status_code == 200
    assert response.data.startswith(b'0{"sid":')


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://localhost:81", "null", "https://localhost.evil.example"]
)
def test_pages_of_other_origins_may_not(serve: Serve, origin: str) -> None:
    response = serve(cors_origins="https://dashboard.example").test_client().get(HANDSHAKE, headers={"Origin": origin})
    assert (response.status_code, response.json["error_code"]) == (403, "FORBIDDEN")
    assert "CORS_ORIGINS" in response.json["error"]


RAILWAY = {"railway_replica": "6f0c1a2b"}
SEVERAL = {
    "several workers": {"web_concurrency": 2, "redis_url": "redis://127.0.0.1:1"},
    "a Redis that replicas may share": {"redis_url": "redis://127.0.0.1:1"},
    "a service that may have replicas": RAILWAY,
}


@pytest.mark.parametrize("values", SEVERAL.values(), ids=SEVERAL)
def test_where_clients_may_come_to_several_processes_long_polling_is_refused_with_what_to_do(
    serve: Serve, values: dict[str, Any]
) -> None:
    response = serve(**values).test_client().get(HANDSHAKE)
    assert (response.status_code, response.json["error_code"]) == (400, "BAD_REQUEST")
    assert 'transports: ["websocket"]' in response.json["error"]


def test_a_service_that_its_volume_holds_to_one_replica_has_long_polling(serve: Serve) -> None:
    assert serve(**RAILWAY, railway_volume="/data").test_client().get(HANDSHAKE).status_code == 200


def test_connections_are_counted_by_their_first_request(serve: Serve) -> None:
    client = serve(rate_limit_other=2).test_client()
    first = client.get(HANDSHAKE)
    sid = json.loads(first.data[1:])["sid"]
    assert [client.get(HANDSHAKE).status_code for _ in range(2)] == [200, 429]
    assert client.post(f"{HANDSHAKE}&sid={sid}", data="40").status_code == 200, (
        "of a connection that is counted already"
    )
    for forged in ("sid=unknown", "nosid=1", f"SID={sid}"):
        assert client.get(f"{HANDSHAKE}&{forged}").status_code == 429


REFUSED = {
    "": (400, "BAD_REQUEST", "/docs/socket-io shows how to connect"),
    "EIO=3&transport=polling": (400, "BAD_REQUEST", "EIO=4"),
    "EIO=4&transport=polling&sid=unknown": (400, "BAD_REQUEST", "`sid` is unknown"),
    "EIO=4&transport=carrier-pigeon": (400, "BAD_REQUEST", "`websocket` or `polling`"),
    "EIO=4&transport=polling&j=0": (400, "BAD_REQUEST", "JSONP"),
}


@pytest.mark.parametrize("query", REFUSED)
def test_what_is_no_request_of_a_client_is_refused_in_json_with_what_to_do(
    serve: Serve, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a client's fault, so that no line of the log is an error of the server."""
    response = serve().test_client().get(f"/socket.io/?{query}")
    status, code, words = REFUSED[query]
    assert (response.status_code, response.json["error_code"]) == (status, code)
    assert words in response.json["error"]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_another_method_is_refused_in_json_too(serve: Serve) -> None:
    response = serve().test_client().put("/socket.io/?EIO=4&transport=polling")
    assert (response.status_code, response.json["error_code"]) == (405, "METHOD_NOT_ALLOWED")


def test_requests_that_are_refused_are_counted_by_their_reason(serve: Serve) -> None:
    client = serve().test_client()
    for query in REFUSED:
        client.get(f"/socket.io/?{query}")
    text = client.get("/metrics").get_data(as_text=True)
    for reason, count in {"version": 2, "session": 1, "transport": 2, "no_room": 0}.items():
        assert f'predict_socket_requests_refused_total{{reason="{reason}"}} {count}' in text


def connected(client: FlaskClient, *packets: str) -> list[str]:
    """What a client of long polling is answered that sends these packets of Socket.IO."""
    session = f"{HANDSHAKE}&sid={json.loads(client.get(HANDSHAKE).data[1:])['sid']}"
    client.post(session, data="\x1e".join(packets))
    return client.get(session).get_data(as_text=True).split("\x1e")


def test_a_poll_ends_with_its_client_and_a_message_is_handled_whole(serve: Serve) -> None:
    """The worker interrupts what is marked as streaming once its client has left."""
    client = serve().test_client()
    session = f"{HANDSHAKE}&sid={json.loads(client.get(HANDSHAKE).data[1:])['sid']}"
    post, poll = (SimpleNamespace(is_streaming=False) for _ in range(2))
    client.post(session, data="40", environ_overrides={"predict.connection": post})
    assert client.get(session, environ_overrides={"predict.connection": poll}).text.startswith("40")
    assert (post.is_streaming, poll.is_streaming) == (False, True)


def refusal_in(packet: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(packet[packet.index("{") :])
    assert found["message"] == found["data"]["detail"], "as JavaScript and Python show it"
    return found["data"]


def test_a_connection_too_many_is_refused_by_the_number_of_connections(serve: Serve) -> None:
    client = serve(sockets_per_client=2).test_client()
    assert [connected(client, "40")[0][:2] for _ in range(2)] == ["40", "40"]
    refusal = refusal_in(connected(client, "40")[0])
    assert refusal["code"] == "TOO_MANY_CONNECTIONS"
    assert "2 of 2 connections at a time of one client" in refusal["detail"]
    assert "requests" not in refusal["detail"]


def test_another_namespace_and_a_second_connect_are_refused_with_a_code_and_a_sentence(serve: Serve) -> None:
    other, first, hello, second = connected(serve().test_client(), "40/admin,", "40", "40")
    assert other.startswith("44/admin,")
    assert refusal_in(other)["code"] == "UNKNOWN_NAMESPACE"
    assert (first[:3], hello[:9], second[:3]) == ("40{", '42["hello', "44{")
    assert refusal_in(second)["code"] == "ALREADY_CONNECTED"


def test_where_keys_are_set_a_handshake_needs_none_and_a_wrong_one_is_refused(serve: Serve) -> None:
    """A key may also come in `auth`, when the handshake is over."""
    secret, key = api_keys.new_key("ours", "standard", date(2100, 1, 1))
    client = serve(api_keys=str(key)).test_client()
    assert client.get(HANDSHAKE).status_code == 200
    assert client.get(HANDSHAKE, headers={"X-API-Key": secret}).status_code == 200
    assert client.get(HANDSHAKE, headers={"X-API-Key": "wrong"}).status_code == 401
