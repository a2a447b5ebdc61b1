"""The balancer's settings, with servers that only say who they are and what they were sent."""

from __future__ import annotations

import json
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from ops.regions.balancer import Balancer, Listener
from ops.regions.relay import Relay
from tests.haproxy import balancer, skip_without_haproxy
from tests.serving.test_gunicorn import free_port
from tests.waiting import PATIENCE_S, wait_for


class Answerer(BaseHTTPRequestHandler):
    """Answers with its server's name and the headers that it was sent; a server that is dumb closes in place of that."""

    protocol_version = "HTTP/1.1"
    server: Region

    def do_GET(self) -> None:
        is_check = self.path == "/readyz"
        if not is_check:
            self.server.count()
        if self.server.is_dumb and not is_check:
            self.close_connection = True
            return
        body = json.dumps({"name": self.server.name, "headers": self.headers.items()}).encode()
        self.send_response(503 if is_check and self.server.is_stopping else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, format: str, *args: object) -> None:
        pass


class Region(ThreadingHTTPServer):
    """A server that can be dumb (it closes where it should answer, though its checks succeed), or say that it is stopping."""

    daemon_threads = True

    def __init__(self, name: str) -> None:
        super().__init__(("127.0.0.1", 0), Answerer)
        self.name, self.is_dumb, self.is_stopping, self.asked = name, False, False, 0
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def count(self) -> None:
        with self._counting:
            self.asked += 1

    def handle_error(self, request: object, client_address: object) -> None:
        """The balancer resets the connections of its checks."""

    def close(self) -> None:
        self.shutdown()
        self._thread.join(PATIENCE_S)
        self.server_close()


@pytest.fixture
def regions() -> Iterator[list[Region]]:
    with ExitStack() as stack:
        found = [Region(name) for name in ("east", "west")]
        for region in found:
            stack.callback(region.close)
        yield found


@pytest.fixture
def balanced(tmp_path: Path, regions: list[Region]) -> Iterator[Balancer]:
    skip_without_haproxy()
    ports = {region.name: region.server_port for region in regions}
    far = dict(reversed(ports.items()))
    with balancer(
        tmp_path / "haproxy", [Listener("east", free_port(), ports), Listener("west", free_port(), far)]
    ) as it:
        yield it


def asked(balanced: Balancer, listener: str, **headers: str) -> requests.Response:
    return requests.get(balanced.address(listener), headers=headers, timeout=PATIENCE_S)


def test_clients_are_sent_to_the_nearest_server_which_sees_their_address_and_none_that_they_claim(
    balanced: Balancer,
) -> None:
    claims = {"X-Real-IP": "192.0.2.1", "X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1"}
    for name in ("east", "west"):
        answer = asked(balanced, name, **claims).json()
        assert answer["name"] == name
        said = {header.lower(): value for header, value in answer["headers"]}
        assert said["x-real-ip"] == "127.0.0.1"
        assert not {"x-forwarded-for", "forwarded"} & said.keys()


def test_a_server_that_is_gone_or_does_not_answer_fails_no_get_and_is_out_after_its_checks(
    balanced: Balancer, regions: list[Region]
) -> None:
    east, west = regions
    east.is_dumb = True
    assert asked(balanced, "east").json()["name"] == "west"
    east.close()
    assert asked(balanced, "east").json()["name"] == "west"
    wait_for(lambda: not balanced.servers("east")["east"].is_up)
    asked(balanced, "east")
    assert west.asked == 3
    assert balanced.servers("east")["west"].requests == 3


def test_what_may_change_something_is_not_sent_twice(balanced: Balancer, regions: list[Region]) -> None:
    for region in regions:
        region.is_dumb = True
    assert requests.post(balanced.address("east"), timeout=PATIENCE_S).status_code == 502
    assert [region.asked for region in regions] == [1, 0]


def test_a_server_that_is_stopping_gets_no_requests_until_it_is_ready_again(
    balanced: Balancer, regions: list[Region]
) -> None:
    regions[0].is_stopping = True
    wait_for(lambda: not balanced.servers("east")["east"].is_up)
    assert asked(balanced, "east").json()["name"] == "west"
    regions[0].is_stopping = False
    wait_for(lambda: balanced.servers("east")["east"].is_up)
    assert asked(balanced, "east").json()["name"] == "east"


def test_an_operator_takes_a_server_out_and_a_reload_with_other_servers_drops_no_client(
    balanced: Balancer, regions: list[Region]
) -> None:
    port = int(balanced.address("east").rpartition(":")[2])
    with closing(HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as client:

        def served_by() -> str:
            client.request("GET", "/")
            name: str = json.loads(client.getresponse().read())["name"]
            return name

        balanced.set_state("east", "maint")
        assert served_by() == "west"
        balanced.reload([Listener("east", port, {"east": regions[0].server_port})])
        assert client.sock.recv(1) == b"", "the process before it ends the connection, on which nothing is under way"
        client.close()
        assert served_by() == "east"
        assert list(balanced.servers("east")) == ["east"]


def test_a_server_behind_a_way_that_is_cut_is_out_and_what_it_held_is_answered_by_the_next(
    tmp_path: Path, regions: list[Region]
) -> None:
    skip_without_haproxy()
    east, west = regions
    with Relay(east.server_port) as way:
        listener = Listener("east", free_port(), {"east": way.port, "west": west.server_port})
        with balancer(tmp_path / "haproxy", [listener]) as balanced:
            wait_for(lambda: asked(balanced, "east").json()["name"] == "east")
            way.cut()
            assert asked(balanced, "east").json()["name"] == "west"
            wait_for(lambda: not balanced.servers("east")["east"].is_up)
            way.mend()
            wait_for(lambda: asked(balanced, "east").json()["name"] == "east")


def test_what_was_sent_over_a_way_that_is_cut_arrives_when_it_is_mended(regions: list[Region]) -> None:
    with (
        Relay(regions[0].server_port, one_way_s=0.02) as way,
        socket.create_connection(("127.0.0.1", way.port)) as client,
    ):
        client.settimeout(0.3)
        way.cut()
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert regions[0].asked == 0
        way.mend()
        client.settimeout(PATIENCE_S)
        assert client.recv(12) == b"HTTP/1.1 200"


def test_a_way_carries_all_bytes_in_their_order_and_the_end_of_a_connection() -> None:
    sent = random.Random(18).randbytes(5_000_000)
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        way = stack.enter_context(Relay(listener.getsockname()[1], one_way_s=0.01))
        client = stack.enter_context(socket.create_connection(("127.0.0.1", way.port), timeout=PATIENCE_S))
        server = stack.enter_context(listener.accept()[0])
        sending = threading.Thread(target=lambda: (client.sendall(sent), client.shutdown(socket.SHUT_WR)))
        sending.start()
        assert b"".join(iter(lambda: server.recv(65_536), b"")) == sent
        sending.join(PATIENCE_S)
