"""Several workers, one `/metrics`: whoever is asked shows the series of all that live, and waits for none for long."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from app.telemetry import worker_metrics
from app.telemetry.exposition import Exposition
from app.telemetry.metrics import Latencies
from app.telemetry.worker_metrics import MergedExposition, WorkerGroup, verified, with_digest
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SILENCE_S = 5.0
"""For how long a test waits for a worker that hangs: longer than a busy machine needs for the answers of the others."""

WORKER = """
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from app.telemetry.exposition import Exposition
from app.telemetry.metrics import Latencies, Metric, unlabelled
from app.telemetry.worker_metrics import WorkerGroup

latencies = Latencies()
latencies.answered(SimpleNamespace(
    trace=SimpleNamespace(span=object(), id=sys.argv[2], span_id="00f067aa0ba902b7"),
    method="GET", version=1, route="/swing", status=200, code="NOT_FOUND"), 0.003)
shown = Exposition(latencies, [
    Metric("predict_requests_in_flight", "Requests under way", unlabelled(lambda: latencies.in_flight)),
    Metric("predict_errors_total", "Errors", lambda: dict(latencies.errors), ("code",)),
], time.monotonic)
workers = WorkerGroup(Path(sys.argv[1]), time.monotonic)
workers.join(shown)
print(workers.number, flush=True)
for line in sys.stdin:
    latencies.answered(SimpleNamespace(
        trace=SimpleNamespace(span=None), method="GET", version=1, route="/swing", status=200, code=None), 0.003)
    print("done", flush=True)
"""


@pytest.fixture(autouse=True)
def _patiently(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that answers late on a busy machine is shown all the same."""
    monkeypatch.setattr(worker_metrics, "TIMEOUT_S", PATIENCE_S)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where they meet: a short path, for the addresses of sockets are short."""
    with tempfile.TemporaryDirectory(prefix="w-") as found:
        yield Path(found) / "meet"


class Process:
    """A worker in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.kill = process.kill
        self.number = -1

    def wait(self) -> None:
        self._process.wait(PATIENCE_S)

    def pause(self) -> None:
        """Hangs from now on."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitpid(self._process.pid, os.WUNTRACED)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def ready(self) -> None:
        self.number = int(self._said())

    def answer(self) -> None:
        """It answers one more request."""
        asked: IO[str] | None = self._process.stdin
        assert asked is not None
        print("one", file=asked, flush=True)
        assert self._said() == "done\n"

    def _said(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@pytest.fixture
def begin(folder: Path) -> Iterator[Callable[[int], Sequence[Process]]]:
    """Starts so many at once."""
    with ExitStack() as stack:

        def started(n: int) -> Sequence[Process]:
            begun = []
            for _ in range(n):
                command = [sys.executable, "-c", WORKER, str(folder), TRACE]
                pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
                process = stack.enter_context(subprocess.Popen(command, cwd=ROOT, text=True, **pipes))  # type: ignore[call-overload]
                stack.callback(process.kill)
                begun.append(Process(process))
            for one in begun:
                one.ready()
            return begun

        yield started


class Place:
    """A worker in this process, and what it shows of all."""

    def __init__(self, folder: Path, now: Callable[[], float] = time.monotonic) -> None:
        self.latencies = Latencies()
        self.workers = WorkerGroup(folder, now)
        own = Exposition(self.latencies, [], time.monotonic)
        self.exposition = MergedExposition(own, self.workers)
        self.workers.join(own)

    def families(self, *names: str) -> dict[str, Metric]:
        text, _ = self.exposition(OPENMETRICS, names)
        return {family.name: family for family in text_string_to_metric_families(text)}

    def samples(self, name: str) -> list[Sample]:
        return [s for family in self.families().values() for s in family.samples if s.name == name]

    def shown(self) -> list[int]:
        """The numbers of the workers that are shown."""
        return sorted(int(sample.labels["worker"]) for sample in self.samples("process_start_time_seconds"))

    def close(self) -> None:
        self.workers.close()


@pytest.fixture
def place(folder: Path) -> Iterator[Callable[[], Place]]:
    made: list[Place] = []

    def take() -> Place:
        made.append(Place(folder))
        return made[-1]

    yield take
    for one in made:
        one.close()


@contextmanager
def impostor(folder: Path, number: int, behave: Callable[[socket.socket], object]) -> Iterator[None]:
    """Something that listens where worker `number` would, and does `behave` to whoever asks."""
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            try:
                asking, _ = listening.accept()
            except TimeoutError:
                continue
            with asking:
                try:
                    asking.recv(4096)
                    behave(asking)
                except OSError:  # it did not wait
                    continue

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / str(number)))
        listening.listen()
        listening.settimeout(0.02)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(PATIENCE_S)


# --- what is shown ---


def test_the_series_of_all_processes_are_shown_each_with_its_worker(
    place: Callable[[], Place], begin: Callable[[int], Sequence[Process]]
) -> None:
    own, others = place(), begin(2)
    assert own.workers.number == 0
    assert sorted(other.number for other in others) == [1, 2]
    others[0].answer()
    families = own.families()
    assert all("worker" in sample.labels for family in families.values() for sample in family.samples)
    kinds = {
        name: families[name].type
        for name in ("predict_request_seconds", "predict_requests_in_flight", "predict_errors")
    }
    assert list(kinds.values()) == ["histogram", "gauge", "counter"]
    samples = {
        (sample.name, sample.labels["worker"], sample.labels.get("le")): sample
        for family in families.values()
        for sample in family.samples
    }
    busy, idle = str(others[0].number), str(others[1].number)
    for worker, n in ((busy, 2), (idle, 1)):
        assert samples["predict_request_seconds_count", worker, None].value == n
        assert samples["predict_request_seconds_sum", worker, None].value == pytest.approx(0.003 * n)
        assert samples["predict_request_seconds_bucket", worker, "0.0025"].value == 0
        assert samples["predict_request_seconds_bucket", worker, "0.005"].value == n
        assert samples["predict_request_seconds_bucket", worker, "+Inf"].value == n
        assert samples["predict_errors_total", worker, None].labels["code"] == "NOT_FOUND"
        exemplar = samples["predict_request_seconds_bucket", worker, "0.005"].exemplar
        assert exemplar is not None
        assert (exemplar.labels["trace_id"], exemplar.value) == (TRACE, 0.003)


def test_figures_are_read_when_they_are_asked_for(folder: Path, place: Callable[[], Place]) -> None:
    own, other, registry, reads = place(), WorkerGroup(folder, time.monotonic), CollectorRegistry(), count(1)
    Gauge("reads", "How often it was asked", registry=registry).set_function(lambda: next(reads))
    other.join(lambda accept, names: (text_of(registry), ""))
    assert [own.samples("reads")[0].value for _ in range(3)] == [1, 2, 3]
    other.close()


def test_whoever_is_asked_shows_the_same(place: Callable[[], Place]) -> None:
    places = [place() for _ in range(3)]
    for n, one in enumerate(places):
        for _ in range(n + 1):
            one.latencies.staged("shape", 0.01)
    for one in places:
        counts = {s.labels["worker"]: s.value for s in one.samples("predict_stage_seconds_count")}
        assert counts == {"0": 1, "1": 2, "2": 3}


def test_each_metric_has_its_help_and_kind_once_however_many_show_it(place: Callable[[], Place]) -> None:
    places = [place() for _ in range(3)]
    places[1].latencies.called("bars", "ok", 0.01)
    text, _ = places[0].exposition(None, ())
    for kind in ("HELP", "TYPE"):
        named = [line.split()[2] for line in text.splitlines() if line.startswith(f"# {kind} ")]
        assert len(named) == len(set(named))
        assert "predict_polygon_call_seconds" in named
    first = next(line for line in text.splitlines() if line.startswith("# HELP predict_polygon_call_seconds"))
    assert first.endswith("Calls to the market-data provider")


@pytest.mark.parametrize(
    "accept",
    [
        "text/html, " + ", ".join(f"application/x-{n}" for n in range(300)) + f", {OPENMETRICS}",
        f"{OPENMETRICS}, " + ", ".join(["text/plain;version=0.0.4"] * 200),
        "x" * 8000,
        "application/openmetrics-text;version=" + "1." * 2000,
        "application/openmetrics-text;version=one",
        "\u00e9" * 2000,
    ],
)
def test_no_accept_header_loses_a_worker(place: Callable[[], Place], accept: str) -> None:
    own, _ = place(), place()
    text, content_type = own.exposition(accept, ())
    shown = [line for line in text.splitlines() if line.startswith("process_start_time_seconds")]
    assert len(shown) == 2
    assert content_type.startswith("application/openmetrics-text") == (OPENMETRICS in accept)


def test_no_list_of_names_that_fits_into_a_request_loses_a_worker(place: Callable[[], Place]) -> None:
    own, _ = place(), place()
    text, _ = own.exposition(None, ["\x00" * 1300, "process_start_time_seconds"])
    assert len([line for line in text.splitlines() if not line.startswith("#")]) == 2


def test_a_single_metric_can_be_asked_for(place: Callable[[], Place]) -> None:
    own, _ = place(), place()
    [family] = own.families("process_start_time_seconds").values()
    assert [sample.labels["worker"] for sample in family.samples] == ["0", "1"]


def test_scrapes_and_requests_of_many_threads_get_along(place: Callable[[], Place]) -> None:
    places, stopped = [place(), place()], threading.Event()

    def work(one: Place) -> int:
        n = 0
        while not stopped.is_set():
            one.latencies.staged(f"stage {n % 50}", 0.001)
            n += 1
        return n

    with ThreadPoolExecutor(8) as pool:
        counted = [pool.submit(work, one) for one in places]
        scrapes = [pool.submit(places[n % 2].shown) for n in range(6)]
        shown = [scrape.result(PATIENCE_S) for scrape in scrapes]
        stopped.set()
        made = [one.result(PATIENCE_S) for one in counted]
    assert shown == [[0, 1]] * 6
    found: dict[str, float] = {}
    for sample in places[0].samples("predict_stage_seconds_count"):
        found[sample.labels["worker"]] = found.get(sample.labels["worker"], 0) + sample.value
    assert found == {"0": made[0], "1": made[1]}


# --- who comes and goes ---


def test_a_killed_worker_disappears_and_the_next_one_takes_its_number(
    place: Callable[[], Place], begin: Callable[[int], Sequence[Process]]
) -> None:
    own, [killed] = place(), begin(1)
    place()
    killed.answer()
    killed.kill()
    killed.wait()
    assert own.shown() == [0, 2]
    [successor] = begin(1)
    assert successor.number == killed.number == 1
    assert own.shown() == [0, 1, 2]
    counts = {s.labels["worker"]: s.value for s in own.samples("predict_request_seconds_count")}
    assert counts[str(successor.number)] == 1, "it begins anew"


def test_one_that_ends_in_good_order_takes_its_series_along(folder: Path, place: Callable[[], Place]) -> None:
    own, other = place(), place()
    other.close()
    other.close()
    assert own.shown() == [0]
    assert not (folder / "1").exists()
    assert place().workers.number == 1


def test_threads_that_join_at_once_get_different_numbers(folder: Path) -> None:
    crowd = [WorkerGroup(folder, time.monotonic) for _ in range(16)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda one: one.join(lambda accept, names: ("", "")), crowd))
    assert sorted(one.number for one in crowd if one.number is not None) == list(range(16))
    for one in crowd:
        one.close()


def test_more_than_there_is_room_for_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_metrics, "MAX_WORKERS", 2)
    crowd = [WorkerGroup(folder, time.monotonic) for _ in range(2)]
    for one in crowd:
        one.join(lambda accept, names: ("", ""))
    with pytest.raises(OSError, match="too many workers"):
        WorkerGroup(folder, time.monotonic).join(lambda accept, names: ("", ""))
    for one in crowd:
        one.close()


def test_there_is_room_for_as_many_workers_as_may_be_set() -> None:
    assert worker_metrics.MAX_WORKERS == 64, "WEB_CONCURRENCY goes up to 64"


def test_nobody_else_may_look_into_the_folder(folder: Path, place: Callable[[], Place]) -> None:
    place()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


# --- who does not answer as it should ---


def test_one_that_hangs_costs_its_patience_and_the_others_are_shown(
    place: Callable[[], Place], begin: Callable[[int], Sequence[Process]], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, [hanging] = place(), begin(1)
    place()
    hanging.pause()
    with monkeypatch.context() as patch:
        patch.setattr(worker_metrics, "TIMEOUT_S", SILENCE_S)
        shown = own.shown()  # comes while that one still hangs
    hanging.resume()
    assert shown == [0, 2]
    assert own.shown() == [0, 1, 2], "and is back"


def test_one_that_sends_a_little_at_a_time_costs_no_more(folder: Path, place: Callable[[], Place]) -> None:
    seconds = [0.0]
    own, _ = Place(folder, lambda: seconds[0]), place()

    def trickle(asking: socket.socket) -> None:
        while True:  # until the asker closes
            seconds[0] += 1.0
            asking.sendall(b"#")
            time.sleep(0.001)

    with impostor(folder, 7, trickle):
        assert own.shown() == [0, 1]
    own.close()
    assert seconds[0] >= PATIENCE_S, "and no sooner"


def test_one_that_sends_without_end_is_left_out(
    folder: Path, place: Callable[[], Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_metrics, "MAX_BYTES", 100_000)
    own, _ = place(), place()
    sent = [0]

    def flood(asking: socket.socket) -> None:
        for _ in range(1000):
            asking.sendall(b"#" * 10_000)
            sent[0] += 10_000

    with impostor(folder, 7, flood):
        assert own.shown() == [0, 1]
    assert sent[0] < 2_000_000


def text_of(registry: CollectorRegistry) -> str:
    return generate_latest(registry).decode()


def whole_text() -> bytes:
    registry = CollectorRegistry()
    Counter("seen", "Seen", ["what"], registry=registry).labels("it").inc()
    Gauge("up", "Up", registry=registry).set(1)
    Histogram("took_seconds", "Took", ["what"], registry=registry).labels("it").observe(0.1, {"trace_id": TRACE})
    return with_digest(text_of(registry))


WHOLE = whole_text()
BROKEN = {
    "nothing": b"",
    "noise": bytes(range(256)),
    "words": b"I am not a worker\n",
    "half": WHOLE[: len(WHOLE) // 2],
    "all but the end": WHOLE.removesuffix(b"# EOF\n"),
    "a label without a name": WHOLE.replace(b'what="it"', b'="it"'),
    "a value that is none": WHOLE.replace(b"up 1.0", b"up one"),
    "an escape that is none": WHOLE.replace(b'what="it"', b'what="it\\'),
    "a space for a letter": WHOLE.replace(b'\ntook_seconds_bucket{le="0.005"', b'\n ook_seconds_bucket{le="0.005"'),
    "a wrong kind": WHOLE.replace(b"# TYPE up gauge", b"# TYPE up histogram"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_one_that_sends_what_cannot_be_read_is_left_out_whole(
    folder: Path, place: Callable[[], Place], what: str
) -> None:
    own, _ = place(), place()
    assert BROKEN[what] != WHOLE
    with impostor(folder, 7, lambda asking: asking.sendall(BROKEN[what])):
        assert own.shown() == [0, 1]
        workers_shown = {s.labels["worker"] for family in own.families().values() for s in family.samples}
    assert workers_shown == {"0", "1"}, "not even the part that can be read"


def test_one_that_sends_a_whole_text_is_shown(folder: Path, place: Callable[[], Place]) -> None:
    own = place()
    with impostor(folder, 7, lambda asking: asking.sendall(WHOLE)):
        [seen] = own.samples("seen_total")
    assert seen.labels == {"what": "it", "worker": "7"}


def test_no_broken_byte_of_a_worker_breaks_the_scrape(folder: Path, place: Callable[[], Place]) -> None:
    own, number = place(), [0]

    def broken(asking: socket.socket) -> None:
        text = bytearray(WHOLE)
        text[number[0]] ^= 0x11
        asking.sendall(text)

    with impostor(folder, 7, broken):
        for number[0] in range(0, len(WHOLE), 7):
            assert 0 in own.shown()


def test_a_figure_that_cannot_be_read_costs_one_scrape_and_not_the_worker(
    folder: Path, place: Callable[[], Place], caplog: pytest.LogCaptureFixture
) -> None:
    own, troubled, answers = (
        place(),
        WorkerGroup(folder, time.monotonic),
        iter([RuntimeError("no figure"), verified(WHOLE)]),
    )

    def text(accept: str | None, names: Sequence[str]) -> tuple[str, str]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer, ""

    troubled.join(text)
    assert own.samples("seen_total") == []
    assert [record.getMessage() for record in caplog.records] == ["metrics could not be shown to another worker"]
    assert len(own.samples("seen_total")) == 1
    troubled.close()


def test_one_that_asks_and_leaves_does_no_harm(folder: Path, place: Callable[[], Place]) -> None:
    own, other = place(), place()
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(folder / str(other.workers.number)))
    assert own.shown() == [0, 1]


def test_a_request_counts_for_the_worker_that_answered_it(place: Callable[[], Place]) -> None:
    own, other = place(), place()
    asked = SimpleNamespace(
        trace=SimpleNamespace(span=None), method="GET", version=1, route="/x", status=200, code=None
    )
    other.latencies.answered(asked, 0.01)
    [counted] = own.samples("predict_request_seconds_count")
    assert (counted.labels["worker"], counted.value) == ("1", 1)
