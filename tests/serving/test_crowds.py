"""Crowds of clients of Socket.IO at the server as it is deployed: one client costs the others nothing, and all together leave
room for requests. The broadcaster publishes events of the bench. The large crowds are soak tests, and print what they find;
small ones run everywhere."""

from __future__ import annotations

import signal
import socket
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from bench import attackers, door
from bench.crowd import Crowd, percentiles
from bench.events import FIRST
from bench.fan_out import latencies_ms
from bench.fan_out_servers import HERE, OURS, ROWS
from bench.fan_out_servers import Server as Publisher
from bench.serving import child_of
from blueprints.shared.reconnecting import EARLIEST_MS, spread_ms
from tests.serving.crowd_clients import Message, Reader
from tests.serving.test_gunicorn import Server, free_port, started
from tests.serving.test_streams import value
from tests.waiting import PATIENCE_S

COMMAND = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", "tests.serving.crowd_app:app"]
SMALL, LARGE = 40, 1000
LIVEZ_S = 1.0
STALLED_S = 20.0
"""In which a client that takes nothing is cut off, with room for a busy machine."""

sizes = pytest.mark.parametrize("size", [SMALL, pytest.param(LARGE, marks=pytest.mark.soak)])


class Crowded:
    """A server whose events the test starts. found: what it measured."""

    def __init__(self, server: Server, control: socket.socket) -> None:
        self.server = server
        self.port = int(server.base.rpartition(":")[2])
        self.publisher = Publisher(ROWS["a"], self.port, child_of(server.process.pid), control)

    def trigger(self, *crowds: Crowd) -> None:
        """One more event."""
        for crowd in crowds[1:]:
            crowd.triggered()
        self.publisher.trigger(crowds[0])

    def kept(self) -> dict[str, int]:
        found: dict[str, int] = self.server.get("/kept").json()
        return found

    def wait_empty(self) -> float:
        """Until nothing of clients is kept. Returns how many seconds that took."""
        began = time.monotonic()
        while any((kept := self.kept()).values()):
            assert time.monotonic() - began < PATIENCE_S, kept
            time.sleep(0.1)
        return time.monotonic() - began

    def ended(self, reason: str) -> float:
        """How many clients the server has ended for a reason."""
        return value(self.server, "predict_socket_ended_total", reason=reason)

    def reader(self, **options: Any) -> Reader:
        return Reader(self.port, **options).connect()


@contextmanager
def crowded(folder: Path, **settings: object) -> Iterator[Crowded]:
    control = free_port()
    values = {**OURS, "DATA_DIR": folder, "TRIGGER_PORT": control, **settings}
    with started(COMMAND, folder / "log", **values) as server:
        server.wait_ready()
        with closing(socket.create_connection(("127.0.0.1", control), PATIENCE_S)) as trigger:
            yield Crowded(server, trigger)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowded]:
    with crowded(tmp_path_factory.mktemp("crowded")) as found:
        yield found


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., Crowded]]:
    """A server of the test's own."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(crowded(tmp_path, **settings))


@contextmanager
def gathered(server: Crowded, size: int) -> Iterator[Crowd]:
    """Clients, of whom each has had an event."""
    crowd = server.publisher.crowd(size)
    try:
        yield crowd
    finally:
        crowd.close()


def latencies(server: Crowded, crowd: Crowd, events: int) -> tuple[float, float]:
    """Median and 99th percentile of a delivery, milliseconds."""
    return percentiles(latencies_ms(server.publisher, crowd, events))


Say = Callable[[str], None]


@pytest.mark.parametrize("bytes_each", [600, 60_000])
@pytest.mark.parametrize(
    ("size", "deaf", "is_measured"), [(SMALL, 2, False), pytest.param(LARGE, 20, True, marks=pytest.mark.soak)]
)
def test_readers_that_never_read_cost_the_others_nothing_and_little_memory(
    own: Callable[..., Crowded], say: Say, bytes_each: int, size: int, deaf: int, is_measured: bool
) -> None:
    """Each byte that the others get is checked (bench/crowd.py)."""
    server = own(EVENT_BYTES=bytes_each)
    with gathered(server, size) as crowd, ExitStack() as stack:
        events = 20 if is_measured else 1
        alone = latencies(server, crowd, events)
        before = server.publisher.resident_kb()
        readers = [stack.enter_context(closing(server.reader(receive_bytes=4096))) for _ in range(deaf)]
        for _ in range(600 if bytes_each < 1000 else 20):
            server.trigger(crowd)
            crowd.wait()
        held = (server.publisher.resident_kb() - before) / deaf
        beside = latencies(server, crowd, events)
        if not is_measured:
            return
        ends = time.monotonic() + STALLED_S
        while server.ended("slow") < deaf and time.monotonic() < ends:
            server.trigger(crowd)
            crowd.wait()
            crowd.pump_for(0.25)
        assert server.ended("slow") == deaf
        words = Counter(tuple(message.name for message in list(reader.messages())[-2:]) for reader in readers)
        say(
            f"{size} clients, {deaf} that never read, {bytes_each} bytes: p50 {alone[0]:.1f} -> {beside[0]:.1f} ms, "
            f"p99 {alone[1]:.1f} -> {beside[1]:.1f} ms ({beside[1] / alone[1]:.2f}); {held:.0f} KB for each deaf one; "
            f"last words: {dict(words)}"
        )
        assert beside[1] / alone[1] <= 1.5
        assert held <= 1024


def test_a_client_that_reads_again_has_whole_frames_and_ends_at_the_newest_event(own: Callable[..., Crowded]) -> None:
    server = own(EVENT_BYTES=60_000)
    with gathered(server, 2) as crowd, closing(server.reader(receive_bytes=4096)) as slow:
        for _ in range(50):
            server.trigger(crowd)
            crowd.wait()
        numbers: list[int] = []
        messages = slow.messages()
        while not numbers or numbers[-1] != FIRST + server.publisher.events - 1:
            message = next(messages)
            numbers += [message.payload["n"]] if message.name == "price" else []
        assert next(messages).name == "snapshot", "in place of what it did not get"
        assert numbers == sorted(set(numbers))
        assert len(numbers) < 50, "what it did not take gave way to newer events"


@pytest.mark.parametrize("size", [SMALL, pytest.param(2000, marks=pytest.mark.soak)])
def test_all_that_connect_and_leave_at_once_leave_nothing_behind(shared: Crowded, say: Say, size: int) -> None:
    shared.wait_empty()
    probes = Probes(shared)
    with probes:
        crowd = shared.publisher.crowd(size)
        with_all = shared.kept()
        crowd.close()
        left = time.monotonic()
        shared.wait_empty()
        took = time.monotonic() - left
    assert with_all["members"] == size
    say(f"{size} clients left at once: nothing kept after {took:.2f} s; /livez took {max(probes.took):.2f} s at most")
    if size > SMALL:
        assert took <= 2.0
        assert max(probes.took) <= LIVEZ_S


class Probes:
    """Asks /livez over and over, on a connection of its own each time. took: seconds of each answer."""

    def __init__(self, server: Crowded) -> None:
        self.took: list[float] = []
        self._server = server
        self._is_over = False
        self._thread = Thread(target=self._ask)

    def __enter__(self) -> Probes:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over = True
        self._thread.join()

    def _ask(self) -> None:
        while not self._is_over:
            began = time.monotonic()
            assert self._server.server.get("/livez").status_code == 200
            self.took.append(time.monotonic() - began)
            time.sleep(0.05)


@sizes
def test_a_stopping_server_says_goodbye_to_all_and_ends_in_seconds(
    own: Callable[..., Crowded], say: Say, size: int
) -> None:
    server = own()
    with gathered(server, size), ExitStack() as stack:
        few = [stack.enter_context(closing(server.reader())) for _ in range(10)]
        began = time.monotonic()
        server.server.process.send_signal(signal.SIGTERM)
        words = [list(reader.messages())[-2:] for reader in few]
        assert server.server.process.wait(PATIENCE_S) == 0
        took = time.monotonic() - began
    say(f"SIGTERM with {size} clients: {took:.2f} s")
    for bye, close in words:
        assert (bye.name, bye.payload["reason"], close) == ("bye", "restart", Message("close", 1013))
    assert len({bye.payload["retry_after_ms"] for bye, _ in words}) > 5, "they are spread"
    if size > SMALL:
        assert took <= 5.0


@pytest.mark.soak
def test_a_crowd_that_reconnects_at_once_is_served_within_the_spread_and_requests_are_answered(
    shared: Crowded, say: Say
) -> None:
    """All at once, although the server spreads them over seconds. The median of five rounds."""
    attackers.seen_by_honest(shared.port, 2.0)  # after it, the answers are known
    rounds = [reconnected(shared) for _ in range(5)]
    for took, alone, beside in rounds:
        say(
            f"{LARGE} clients that connect at once have their snapshots after {took:.1f} s; hot GETs p99 {alone.p99_ms:.1f} -> "
            f"{beside.p99_ms:.1f} ms ({beside.p99_ms / alone.p99_ms:.2f}), {beside.failed} failed"
        )
    assert not sum(beside.failed for _, _, beside in rounds)
    assert statistics.median(took for took, _, _ in rounds) <= (EARLIEST_MS + spread_ms(LARGE)) / 1000
    assert statistics.median(beside.p99_ms / alone.p99_ms for _, alone, beside in rounds) <= 3.0


def reconnected(shared: Crowded) -> tuple[float, attackers.Seen, attackers.Seen]:
    """In how many seconds a crowd that connects at once has its snapshots, and what requests meet without it and meanwhile. The
    crowd leaves its processor to those who ask, as machines far away would."""
    shared.wait_empty()
    alone = attackers.seen_by_honest(shared.port, 5.0)
    crowd = Crowd(shared.port, HERE, LARGE, shared.publisher.events, at_once=LARGE)
    with ThreadPoolExecutor(2) as pool:
        asking = pool.submit(attackers.seen_by_honest, shared.port, 5.0)
        time.sleep(1.0)
        took = pool.submit(connecting, crowd).result()
        beside = asking.result()
    shared.trigger(crowd)
    crowd.wait()
    crowd.close()
    return took, alone, beside


def connecting(crowd: Crowd) -> float:
    """Connect with what the processor has left over. Returns how many seconds that took."""
    attackers.on_processor(1, niceness=19)
    began = time.monotonic()
    crowd.connect()
    return time.monotonic() - began


@pytest.mark.soak
def test_requests_beside_a_crowd_keep_their_rate(shared: Crowded, say: Say) -> None:
    """An event a second to all."""
    url = f"{shared.server.base}{door.QUERY}"
    pairs = []
    for _ in range(3):
        alone = rate(shared, url)
        with gathered(shared, LARGE) as crowd:
            beside: list[float] = []
            asking = Thread(target=lambda beside=beside: beside.append(rate(shared, url)))
            asking.start()
            while asking.is_alive():
                shared.trigger(crowd)
                crowd.wait()
                crowd.pump_for(1.0)
        pairs.append((alone, beside[0]))
        shared.wait_empty()
    ratio = statistics.median(with_crowd / without for without, with_crowd in pairs)
    say(f"hot GETs alone and beside {LARGE} clients: {[(round(a), round(b)) for a, b in pairs]} a second, {ratio:.2f}")
    assert ratio >= 0.7


def rate(server: Crowded, url: str) -> float:
    return door.load(server.server.process, url, 4).rate  # type: ignore[arg-type]
