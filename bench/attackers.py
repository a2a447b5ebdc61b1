"""Attackers beside honest clients: does their 99th percentile hold, does the worker live, does a metric show it?

`python -m bench.attackers [NAME...]` starts a server of its own on the demo market and asks it 200 times a second over 16
connections, in rounds, first alone and then beside each attacker. It prints for both the 99th percentile, the worst wait and
the failed requests, whether the worker is the same process, how `predict_connections_closed_total` moved, and the ratio of the
medians. On a machine that stands still now and then, many short rounds say more: ATTACK_SECONDS=3 ATTACK_ROUNDS=9.
Attackers and honest clients are processes of their own; the honest ones come from another address of loopback than the
attackers. Where there are two processors, the server has the first one, and attackers leave the second to the honest clients,
as machines far away would.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from multiprocessing.synchronize import Event
from pathlib import Path

import requests

from bench.serving import child_of, free_port, machine

RATE = 200
CONNECTIONS = 16
SECONDS = float(os.environ.get("ATTACK_SECONDS", "15"))
ROUNDS = int(os.environ.get("ATTACK_ROUNDS", "3"))
SETTLE_S = 2.0
PATH = b"/trading-directions?ticker=SPY"
HOST = b"Host: localhost\r\n"
HONEST, ATTACKER = "127.0.0.2", "127.0.0.3"
LIMITS = {f"RATE_LIMIT_{group}": "100000000" for group in ("DIRECTIONS", "ANALYSIS", "REPLAY", "OTHER")}
ONE_BYTE_CHUNKS = b"1\r\na\r\n" * 1000
CHUNKED = b" HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Seen:
    """What honest clients saw: seconds of each answer, and requests without one."""

    waits: list[float]
    failed: int

    @property
    def p99_ms(self) -> float:
        return 1000 * statistics.quantiles(self.waits, n=100)[98] if len(self.waits) > 1 else float("nan")

    @property
    def worst_ms(self) -> float:
        return 1000 * max(self.waits, default=float("nan"))


def connect(port: int, source: str = ATTACKER, *, window: int | None = None) -> socket.socket:
    """window: bytes of the receive buffer, so that a client who does not read takes no more than that."""
    sock = socket.socket()
    if window is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    sock.settimeout(30)
    sock.bind((source, 0))
    sock.connect(("127.0.0.1", port))
    return sock


def on_processor(number: int, niceness: int = 0) -> None:
    """Move this process to a processor, where the system can and there are several."""
    if hasattr(os, "sched_setaffinity") and len(os.sched_getaffinity(0)) > number:
        os.sched_setaffinity(0, {number})
    os.nice(niceness)


def attack(name: str, port: int, over: Event) -> None:
    on_processor(1, niceness=19)
    ATTACKERS[name](port, over)


def chunks_to_nowhere(port: int, over: Event) -> None:
    """21: one connection, one-byte chunks without end to a path that nobody serves."""
    sending(port, over, b"POST /nothing" + CHUNKED, ONE_BYTE_CHUNKS)


def plain_body_to_nowhere(port: int, over: Event) -> None:
    """21: one connection, a plain body without end as fast as it is taken."""
    head = b"POST /nothing HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000000000\r\n\r\n"
    sending(port, over, head, b"x" * 65_536)


def chunks_to_a_route(port: int, over: Event) -> None:
    """21: bodies of a mebibyte in one-byte chunks to a route that reads them."""
    sending(port, over, b"POST /batch_predict" + CHUNKED, ONE_BYTE_CHUNKS)


def sending(port: int, over: Event, head: bytes, piece: bytes) -> None:
    """Again as soon as the server has closed the connection."""
    while not over.is_set():
        with suppress(OSError), connect(port) as sock:
            sock.sendall(head)
            while not over.is_set():
                sock.sendall(piece)


def never_reading(port: int, over: Event) -> None:
    """22: 20 clients that ask and never read; each that the server drops comes again."""
    asking_on(port, over, taken=0)


def sipping(port: int, over: Event) -> None:
    """22: the same, and each reads ten bytes a hundred times a second."""
    asking_on(port, over, taken=10)


def asking_on(port: int, over: Event, taken: int) -> None:
    held: list[socket.socket] = []
    asked = (b"GET " + PATH + b" HTTP/1.1\r\n" + HOST + b"\r\n") * 50
    while not over.is_set():
        for sock in held if len(held) == 20 else [*held, connect(port, window=4096)]:
            sock.setblocking(False)
            if sock not in held:
                held.append(sock)
            try:
                if taken:
                    sock.recv(taken)
                sock.send(asked)
            except BlockingIOError:
                pass
            except OSError:
                held.remove(sock)
                sock.close()
        time.sleep(0.01)


def half_sent(port: int, over: Event) -> None:
    """23: 1,001 requests of which the half is sent; each that the server closes is begun again."""
    beginning(port, over, b"GET /livez HTTP/1.1\r\nHost: lo")


def slow_bodies(port: int, over: Event) -> None:
    """23: the same with whole heads, whose bodies do not come."""
    beginning(port, over, b"POST /batch_predict HTTP/1.1\r\n" + HOST + b"Content-Length: 20\r\n\r\n{")


def slow_large_bodies(port: int, over: Event) -> None:
    """23: the same with bodies of which the start comes, too large to be waited for."""
    beginning(
        port, over, b"POST /batch_predict HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n" + b"x" * 20_000
    )


def slow_chunks(port: int, over: Event) -> None:
    """23: the same with bodies in chunks."""
    beginning(port, over, b"POST /batch_predict" + CHUNKED + b"5\r\n{")


def beginning(port: int, over: Event, begin: bytes) -> None:
    held: list[socket.socket] = []
    while not over.is_set():
        while len(held) < 1001 and not over.is_set():
            with suppress(OSError):
                sock = connect(port)
                sock.sendall(begin)
                sock.setblocking(False)
                held.append(sock)
        held = [sock for sock in held if is_open(sock)]
        time.sleep(0.05)


def is_open(sock: socket.socket) -> bool:
    try:
        data = sock.recv(1000)
    except BlockingIOError:
        return True
    except OSError:
        data = b""
    if not data:
        sock.close()
    return bool(data)


ATTACKERS: Mapping[str, Callable[[int, Event], None]] = {
    attacker.__name__: attacker
    for attacker in (
        chunks_to_nowhere,
        plain_body_to_nowhere,
        chunks_to_a_route,
        never_reading,
        sipping,
        half_sent,
        slow_bodies,
        slow_large_bodies,
        slow_chunks,
    )
}


def honest(port: int, seconds: float, results: multiprocessing.SimpleQueue[Seen]) -> None:
    """Ask at the given rate, whatever the answers do: a wait counts from the moment at which the request was due."""
    import threading

    on_processor(1)
    waits: list[float] = []
    failed: list[float] = []
    began = time.perf_counter()

    def ask(first: int) -> None:
        kept = HTTPConnection("127.0.0.1", port, timeout=30, source_address=(HONEST, 0))
        for number in range(first, int(RATE * seconds), CONNECTIONS):
            due = began + number / RATE
            time.sleep(max(0.0, due - time.perf_counter()))
            try:
                kept.request("GET", PATH.decode())
                answer = kept.getresponse()
                answer.read()
            except (OSError, HTTPException):
                kept.close()
                failed.append(number)
            else:
                (waits if answer.status == 200 else failed).append(time.perf_counter() - due)

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(Seen(waits, len(failed)))


def seen_by_honest(port: int, seconds: float) -> Seen:
    results: multiprocessing.SimpleQueue[Seen] = multiprocessing.SimpleQueue()
    asking = multiprocessing.Process(target=honest, args=(port, seconds, results))
    asking.start()
    seen = results.get()
    asking.join()
    return seen


def closed(port: int) -> dict[str, float]:
    """`predict_connections_closed_total` by reason; empty where the server has no such metric."""
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
    found = re.findall(r'^predict_connections_closed_total\{reason="(\w+)"\} (\S+)', text, re.M)
    return {reason: float(count) for reason, count in found}


def probe_ms(port: int) -> float:
    """How long `/livez` takes, on a connection of its own, from the attackers' address."""
    began = time.perf_counter()
    with connect(port) as sock:
        sock.settimeout(120)
        sock.sendall(b"GET /livez HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        sock.recv(1000)
    return 1000 * (time.perf_counter() - began)


def measure(name: str, port: int, master: int) -> None:
    """Prints each round, and the median 99th percentile beside the attacker by the median one without."""
    alone, beside = zip(*(measure_round(name, port, master) for _ in range(ROUNDS)), strict=True)
    print(
        f"{name:22} median beside by median alone: {statistics.median(beside) / statistics.median(alone):.2f}",
        flush=True,
    )


def measure_round(name: str, port: int, master: int) -> tuple[float, float]:
    """The 99th percentile without the attacker and beside it, ms. Before it the server closes what the last attack left."""
    seen_by_honest(port, SETTLE_S)
    alone = seen_by_honest(port, SECONDS)
    worker, before = child_of(master), closed(port)
    over = multiprocessing.Event()
    attacking = multiprocessing.Process(target=attack, args=(name, port, over))
    attacking.start()
    try:
        time.sleep(SETTLE_S)
        beside = seen_by_honest(port, SECONDS)
        probe = probe_ms(port)
    finally:
        over.set()
        attacking.terminate()
        attacking.join()
    moved = {reason: n - before.get(reason, 0) for reason, n in closed(port).items() if n > before.get(reason, 0)}
    lives = "lives" if child_of(master) == worker else "WAS KILLED"
    print(
        f"{name:22} p99 {alone.p99_ms:7.1f} -> {beside.p99_ms:9.1f} ms ({beside.p99_ms / alone.p99_ms:6.2f}), worst "
        f"{alone.worst_ms:.0f} -> {beside.worst_ms:.0f} ms, failed {alone.failed} -> {beside.failed}, /livez {probe:.0f} ms, "
        f"worker {lives}, closed: {moved or 'nothing counted'}",
        flush=True,
    )
    return alone.p99_ms, beside.p99_ms


def main(names: list[str]) -> None:
    print(
        f"{machine()}; {RATE} requests/s over {CONNECTIONS} connections for {SECONDS:.0f} s, alone -> beside the attacker"
    )
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            port = free_port()
            around = {**os.environ, **LIMITS, "PORT": str(port), "DATA_DIR": folder, "MARKET": "demo"}
            with (Path(folder) / "log").open("wb") as log:
                server = subprocess.Popen(
                    [sys.executable, "-m", "app", "serve"],
                    env=around,
                    stdout=log,
                    stderr=log,
                    preexec_fn=lambda: on_processor(0),
                )
                try:
                    _wait(port)
                    measure(name, port, server.pid)
                finally:
                    began = time.perf_counter()
                    server.terminate()
                    server.wait(60)
                    print(f"{'':22} stopped in {time.perf_counter() - began:.1f} s", flush=True)


def _wait(port: int) -> None:
    for _ in range(120):
        try:
            if requests.get(f"http://127.0.0.1:{port}{PATH.decode()}", timeout=60).ok:
                return
        except requests.RequestException:
            time.sleep(0.5)
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    chosen = sys.argv[1:] or list(ATTACKERS)
    if not set(chosen) <= set(ATTACKERS):
        raise SystemExit(f".venv/bin/python -m bench.attackers [{'|'.join(ATTACKERS)}]...")
    main(chosen)
