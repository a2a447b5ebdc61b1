"""Socket.IO clients that behave, and such that do not, against the server as it is deployed: whatever one does, it is that one
alone that ends, with a reason, and the log has no trace."""

from __future__ import annotations

import json
import signal
import socket
import struct
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import requests
import socketio

from tests.node_packages import linked, node
from tests.serving.test_gunicorn import Server, started
from tests.serving.test_socket_clients import OrderedClient
from tests.serving.test_streams import value
from tests.serving.websocket_clients import WAIT_S, Client, connection_to, frame, handshake, head_of, until

pytestmark = pytest.mark.integration
COMMAND = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "tests.serving.sockets_app:app"]
MOST = 96
"""MAX_CONNECTIONS: an eighth of the places is never a WebSocket's."""

LEFT = 40


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("websockets")
    limits = {"RATE_LIMIT_OTHER": 1_000_000, "MAX_CONNECTIONS": MOST, "MAX_CONNECTIONS_PER_ADDRESS": MOST}
    values: dict[str, Any] = {
        "MARKET": "polygon",
        "DATA_DIR": folder / "data",
        "HOST": "127.0.0.1",
        "QUICK": 1,
        **limits,
    }
    with started(COMMAND, folder / "log", LOG_LEVEL="WARNING", **values) as server:
        server.wait_ready()
        yield server


@pytest.fixture(scope="module")
def witness(served: Server) -> Iterator[Client]:
    """A client that does nothing wrong, connected all the time."""
    with Client(port_of(served)) as client:
        yield client


@pytest.fixture(autouse=True)
def _nobody_else_is_troubled(served: Server, witness: Client) -> Iterator[None]:
    """After each test the witness is served, nothing is kept of anybody else, and the log has no trace."""
    yield
    if served.process.poll() is None:
        witness.echo("still here")
        until(lambda: kept(served) == ONE_CLIENT)
    assert "Traceback" not in served.log.read_text()


ONE_CLIENT = {"sockets": 1, "environ": 1, "rooms": 2, "pending": 0, "listeners": 0, "blocked": 0, "waiting_bytes": 0}


def port_of(server: Server) -> int:
    return int(server.base.rsplit(":", 1)[1])


def links(server: Server) -> dict[str, Any]:
    body: dict[str, Any] = server.get("/links").json()
    return body


def kept(server: Server) -> dict[str, int]:
    of_all: dict[str, int] = links(server)["kept"]
    return of_all


def publish(server: Server, **wanted: object) -> int:
    answer = requests.post(f"{server.base}/publish", data=json.dumps({"size": 100, **wanted}), timeout=WAIT_S)
    return int(answer.text)


def listening(server: Server) -> Client:
    client = Client(port_of(server))
    client.send('42["listen"]')
    client.echo("listening")
    return client


def everything_came(client: Client, last: int) -> None:
    client.wait(lambda: numbers(client)[-1:] == [last])


def numbers(client: Client) -> list[int]:
    return [body["number"] for body in client.events("tick")]


WRONG_TEXTS = {
    "nothing": "",
    "words": "hello",
    "an engine packet that is none": "9",
    "a ping, which the server sends": "2",
    "an open packet": "0{}",
    "a message without a packet": "4",
    "an object for a packet": '4{"a":1}',
    "a packet of no type": "49",
    "an event without a name": "42",
    "an event that is an object": '42{"echo":1}',
    "an empty event": "42[]",
    "an event whose name is a number": "42[1]",
    "broken JSON": '42["echo",',
    "a reserved name": '42["connect",{}]',
    "another reserved name": '42["disconnect","x"]',
    "an acknowledgement of nothing": "431[]",
    "an acknowledgement of event 0": "430[]",
    "a refusal": '44{"message":"no"}',
    "a binary event": '451-["echo",{"_placeholder":true,"num":0}]',
    "a binary acknowledgement": "461-1[]",
    "an id without end": "42" + "1" * 200 + '["echo"]',
    "base64 that is none": "b*",
    "base64": "bAAEC",
    "deep lists": "42" + "[" * 16000,
    "a deep message": "4" + "[" * 16000,
}


def ends(server: Server, sent: Mapping[str, bytes]) -> dict[str, tuple[list[str], int | None]]:
    """How clients end that send these bytes, all at once: the reasons that they are told, and the code of the close frame."""
    with ExitStack() as stack:
        clients = {name: stack.enter_context(Client(port_of(server))) for name in sent}
        for name, client in clients.items():
            client.send_bytes(sent[name])
        return {name: client.end() for name, client in clients.items()}


def test_a_wrong_packet_ends_its_client_with_a_reason(served: Server) -> None:
    sent = {name: frame(text.encode()) for name, text in WRONG_TEXTS.items()}
    assert ends(served, sent) == dict.fromkeys(WRONG_TEXTS, (["invalid_message"], 1008))


NO_MESSAGES: dict[str, tuple[bytes, list[str], int]] = {
    "bytes": (frame(b"\x01\x02", 2), ["invalid_message"], 1008),
    "a long message": (frame(b"4" + b"x" * 20_000), ["message_too_large"], 1009),
    "a message that says it is endless": (frame(b"4" + b"x" * 20_000, length=1 << 40), ["message_too_large"], 1009),
    "a long message in parts": (
        frame(b"4" + b"x" * 9_000, fin=False) + frame(b"x" * 9_000, 0),
        ["message_too_large"],
        1009,
    ),
    "many messages": (frame(b'42["echo",1]') * 200, ["too_many_messages"], 1008),
    "many empty parts": (
        frame(b"4", fin=False) + frame(b"", 0, fin=False) * 200,
        ["too_many_messages"],
        1008,
    ),
    "many pings": (frame(b"again", 9) * 200, ["too_many_messages"], 1008),
    "many namespaces": (
        b"".join(frame(f"40/none-{n},".encode()) for n in range(2000)),
        ["too_many_messages"],
        1008,
    ),
    "many connects": (frame(b"40") * 200, ["too_many_messages"], 1008),
    "not UTF-8": (frame(b"4\xff\xfe"), [], 1007),
    "no mask": (frame(b"42[]", masked=False), [], 1002),
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", [], 1002),
    "an unknown frame": (frame(b"x", 3), [], 1002),
    "a long ping": (frame(b"x" * 126, 9), [], 1002),
    "a ping in parts": (frame(b"x", 9, fin=False), [], 1002),
    "the rest of nothing": (frame(b"x", 0), [], 1002),
    "a compressed frame": (b"\xc1\x80\x00\x00\x00\x00", [], 1002),
    "half a code": (frame(b"\x03", 8), [], 1002),
    "a code that no frame may carry": (frame(struct.pack("!H", 1005), 8), [], 1002),
    "a reason that is no text": (frame(struct.pack("!H", 1000) + b"\xff", 8), [], 1007),
}


def test_what_is_no_message_or_too_much_of_it_ends_its_client(served: Server) -> None:
    expected = {name: (reasons, code) for name, (_, reasons, code) in NO_MESSAGES.items()}
    assert ends(served, {name: data for name, (data, _, _) in NO_MESSAGES.items()}) == expected


def test_messages_may_come_in_pieces_and_pings_are_answered(served: Server) -> None:
    with Client(port_of(served)) as client:
        whole = frame(b'421["ech', fin=False) + frame(b"are you there", 9) + frame(b'o","\xc3', 0, fin=False)
        for byte in whole + frame(b'\xa9"]', 0):
            client.send_bytes(bytes([byte]))
        assert client.text(lambda text: text.startswith("43")) == '431["\\u00e9"]'
        client.send_bytes(frame(struct.pack("!H", 1001) + b"bye", 8))
        assert client.end() == ([], 1001)


def test_a_client_without_a_namespace_ends_after_a_while(served: Server) -> None:
    with Client(port_of(served), join=False) as never, Client(port_of(served)) as left:
        left.send("41")
        assert never.end() == (["idle"], 1008)
        assert left.end() == (["idle"], 1008)


NO_HANDSHAKES: dict[str, tuple[dict[str, str | None], int]] = {
    "no upgrade": ({"Upgrade": None}, 400),
    "no option": ({"Connection": "keep-alive"}, 400),
    "another protocol": ({"Upgrade": "h2c"}, 400),
    "no key": ({"Sec-WebSocket-Key": None}, 400),
    "a short key": ({"Sec-WebSocket-Key": "c2hvcnQ="}, 400),
    "a key that is none": ({"Sec-WebSocket-Key": "\xe9***"}, 400),
    "another version": ({"Sec-WebSocket-Version": "8"}, 426),
    "another method": ({"method": "POST"}, 400),
    "another origin": ({"Origin": "https://evil.example"}, 403),
}


def test_clients_that_have_left_leave_nothing_for_the_garbage_collector(served: Server) -> None:
    """It stops all requests for as long as it looks for what they leave."""
    requests.post(f"{served.base}/garbage", timeout=WAIT_S)
    for _ in range(LEFT):
        with Client(port_of(served)):
            pass
    until(lambda: kept(served)["sockets"] == 1)
    objects = int(requests.post(f"{served.base}/garbage", timeout=WAIT_S).text)
    assert objects < 10 * LEFT, "werkzeug's matcher of routes leaves eight objects for each other request"


def test_what_is_no_handshake_is_refused(served: Server) -> None:
    statuses = {}
    for name, (changed, _) in NO_HANDSHAKES.items():
        with closing(connection_to(port_of(served))) as sock:
            request = handshake(port_of(served), **changed)
            sock.sendall(request.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"))
            statuses[name] = int(head_of(sock).split()[1])
    assert statuses == {name: status for name, (_, status) in NO_HANDSHAKES.items()}


def test_compression_that_is_offered_is_not_taken(served: Server) -> None:
    with Client(port_of(served)) as client:
        assert b"extensions" not in client.head.lower()


def test_with_the_most_sockets_open_requests_are_answered_and_one_more_socket_is_told_why_not(served: Server) -> None:
    until(lambda: links(served)["switched"] == 1)  # the witness has one
    with ExitStack() as stack:
        for _ in range(MOST - MOST // 8 - 1):
            stack.enter_context(Client(port_of(served)))
        with closing(connection_to(port_of(served))) as sock:
            sock.sendall(handshake(port_of(served)))
            head = head_of(sock)
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 5" in head.lower()
            assert b"as many clients of Socket.IO as it can" in sock.recv(1000)
        assert served.get("/livez").json() == {"status": "ok"}
        assert served.get("/models").status_code == 200


class Polling:
    """A client that polls."""

    def __init__(self, server: Server, *, join: bool = True) -> None:
        self._server = server
        self.session = requests.Session()
        self.sid: str = json.loads(self.session.get(self._url(), timeout=WAIT_S).text[1:])["sid"]
        if join:
            assert self.post("40").text == "OK"
            while not any(text.startswith("40") for text in self.poll()):
                pass

    def _url(self, sid: str | None = None) -> str:
        return f"{self._server.base}/socket.io/?EIO=4&transport=polling" + ("" if sid is None else f"&sid={sid}")

    def post(self, data: str | bytes) -> requests.Response:
        return self.session.post(self._url(self.sid), data=data, timeout=WAIT_S)

    def asked(self) -> requests.Response:
        return self.session.get(self._url(self.sid), timeout=WAIT_S)

    def poll(self) -> list[str]:
        """What one poll brings, pings answered and left out."""
        texts = self.asked().text.split("\x1e")
        if "2" in texts:
            self.post("3")
        return [text for text in texts if text != "2"]


WRONG_BODIES = {
    "a megabyte": b"4" * (1 << 20),
    "no packet": b"hello",
    "a JSONP body without data": b"d=",
    "not UTF-8": b"4\xff\xfe",
    "many packets": b"\x1e".join([b"3"] * 17),
    "empty packets": b"\x1e\x1e",
    "deep lists": b"4" + b"[" * 16_000,
}


def test_a_wrong_body_ends_the_polling_client(served: Server) -> None:
    for name, body in WRONG_BODIES.items():
        client = Polling(served)
        assert (client.post(body).status_code, client.asked().status_code) == (400, 400), name


def test_a_wrong_packet_of_a_polling_client_is_answered_in_its_next_poll(served: Server) -> None:
    client = Polling(served)
    assert client.post('42["connect"]').status_code == 200
    assert client.poll() == ['42["bye", {"reason": "invalid_message"}]', "1"]
    assert client.asked().status_code == 400


def test_a_polling_client_that_floods_is_ended_with_a_reason(served: Server) -> None:
    client = Polling(served)
    many = b"\x1e".join([b'42["echo"]'] * 16)
    for _ in range(4):
        assert client.post(many).status_code == 200
    assert client.poll()[-2:] == ['42["bye", {"reason": "too_many_messages"}]', "1"]


def test_a_second_poll_at_a_time_ends_the_client(served: Server) -> None:
    """As with Node's server; no client of Socket.IO sends one."""
    client = Polling(served)
    answers: list[int] = []
    polling = [threading.Thread(target=lambda: answers.append(client.asked().status_code)) for _ in range(2)]
    for thread in polling:
        thread.start()
    for thread in polling:
        thread.join(WAIT_S)
    assert 400 in answers


def test_a_polling_client_that_never_polls_is_bounded_and_ended(served: Server) -> None:
    client = Polling(served)
    client.post('42["listen"]')
    publish(served, events=300, size=10, keys=2)
    assert links(served)["replaced"] > 0, "older ones have given way to newer ones of their key"
    assert kept(served)["listeners"] == 1
    publish(served, events=300, size=10)
    until(lambda: links(served)["ended"].get("slow"))


def test_the_last_words_to_a_polling_client_are_the_answer_of_its_poll(served: Server, witness: Client) -> None:
    client = Polling(served)
    polled: list[list[str]] = []
    polling = threading.Thread(target=lambda: polled.append(client.poll()))
    before = value(served, "predict_streams_open")
    polling.start()
    until(lambda: value(served, "predict_streams_open") == before + 1)
    assert links(served)["open"]["polling"] == 1
    requests.post(f"{served.base}/finish?new", timeout=WAIT_S)
    polling.join(WAIT_S)
    assert polled[-1][-2:] == ['42["bye", {"reason": "restart"}]', "1"]


def test_many_sessions_of_one_client_are_bounded_and_end(served: Server) -> None:
    with requests.Session() as session:
        polls = f"{served.base}/socket.io/?EIO=4&transport=polling"
        statuses = {session.get(polls, timeout=WAIT_S).status_code for _ in range(140)}
    assert statuses == {200, 503}
    assert kept(served)["sockets"] <= 128
    until(lambda: kept(served)["sockets"] == 1)


def test_a_polling_client_that_floods_with_empty_bodies_is_ended_too(served: Server) -> None:
    client = Polling(served)
    for _ in range(60):
        client.post("")
    assert client.poll()[-2:] == ['42["bye", {"reason": "too_many_messages"}]', "1"]


def test_a_half_upgrade_is_given_up_and_polling_goes_on(served: Server) -> None:
    silent, probing = Polling(served), Polling(served)
    with (
        Client(port_of(served), silent.sid, join=False) as first,
        Client(port_of(served), probing.sid, join=False) as second,
    ):
        second.send("2probe")
        second.text("3probe".__eq__)
        for client in (silent, probing):
            client.post('42["listen"]')
        publish(served, events=3)
        ticks: dict[Polling, int] = {}
        for client in (silent, probing):
            while ticks.setdefault(client, 0) < 3:
                ticks[client] += sum("tick" in text for text in client.poll())
        assert first.end() == ([], None)
        assert second.end() == ([], None)
    for client in (silent, probing):
        client.post("1")


def test_two_upgrades_of_one_client_are_one(served: Server) -> None:
    client = Polling(served)
    with Client(port_of(served), client.sid, join=False) as first:
        with closing(connection_to(port_of(served))) as sock:
            sock.sendall(handshake(port_of(served), client.sid))
            assert head_of(sock).startswith(b"HTTP/1.1 400 ")
        first.send("2probe")
        first.text("3probe".__eq__)
        first.send("5")
        first.echo("upgraded")
        assert client.asked().status_code == 400


def test_an_upgrade_amid_events_loses_doubles_and_reorders_nothing(served: Server) -> None:
    """What waits for a poll when the upgrade is through comes first, over the WebSocket."""
    client = Polling(served)
    client.post('42["listen"]')

    def publishing(events: int) -> threading.Thread:
        thread = threading.Thread(target=publish, args=(served,), kwargs={"events": events, "pause_s": 0.02})
        thread.start()
        return thread

    before = publishing(20)
    polled: list[str] = []
    while sum("tick" in text for text in polled) < 5:
        polled += client.poll()
    with Client(port_of(served), client.sid, join=False) as link:
        link.send("2probe")
        link.text("3probe".__eq__)
        polled += client.poll()
        publish(served, events=10)
        after = publishing(30)
        link.send("5")
        for thread in (before, after):
            thread.join(WAIT_S)
        link.echo("all are here")
        seen = [json.loads(text[2:])[1]["number"] for text in polled if "tick" in text] + numbers(link)
        assert seen == list(range(seen[0], seen[0] + 60))
        assert len(numbers(link)) >= 40


@pytest.mark.parametrize("size", [600, 60_000])
def test_a_client_that_never_reads_is_cut_with_a_reason_and_the_others_get_everything(
    served: Server, size: int
) -> None:
    before = links(served)["ended"].get("slow", 0)
    with listening(served) as healthy, closing(connection_to(port_of(served), receive_buffer=4096)) as deaf:
        deaf.sendall(handshake(port_of(served)) + b"")
        head_of(deaf)
        deaf.sendall(frame(b"40") + frame(b'42["listen"]'))
        until(lambda: kept(served)["listeners"] == 2)
        first = last = publish(served, events=1, size=size)
        for _ in range(20):
            last = publish(served, events=max(2, 30_000 // size), size=size)
            everything_came(healthy, last)  # so that it keeps up, however busy the machine is
        assert numbers(healthy) == list(range(first, last + 1))
        until(lambda: links(served)["ended"].get("slow", 0) == before + 1)
        until(lambda: kept(served)["listeners"] == 1)
        assert kept(served)["waiting_bytes"] == 0


@pytest.mark.parametrize("size", [600, 30_000])
def test_a_client_that_reads_again_has_whole_frames_and_ends_at_the_newest_of_each_key(
    served: Server, size: int
) -> None:
    with listening(served) as healthy, closing(connection_to(port_of(served), receive_buffer=4096)) as slow:
        slow.sendall(handshake(port_of(served)))
        head_of(slow)
        slow.sendall(frame(b"40") + frame(b'42["listen"]'))
        until(lambda: kept(served)["listeners"] == 2)
        last = publish(served, events=1_000_000 // size, size=size, keys=3)
        everything_came(healthy, last)
        seen = [body["number"] for body in read_events(slow, until_number=last)]
        assert set(seen[-3:]) == {last - 2, last - 1, last}
        assert seen == sorted(seen)
        assert len(seen) < len(numbers(healthy)), "older ones gave way"


def read_events(sock: socket.socket, until_number: int) -> list[dict[str, Any]]:
    """The bodies in whole frames, by a parser that takes nothing else."""
    data, bodies = b"", []
    while not bodies or bodies[-1].get("number") != until_number:
        got = sock.recv(1 << 16)
        assert got, "it was cut"
        data += got
        while (whole := first_frame(data)) is not None:
            payload, data = whole
            if payload.startswith(b'42["tick"'):
                bodies.append(json.loads(payload[2:])[1])
    return bodies


def first_frame(data: bytes) -> tuple[bytes, bytes] | None:
    if len(data) < 4:
        return None
    assert data[0] == 0x81, data[:20]
    length, begins = data[1], 2
    if length == 126:
        length, begins = struct.unpack("!H", data[2:4])[0], 4
    ends = begins + length
    return None if len(data) < ends else (data[begins:ends], data[ends:])


def test_the_last_words_are_said_before_the_connection_ends(served: Server) -> None:
    with Client(port_of(served)) as client:
        requests.post(f"{served.base}/finish?new", timeout=WAIT_S)
        assert client.end() == (["restart"], 1013)


def test_stock_javascript_clients_miss_nothing_and_come_back_after_they_were_sent_away(
    served: Server, tmp_path: Path
) -> None:
    script = (Path(__file__).parent / "two_clients.js").read_text()
    (linked(tmp_path) / "two_clients.js").write_text(script)
    seen = {client.pop("name"): client for client in json.loads(node("two_clients.js", served.base, folder=tmp_path))}
    first = seen["default"]["numbers"][0]
    for client in seen.values():
        assert client["numbers"] == list(range(first, first + 200))
        assert client["byes"] == ["restart"] * 2
        assert client["reasons"][0] == "transport close", "after any other the client would not come back"
    assert seen["default"]["transports"] == ["polling", "websocket"] * 2, "at first, and at the end"
    assert seen["websocket"]["transports"] == ["websocket"] * 4


class OrderedSimpleClient(socketio.SimpleClient):
    client_class = OrderedClient


@pytest.mark.parametrize("transports", [None, ["websocket"], ["polling"]])
def test_the_python_client_misses_nothing(served: Server, transports: list[str] | None) -> None:
    numbers: list[int] = []
    with OrderedSimpleClient() as client:
        client.connect(served.base, transports=transports)
        assert client.call("listen", timeout=WAIT_S) == "listening"
        publishing = threading.Thread(target=publish, args=(served,), kwargs={"events": 50, "pause_s": 0.005})
        publishing.start()
        while len(numbers) < 50:
            numbers.append(client.receive(timeout=WAIT_S)[1]["number"])
        publishing.join(WAIT_S)
        assert client.transport == ("polling" if transports == ["polling"] else "websocket")
    assert numbers == list(range(numbers[0], numbers[0] + 50))


def test_sigterm_ends_open_sockets_and_the_server_in_seconds(served: Server, witness: Client) -> None:
    """The last test of this server. Beside clients that read there is one that does not."""
    with ExitStack() as stack:
        clients = [witness, *(stack.enter_context(Client(port_of(served))) for _ in range(20))]
        deaf = stack.enter_context(closing(connection_to(port_of(served))))
        deaf.sendall(handshake(port_of(served)))
        head_of(deaf)
        served.process.send_signal(signal.SIGTERM)
        for client in clients:
            assert client.end() == (["restart"], 1013)
        assert served.process.wait(WAIT_S) == 0
        assert "graceful timeout" not in served.log.read_text()
