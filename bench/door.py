"""Requests a second through the HTTP door, beside peers that send the same body; `make bench` prints the table.

This server has everything on: metrics, exemplars, traces of one request in a hundred to a collector; so have the peers whose
row says so. One server is loaded at a time, alone on its core, with wrk, Redis and the collector on the other; rounds go
through the rows in turn, so that a slow moment of the machine meets all of them, and ratios are made within a round.

`python -m bench.door` prints the table alone, `... profile [ROW...]` where the time of a row goes, `... layers` what each
variant of LAYERS costs beyond the one before it, `... against FOLDER` this server beside that of another checkout.
With Redis, this server has everything there: counts of the limits, record, leases, running day, budget, live events.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import requests

from bench.serving import children_of, free_port, imported, machine

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SECONDS = int(os.environ.get("SECONDS", "4"))
WARM_SECONDS = 2
CONNECTIONS = 32
PROFILE_SECONDS = 10
TOP = 25
SERVER_CORE, LOAD_CORE = 0, 1
ROOT = Path(__file__).parent.parent
PEERS = ROOT / ".venv" / "peers"
QUERY = "/trading-directions?ticker=SPY"
MOMENT = "2024-06-12T13:30"
UNLIMITED = {f"RATE_LIMIT_{group}": "100000000" for group in ("DIRECTIONS", "ANALYSIS", "REPLAY", "STREAMS", "OTHER")}
OURS = ("REDIS_URL", "POLYGON_API_KEY", "MASSIVE_API_KEY", "WEB_CONCURRENCY", "CLOCK_SPEED", "CLOCK_ANCHOR")
"""Settings that the run makes itself, or leaves at their defaults, whatever is set around it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One server of the table. `module`: "app" is this server, others are in bench/peers; `peers`: needs their packages;
    `alone`: on a core of its own; `tree`: the checkout that it is run from."""

    key: str
    label: str
    module: str
    redis: bool = False
    peers: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    alone: bool = True
    tree: Path = ROOT


ROWS = {
    row.key: row
    for row in (
        Row("a", "bare WSGI callable, gunicorn + gevent", "bare_wsgi"),
        Row("b", "bare Flask route, same worker", "bare_flask"),
        Row("c", "Flask, Flask-Limiter (Redis), Prometheus, OpenTelemetry", "full_flask", redis=True, peers=True),
        Row("d", "FastAPI, slowapi (Redis), Prometheus, OpenTelemetry", "full_fastapi", redis=True, peers=True),
        Row("d2", "the same, slowapi's quicker middleware", "full_fastapi", True, True, {"PEER_SLOWAPI": "asgi"}),
        Row("e1", "this server, limits in process", "app"),
        Row("e2", "this server, Redis for everything", "app", redis=True),
    )
}
AIMS = (("e1", "b", 1.2), ("e2", "b", 0.8), ("e1", "d", 5.0), ("e2", "d", 5.0))
LAYERS: tuple[tuple[str, str, Mapping[str, str]], ...] = (
    ("bare WSGI callable", "a", {}),
    ("the same with as many headers as ours", "a", {"PEER_HEADERS": "16"}),
    ("bare Flask route", "b", {}),
    ("this server without access lines and traces", "e1", {"LOG_LEVEL": "WARNING", "OTEL_SDK_DISABLED": "1"}),
    ("this server without traces", "e1", {"OTEL_SDK_DISABLED": "1"}),
    ("this server, limits in process", "e1", {}),
    ("this server, Redis for everything", "e2", {}),
)
"""Variants for `layers`: what to print, the row it is a variant of, and the environment that makes it one."""


@dataclass(frozen=True, slots=True)
class Place:
    """What the servers of one run share: `redis` is its address and `python` the peers' interpreter, where there are;
    `collector`: where this server's traces go."""

    folder: Path
    recorded: Path | None
    redis: str | None
    python: str | None
    collector: str

    @property
    def body(self) -> Path:
        return self.folder / "body"


@dataclass(frozen=True, slots=True)
class Load:
    """What one round found. `trouble`: refusals and socket errors in words, empty if there were none. `us`: the workers'
    processor time for a request, which other work on the machine disturbs less; elsewhere than on Linux the time itself."""

    rate: float
    p99_ms: float
    trouble: str
    us: float


class NotStarted(Exception):
    """A row's server did not come up; the message says why."""


Served = dict[str, tuple[subprocess.Popen[bytes], str]]
Found = dict[str, list[Load]]


def main() -> None:
    """Run all rows that can be run here and print the table. Ends with a sentence if a row refused or did not start."""
    with prepared(ROWS.values()) as place:
        if place is None:
            return
        rows = _possible(ROWS.values(), place)
        with _servers(rows, place) as (served, failed):
            found = _rounds(served)
            said = len(place.body.read_bytes()) if place.body.exists() else 0
        print(f"{machine()}; {_what(place)}; body {said} bytes")
        print(f"{ROUNDS} rounds of {SECONDS} s, wrk with {CONNECTIONS} connections; {_pinning()}; median (min .. max)")
        _print_table([row for row in rows if row.key in found], found)
        _end_if_wrong(found, failed)


def layers() -> None:
    """Microseconds a request of each variant in LAYERS, and beyond the variant before it."""
    variants = [
        replace(ROWS[key], key=f"{n}", label=label, environment={**ROWS[key].environment, **environment})
        for n, (label, key, environment) in enumerate(LAYERS)
    ]
    with prepared(variants) as place:
        if place is None:
            return
        rows = _possible(variants, place)
        with _servers(rows, place) as (served, failed):
            found = _rounds(served)
        print(f"{machine()}; {_what(place)}; {_pinning()}")
        print(f"{'':56} {'us a request':>12} {'(min .. max)':>17} {'beyond the one before':>24}")
        before: list[float] = []
        for row in (row for row in rows if row.key in found):
            took = [load.us for load in found[row.key]]
            more = spread([now - then for now, then in zip(took, before, strict=False)], ".1f") if before else ""
            print(f"{row.label:56} {spread(took, '12.1f'):30} {more:>24}{_mark(found[row.key])}")
            before = took
        _end_if_wrong(found, failed)


def against(folder: Path) -> None:
    """This server beside the one of the checkout in `folder`, without Redis and with it."""
    here = [ROWS[key] for key in ("e1", "e2")]
    there = [replace(row, key=f"{row.key}-there", label=f"{row.label}, there", tree=folder) for row in here]
    with prepared([*here, *there]) as place:
        if place is None:
            return
        rows = _possible([row for pair in zip(here, there, strict=True) for row in pair], place)
        with _servers(rows, place) as (served, failed):
            found = _rounds(served)
        print(f"{machine()}; {_what(place)}; {_pinning()}")
        print(f"{'':56} {'requests/s':>22} {'us a request':>20}")
        for row in (row for row in rows if row.key in found):
            rate, us = ([getattr(each, name) for each in found[row.key]] for name in ("rate", "us"))
            print(f"{row.label:56} {spread(rate, '.0f'):>22} {spread(us, '.0f'):>20}{_mark(found[row.key])}")
        for key in (row.key for row in here if {row.key, f"{row.key}-there"} <= set(found)):
            us = [one.us / other.us for one, other in zip(found[key], found[f"{key}-there"], strict=True)]
            rates = spread(_ratios(found, key, f"{key}-there"), ".2f")
            print(f"({key}) here beside there: rate {rates}; us {spread(us, '.2f')}")
        _end_if_wrong(found, failed)


def profile(keys: Sequence[str]) -> None:
    """Where the time of each row goes under load: functions by their own and by their inclusive share of samples."""
    rows = [ROWS[key] for key in keys]
    with prepared(rows) as place:
        if place is None:
            return
        spy = PEERS / "bin" / "py-spy"
        if place.python is None or not spy.exists():
            print("py-spy is missing: no profile")
            return
        for row in _possible(rows, place):
            with _servers([row], place) as (served, failed):
                _end_if_wrong({}, failed)
                server, url = served[row.key]
                with _under_load(url):
                    stacks = sampled(spy, workers_of(server)[0], place.folder / f"{row.key}.raw")
            print_profile(f"({row.key}) {row.label}", stacks)


@contextmanager
def prepared(rows: Collection[Row]) -> Iterator[Place | None]:
    """Everything that the servers need, as far as it can be had here; says what cannot. None if nothing can be measured."""
    if shutil.which("wrk") is None:
        print("wrk is missing (apt-get install wrk, brew install wrk): nothing is measured at the door")
        yield None
        return
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        wants_redis = any(row.redis for row in rows)
        redis = stack.enter_context(redis_server(folder)) if wants_redis else None
        python = peers_python() if any(row.peers for row in rows) else None
        yield Place(folder, imported(folder), redis, python, stack.enter_context(collector()))


def peers_python() -> str | None:
    """The interpreter that has bench/requirements.txt, made on the first call; None, with a sentence, if it cannot be."""
    python, marker = PEERS / "bin" / "python", PEERS / ".installed"
    files = (ROOT / "requirements.txt", ROOT / "bench" / "requirements.txt")
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    if marker.exists() and marker.read_text() == wanted:
        return str(python)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
    install = [*pip, *(option for file in files for option in ("-r", str(file)))]
    for command in ([sys.executable, "-m", "venv", str(PEERS)], install):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"the peers' packages (bench/requirements.txt) are missing: {_last_line(done.stderr)}")
            return None
    marker.write_text(wanted)
    return str(python)


@contextmanager
def redis_server(folder: Path) -> Iterator[str | None]:
    if shutil.which("redis-server") is None:
        print("redis-server is missing (apt-get install redis-server, brew install redis)")
        yield None
        return
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = subprocess.Popen(pinned(LOAD_CORE, command), cwd=folder, stdout=subprocess.DEVNULL)
    try:
        _wait_for_port(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        _stop(server)


def _wait_for_port(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)


@contextmanager
def collector() -> Iterator[str]:
    port = free_port()
    sink = subprocess.Popen(pinned(LOAD_CORE, [sys.executable, "-m", "bench.sink", str(port)]))
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        _stop(sink)


def _possible(rows: Iterable[Row], place: Place) -> list[Row]:
    """The rows whose needs are met; says which are not."""
    found = []
    for row in rows:
        lacking = ["redis-server"] if row.redis and place.redis is None else []
        lacking += ["the peers' packages"] if row.peers and place.python is None else []
        if lacking:
            print(f"({row.key}) {row.label}: skipped, {' and '.join(lacking)} missing")
        else:
            found.append(row)
    return found


@contextmanager
def _servers(rows: Sequence[Row], place: Place) -> Iterator[tuple[Served, list[str]]]:
    """All rows' servers, ready and idle, and a sentence for each that did not start. The body is this server's own."""
    served: Served = {}
    failed: list[str] = []
    with ExitStack() as stack:
        try:
            _fetch_body(place)
            for row in rows:
                try:
                    served[row.key] = stack.enter_context(running(row, place))
                except NotStarted as exc:
                    failed.append(f"({row.key}) {row.label} did not start: {exc}")
        except NotStarted as exc:
            failed.append(f"this server did not start, so there is no body to send: {exc}")
        yield served, failed


def _fetch_body(place: Place) -> None:
    with running(ROWS["e1"], place) as (_, url):
        place.body.write_bytes(requests.get(url, timeout=60).content)


@contextmanager
def running(row: Row, place: Place) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A row's server on its core, answering; stopped at the end. Raises NotStarted."""
    port = free_port()
    folder = Path(tempfile.mkdtemp(dir=place.folder))
    log = folder / "stderr"
    with log.open("wb") as errors:
        command = _command(row, place, port)
        server = subprocess.Popen(
            pinned(SERVER_CORE, command) if row.alone else command,
            env=_environment(row, place, port, folder),
            stdout=errors,
            stderr=errors,
            cwd=row.tree,
        )
    url = f"http://127.0.0.1:{port}{QUERY}"
    try:
        _wait(server, url, log)
        yield server, url
    finally:
        _stop(server)


def _command(row: Row, place: Place, port: int) -> list[str]:
    if row.module == "app":
        return [sys.executable, "-m", "app", "serve"]
    python, app = place.python if row.peers else sys.executable, f"bench.peers.{row.module}:app"
    if row.module == "full_fastapi":
        quiet = ["--no-access-log", "--log-level", "warning", "--timeout-keep-alive", "75"]
        return [
            str(python),
            "-m",
            "uvicorn",
            app,
            "--port",
            str(port),
            "--loop",
            "uvloop",
            "--http",
            "httptools",
            *quiet,
        ]
    return [str(python), "-m", "gunicorn", "-c", "bench/peers/gunicorn_peer.py", app]


def _environment(row: Row, place: Place, port: int, folder: Path) -> dict[str, str]:
    around = {name: value for name, value in os.environ.items() if name not in OURS}
    redis = {"REDIS_URL": place.redis} if row.redis and place.redis else {}
    made = around | redis | {"PORT": str(port), "HOST": "127.0.0.1"}
    if row.module != "app":
        return made | {"PEER_BODY": str(place.body), **row.environment}
    made |= UNLIMITED | {"DATA_DIR": str(folder), "MARKET": "demo", "OTEL_EXPORTER_OTLP_ENDPOINT": place.collector}
    if place.recorded is not None:
        shutil.copy(place.recorded, folder / "recorded.sqlite3")
        made |= {"MARKET": "recorded", "CLOCK": MOMENT}
    return made | dict(row.environment)


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Until it answers well. Raises NotStarted with its last words."""
    said = "no answer in time"
    for _ in range(600):
        if server.poll() is not None:
            break
        try:
            answer = requests.get(url, timeout=60)
        except requests.ConnectionError:
            time.sleep(0.05)
            continue
        if answer.ok:
            return
        said = f"it answered {answer.status_code}"
        time.sleep(0.05)
    raise NotStarted(_last_line(log.read_text(errors="replace")) or said)


def _rounds(served: Served) -> Found:
    """Every server warmed, then loaded one after the other, round by round."""
    for server, url in served.values():
        load(server, url, WARM_SECONDS)
    found: Found = {key: [] for key in served}
    for _ in range(ROUNDS):
        for key, (server, url) in served.items():
            found[key].append(load(server, url, SECONDS))
    return found


def load(server: subprocess.Popen[bytes], url: str, seconds: int, *, alone: bool = True) -> Load:
    """alone: wrk is kept off the server's core."""
    workers = workers_of(server)
    before = processor_s(workers)
    done = subprocess.run(_wrk(url, seconds, alone=alone), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"wrk failed: {_last_line(done.stderr or done.stdout)}")
    after = processor_s(workers)
    return _parsed(done.stdout, after - before if before is not None and after is not None else None)


def _wrk(url: str, seconds: int, *, alone: bool = True) -> list[str]:
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", url]
    return pinned(LOAD_CORE, command) if alone else command


def processor_s(pids: Iterable[int]) -> float | None:
    """Seconds of processor time that processes have had, where /proc tells."""
    try:
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    except OSError:
        return None
    return sum(int(fields[11]) + int(fields[12]) for fields in stats) / os.sysconf("SC_CLK_TCK")


def _parsed(printed: str, processor_s: float | None) -> Load:
    """wrk's report. It leaves out the lines on errors where there were none."""
    count = re.search(r"^\s+(\d+) requests in ", printed, re.M)
    rate = re.search(r"^Requests/sec:\s+([\d.]+)", printed, re.M)
    p99 = re.search(r"^\s+99%\s+([\d.]+)(us|ms|s|m)\s*$", printed, re.M)
    if count is None or rate is None or p99 is None:
        raise SystemExit(f"wrk printed what this bench does not know:\n{printed}")
    refused = re.search(r"^\s+Non-2xx or 3xx responses: \d+", printed, re.M)
    errors = re.search(r"^\s+Socket errors: .*[1-9].*", printed, re.M)
    trouble = "; ".join(found[0].strip() for found in (refused, errors) if found)
    in_ms = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[p99[2]]
    answered, a_second = max(int(count[1]), 1), max(float(rate[1]), 0.01)
    us = 1e6 / a_second if processor_s is None else 1e6 * processor_s / answered
    return Load(a_second, float(p99[1]) * in_ms, trouble, us)


def _print_table(rows: Sequence[Row], found: Found) -> None:
    print(f"{'row':61} {'requests/s':>21} {'us':>7} {'ratio to (b)':>21} {'p99 ms':>7}")
    for row in rows:
        loads = found[row.key]
        rates = [load.rate for load in loads]
        to_b = spread(_ratios(found, row.key, "b"), ".2f") if "b" in found else "-"
        p99 = statistics.median(load.p99_ms for load in loads)
        name = f"({row.key}) {row.label}"
        each = statistics.median(load.us for load in loads)
        print(f"{name:61} {spread(rates, '.0f'):>21} {each:7.0f} {to_b:>21} {p99:7.1f}{_mark(loads)}")
    for ours, peer, aim in AIMS:
        if ours in found and peer in found:
            ratios = _ratios(found, ours, peer)
            verdict = "reached" if statistics.median(ratios) >= aim else "not reached"
            if _mark(found[ours] + found[peer]):
                verdict = "no verdict"
            spent = statistics.median(p.us / o.us for o, p in zip(found[ours], found[peer], strict=True))
            print(f"({ours})/({peer}): {spread(ratios, '.2f')}; aim {aim}: {verdict}; by us alone {spent:.2f}")


def _ratios(found: Found, one: str, other: str) -> list[float]:
    """Of the rates, within each round."""
    return [mine.rate / theirs.rate for mine, theirs in zip(found[one], found[other], strict=True)]


def spread(values: Sequence[float], form: str) -> str:
    low, high = format(min(values), form).strip(), format(max(values), form).strip()
    return f"{statistics.median(values):{form}} ({low} .. {high})"


def _mark(loads: Sequence[Load]) -> str:
    return "  WRONG" if any(load.trouble for load in loads) else ""


def _end_if_wrong(found: Found, failed: Sequence[str]) -> None:
    """A rate that counts refusals as answers is none: the run ends badly and says which row it was."""
    said = list(failed)
    for key, loads in found.items():
        troubles = [load.trouble for load in loads if load.trouble]
        if troubles:
            said.append(f"({key}) did not answer every request, its rate means nothing: {troubles[0]}")
    if said:
        raise SystemExit("\n".join(said))


@contextmanager
def _under_load(url: str) -> Iterator[None]:
    load = subprocess.Popen(_wrk(url, WARM_SECONDS + PROFILE_SECONDS + 4), stdout=subprocess.DEVNULL)
    try:
        time.sleep(WARM_SECONDS)
        yield
    finally:
        _stop(load)


def sampled(spy: Path, pid: int, raw: Path) -> Counter[tuple[str, ...]]:
    """py-spy's stacks of a process in PROFILE_SECONDS, with how often each was seen."""
    command = [str(spy), "record", "-p", str(pid), "-d", str(PROFILE_SECONDS), "-r", "500"]
    command += ["--format", "raw", "--function", "-o", str(raw)]
    done = subprocess.run(pinned(LOAD_CORE, command), capture_output=True, text=True, check=False)
    if done.returncode or not raw.exists():
        raise SystemExit(f"py-spy failed (it may need root): {_last_line(done.stderr)}")
    stacks: Counter[tuple[str, ...]] = Counter()
    for line in raw.read_text().splitlines():
        frames, _, seen = line.rpartition(" ")
        stacks[tuple(frames.split(";"))] += int(seen)
    return stacks


def print_profile(name: str, stacks: Counter[tuple[str, ...]]) -> None:
    """Functions by their own and by their inclusive share of samples."""
    total = stacks.total()
    own: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    for stack, seen in stacks.items():
        own[stack[-1]] += seen
        inclusive.update(dict.fromkeys(set(stack), seen))
    for what, counted in (("own time", own), ("inclusive time", inclusive)):
        print(f"{name}: {what}, percent of {total} samples")
        for frame, seen in counted.most_common(TOP):
            print(f"{100 * seen / max(total, 1):6.1f}  {frame}")
        print()


def workers_of(server: subprocess.Popen[bytes]) -> list[int]:
    """gunicorn's workers; uvicorn is its own."""
    return children_of(server.pid) or [server.pid]


def pinned(core: int, command: list[str]) -> list[str]:
    return ["taskset", "-c", str(core), *command] if can_pin() else command


def can_pin() -> bool:
    return shutil.which("taskset") is not None and (os.cpu_count() or 1) > 1


def _pinning() -> str:
    if can_pin():
        return f"server on core {SERVER_CORE}, wrk and Redis on core {LOAD_CORE}"
    return "nothing is pinned (no taskset, or one core): servers and load share the cores"


def _what(place: Place) -> str:
    return f"market: {'recorded' if place.recorded else 'demo'}; {_us()}"


def _us() -> str:
    told = Path("/proc/self/stat").exists()
    return f"us: {'processor time of the worker' if told else 'time'} for a request"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


MODES: Mapping[str, Callable[[Sequence[str]], None]] = {
    "": lambda _: main(),
    "layers": lambda _: layers(),
    "profile": lambda keys: profile(keys or ("e1", "e2")),
    "against": lambda folders: against(Path(folders[0])),
}

if __name__ == "__main__":
    mode, *rest = sys.argv[1:] or [""]
    is_known = len(rest) == 1 and Path(rest[0]).is_dir() if mode == "against" else set(rest) <= set(ROWS)
    if mode not in MODES or not is_known:
        raise SystemExit(f".venv/bin/python -m bench.door [layers | profile [{'|'.join(ROWS)}]... | against FOLDER]")
    MODES[mode](rest)
