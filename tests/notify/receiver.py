"""A receiver of messages over real HTTP on loopback, which takes them, or misbehaves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from tests.waiting import PATIENCE_S

HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@dataclass(frozen=True)
class Delivery:
    """One request. headers: by their names in small letters."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


Answer = Callable[["Receiver", "Handler"], None]


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.deliveries.append(Delivery(self.path, headers, body))
        self.close_connection = True
        self.server.answer(self.server, self)

    do_GET = do_POST

    def log_message(self, format: str, *args: object) -> None:
        pass


class Receiver(ThreadingHTTPServer):
    """answer: how it answers; `deliveries`: all requests. Whoever hangs in it goes on once it is closed."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, answer: Answer, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.answer = answer
        self.deliveries: list[Delivery] = []
        self.closed = threading.Event()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=a-secret-word"

    @property
    def apprise_url(self) -> str:
        return f"json://127.0.0.1:{self.port}/a-secret-word"

    def ids(self) -> list[str]:
        return [delivery.id for delivery in self.deliveries]

    def handle_error(self, request: object, client_address: object) -> None:
        """A sender that gave up is no error here."""


def status(code: int, **headers: str) -> Answer:
    """Answers with a status and no body."""

    def answer(receiver: Receiver, handler: Handler) -> None:
        handler.send_response(code)
        for name, value in {"Content-Length": "0", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return answer


TAKEN: Final = status(200)


def redirect(receiver: Receiver, handler: Handler) -> None:
    status(301, Location=f"http://127.0.0.1:{receiver.port}/elsewhere")(receiver, handler)


def hang(receiver: Receiver, handler: Handler) -> None:
    """Takes the message and says nothing."""
    receiver.closed.wait(PATIENCE_S)


def hang_after_200(receiver: Receiver, handler: Handler) -> None:
    """Says 200, promises a body, and does not send it."""
    handler.wfile.write(HEAD + b"Content-Length: 10\r\n\r\n")
    handler.wfile.flush()
    receiver.closed.wait(PATIENCE_S)


def garbage_after_200(receiver: Receiver, handler: Handler) -> None:
    handler.wfile.write(HEAD + b"Content-Length: 9\r\n\r\n\xff\xfe{not json")


def endless_body(receiver: Receiver, handler: Handler) -> None:
    """Sends a body that never ends, as fast as it is taken."""
    handler.wfile.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while not receiver.closed.is_set():
        handler.wfile.write(b"10000\r\n" + bytes(65_536) + b"\r\n")


def endless_head(receiver: Receiver, handler: Handler) -> None:
    """Sends a line of the head that never ends, piece by piece, so that no read times out."""
    handler.wfile.write(HEAD + b"X-Slow: ")
    while not receiver.closed.wait(0.1):
        handler.wfile.write(b"x")
        handler.wfile.flush()


def no_http(receiver: Receiver, handler: Handler) -> None:
    handler.wfile.write(b"220 mail ready\r\n")


@contextmanager
def receiving(answer: Answer = TAKEN, port: int = 0) -> Iterator[Receiver]:
    receiver = Receiver(answer, port)
    thread = threading.Thread(target=receiver.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.closed.set()
        receiver.shutdown()
        receiver.server_close()
        thread.join(PATIENCE_S)
