"""Who may connect over Socket.IO: pages of which origins, over which transport, and how often."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date

import pytest
from flask import Flask

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


def test_among_several_processes_long_polling_is_refused_with_what_to_do(serve: Serve) -> None:
    app = serve(web_concurrency=2, redis_url="redis://127.0.0.1:1")
    response = app.test_client().get(HANDSHAKE)
    assert (response.status_code, response.json["error_code"]) == (400, "BAD_REQUEST")
    assert 'transports: ["websocket"]' in response.json["error"]


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


def test_where_keys_are_set_a_handshake_needs_none_and_a_wrong_one_is_refused(serve: Serve) -> None:
    """A key may also come in `auth`, when the handshake is over."""
    secret, key = api_keys.new_key("ours", "standard", date(2100, 1, 1))
    client = serve(api_keys=str(key)).test_client()
    assert client.get(HANDSHAKE).status_code == 200
    assert client.get(HANDSHAKE, headers={"X-API-Key": secret}).status_code == 200
    assert client.get(HANDSHAKE, headers={"X-API-Key": "wrong"}).status_code == 401
