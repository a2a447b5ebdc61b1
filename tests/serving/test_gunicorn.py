"""The server as it is deployed: gunicorn with gevent as its own process, asked over loopback."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from app.market.bars import Span
from app.market.calendar import Calendar
from app.market.recorded import RecordedBars
from tests import warm_processes
from tests.market.test_recorded import table, write_csv
from tests.redis_server import free_port
from tests.support import session_bars
from tests.waiting import PATIENCE_S, wait_for
from tests.warm_processes import Process

ROOT = Path(__file__).parent.parent.parent
SETTINGS = ("MARKET", "CLOCK", "CLOCK_SPEED", "POLYGON_API_KEY", "MASSIVE_API_KEY", "PORT", "HOST", "DATA_DIR")
Start = Callable[..., "Server"]


class Server:
    """A running server: where it is, what it prints, and seconds that callers waited, by path, where a test notes them."""

    def __init__(self, process: Process, base: str, log: Path) -> None:
        self.process, self.base, self.log = process, base, log
        self.took: dict[str, float] = {}

    def get(self, path: str) -> requests.Response:
        return requests.get(self.base + path, timeout=PATIENCE_S)

    def lines(self) -> list[str]:
        """What it has printed, without a last line that is being written."""
        text = self.log.read_text()
        return text[: text.rfind("\n") + 1].splitlines()

    def wait_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.get("/livez")
                return
            except (requests.ConnectionError, requests.Timeout):  # on a busy machine the port is open before it serves
                time.sleep(0.05)
        raise AssertionError(f"no server: {self.log.read_text()}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


def environment(**settings: object) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in SETTINGS}
    return kept | {k: str(v) for k, v in settings.items()}


@contextmanager
def started(command: list[str], log: Path, *, port: int | None = None, **settings: object) -> Iterator[Server]:
    port = port or free_port()
    with log.open("w") as out:
        process = warm_processes.start(command, environment(PORT=port, **settings), out, out)
    server = Server(process, f"http://127.0.0.1:{port}", log)
    try:
        yield server
    finally:
        process.kill()
        process.wait(PATIENCE_S)


SERVE = [sys.executable, "-m", "app", "serve"]
NO_GRACE = f"--graceful-timeout {5 * PATIENCE_S:.0f}"
"""For GUNICORN_CMD_ARGS: gunicorn alone waits for longer than a test does until it ends what holds a stop."""

SERVED = ["-c", "gunicorn.conf.py", "wsgi:app"]
BARE = [sys.executable, "-m", "gunicorn", *SERVED]
QUICK_DEMO = [*BARE[:-1], "tests.serving.quick_demo:app"]
"""For tests that wait for events of the demo market."""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:
        count = iter(range(100))

        def begin(command: list[str] = SERVE, **settings: object) -> Server:
            settings = {"DATA_DIR": tmp_path / "data", **settings}
            server = stack.enter_context(started(command, tmp_path / f"log{next(count)}", **settings))
            server.wait_ready()
            return server

        yield begin


def test_the_demo_says_in_three_lines_what_it_is_and_has_a_signal_within_a_minute(start: Start) -> None:
    server = start(MARKET="demo", LOG_FORMAT="text")
    own = [line for line in server.log.read_text().splitlines() if not line[0].isdigit()]
    assert own[0].startswith("predict server")
    assert "DEMO" in own[0]
    assert server.base in own[1]
    assert own[2].endswith("/trading-directions?ticker=SPY")

    def board() -> dict[str, Any]:
        return dict(server.get("/trading-directions?ticker=SPY").json())

    wait_for(
        lambda: board()["tickers"]["SPY"]["locked"], "there is no signal", every_s=1.0
    )  # 60 a minute are the limit
    body = board()
    assert body["tickers"]["SPY"]["locked"]
    assert body["reason"].startswith("DEMO: ")


def test_recorded_bars_answer_at_the_moment_the_clock_is_set_to(start: Start, recorded_dir: Path) -> None:
    server = start(MARKET="recorded", DATA_DIR=recorded_dir, CLOCK="2024-06-12T13:30")
    body = server.get("/trading-directions?ticker=SPY").json()
    assert "2024-06-12T13:30:" <= body["generated_at"] < "2024-06-12T14:"
    assert body["tickers"]["SPY"]["locked_at"] == "2024-06-12T13:00:00-04:00"
    assert body["reason"].startswith("RECORDED: ")


def test_recorded_without_imports_starts_and_says_what_to_do(start: Start) -> None:
    server = start(MARKET="recorded")
    assert server.get("/health").json()["degraded"] == ["no_recorded_bars"]
    assert ".venv/bin/predict import" in server.log.read_text()


def test_a_data_dir_that_cannot_be_used_is_said_and_the_server_still_answers(start: Start, tmp_path: Path) -> None:
    """In a folder whose files cannot be opened (ruling S9); a DATA_DIR that is no folder at all stops the start."""
    (tmp_path / "recorded.sqlite3").mkdir()
    (tmp_path / "recorded-none").write_text("not a folder")
    server = start(MARKET="recorded", DATA_DIR=tmp_path)
    assert server.get("/health").json()["degraded"] == ["no_recorded_bars", "store"]
    assert server.get("/trading-directions").status_code == 200
    assert server.get("/readyz").status_code == 503
    assert "cannot open" in server.log.read_text()
    assert "Traceback" not in server.log.read_text()


def test_polygon_without_a_key_starts_and_says_so(start: Start) -> None:
    server = start(MARKET="polygon")
    assert server.get("/readyz").status_code == 200
    assert server.get("/health").json()["degraded"] == ["no_api_key"]
    answer = server.get("/trading-directions?ticker=SPY")
    if answer.status_code == 503:
        assert answer.json()["error_code"] == "DATA_FETCH_ERROR"
    else:
        assert answer.json()["market_open"] is False
    assert "POLYGON_API_KEY" in server.log.read_text()


def procfile() -> list[str]:
    line = (ROOT / "Procfile").read_text().strip().removeprefix("web: ")
    return ["sh", "-c", line]


def test_the_procfile_starts_it_and_sigterm_ends_it_cleanly(start: Start) -> None:
    binaries = str(Path(sys.executable).parent)
    server = start(procfile(), MARKET="demo", HOST="127.0.0.1", PATH=f"{binaries}:{os.environ['PATH']}")
    assert server.get("/livez").status_code == 200
    assert server.stop() == 0, "exec: gunicorn itself got the signal"


def is_refused(server: Server) -> bool:
    """Whether the port is closed."""
    host, _, port = server.base.removeprefix("http://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE_S).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_request_under_way_is_finished_before_the_server_stops(start: Start, tmp_path: Path) -> None:
    command, gate = [*BARE[:5], "tests.serving.slow_app:app"], tmp_path / "gate"
    server = start(command, GATE=gate)
    answers: list[requests.Response] = []
    asking = threading.Thread(target=lambda: answers.append(server.get("/trading-directions?ticker=SPY")))
    asking.start()
    wait_for(lambda: server.get("/health").json()["operations"]["fetches"])
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: is_refused(server))
    gate.touch()
    assert server.process.wait(PATIENCE_S) == 0
    asking.join(PATIENCE_S)
    assert answers[0].json()["tickers"]["SPY"]["error_code"] == "DATA_FETCH_ERROR"
    assert answers[0].headers["Connection"] == "close"


def test_an_idle_keep_alive_connection_does_not_hold_the_stop(start: Start) -> None:
    """gunicorn alone waits for it as long as it may."""
    server = start(MARKET="demo", GUNICORN_CMD_ARGS=NO_GRACE)
    with requests.Session() as session:
        assert session.get(f"{server.base}/livez", timeout=PATIENCE_S).headers["Connection"] == "keep-alive"
        assert server.stop() == 0


NO_REDIS = "more than one worker needs REDIS_URL"


@pytest.mark.parametrize(
    ("command", "settings", "words"),
    [
        (SERVE, {"PORT": "many"}, "PORT: "),
        (BARE, {"MARKET": "crypto"}, "MARKET: "),
        (SERVE, {"WEB_CONCURRENCY": "3"}, f"WEB_CONCURRENCY: {NO_REDIS}"),
        (BARE, {"GUNICORN_CMD_ARGS": "--workers 3"}, f"--workers: {NO_REDIS}"),
        (BARE, {"GUNICORN_CMD_ARGS": "--worker-class gevent"}, "--worker-class: no other worker can serve this server"),
        (BARE, {"GUNICORN_CMD_ARGS": "--preload"}, "--preload: each worker imports this server by itself"),
        (BARE, {"GUNICORN_CMD_ARGS": "--certfile a --keyfile b"}, "--certfile: this server speaks no TLS"),
        (SERVE, {"HOST": "no-such-host.invalid"}, "HOST: is not a name or address of this machine"),
        (BARE, {"HOST": "192.0.2.1"}, "HOST: is not a name or address of this machine"),
        (SERVE, {"CLOCK": "noon", "MARKET": "recorded"}, "CLOCK: "),
        (BARE, {"MODELS_DIR": "tests"}, "MODELS_DIR: there are no models in 'tests', as it holds no promoted.json"),
        (
            SERVE,
            {"MODELS_DIR": "nowhere"},
            "MODELS_DIR: there are no models in 'nowhere', as it holds no promoted.json",
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else " ".join(value)[-30:],
)
def test_a_wrong_setting_stops_the_start_with_its_name(
    tmp_path: Path, command: list[str], settings: dict[str, str], words: str
) -> None:
    """`predict serve` becomes gunicorn (tests/test_cli.py): both read the settings at the same place."""
    done = warm_processes.run(command, environment(DATA_DIR=tmp_path, **settings))
    assert done.returncode != 0
    assert f"Error: {words}" in done.stderr
    assert "Traceback" not in done.stderr


def refused(**settings: object) -> str:
    """What a start that cannot succeed prints, without the log's records."""
    done = warm_processes.run(SERVE, environment(**settings))
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return "\n".join(line for line in done.stderr.splitlines() if not line.startswith("{"))


@pytest.mark.parametrize("inside", ["", "deeper/still"])
def test_a_data_dir_that_is_a_file_stops_the_start_with_a_sentence(tmp_path: Path, inside: str) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    said = refused(MARKET="demo", DATA_DIR=file / inside)
    assert said == f"Error: DATA_DIR: {str(file)!r} is a file, where a folder is needed"


@pytest.mark.parametrize("name", ["PORT", "OPERATIONS_PORT"])
def test_a_port_in_use_stops_the_start_with_a_sentence(tmp_path: Path, name: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ports = {"PORT": free_port(), name: port}
        said = refused(MARKET="demo", DATA_DIR=tmp_path, **ports)
    assert said == f"Error: {name}: cannot listen on {port}: another program listens on it"


@pytest.mark.parametrize("clock", ["2031-01-02T10:00", "1990-01-02T10:00", "2025-03-12T10:00"])
def test_a_clock_outside_the_imported_bars_stops_the_start_with_a_sentence(tmp_path: Path, clock: str) -> None:
    bars = RecordedBars(tmp_path / "recorded.sqlite3", Calendar())
    bars.import_file(write_csv(tmp_path / "SPY_5min.csv", table(session_bars(78, span=Span.FIVE_MINUTES))))
    bars.close()
    said = refused(MARKET="recorded", DATA_DIR=tmp_path, CLOCK=clock, PORT=free_port())
    assert said.startswith(
        "Error: CLOCK: must lie in the imported bars, which reach from 2025-03-11 to 2025-03-11 (it is"
    )


def test_an_option_that_redis_does_not_know_stops_the_start_without_a_trace(tmp_path: Path) -> None:
    said = refused(MARKET="demo", DATA_DIR=tmp_path, REDIS_URL="redis://127.0.0.1/0?nonsense=1", PORT=free_port())
    assert said == "Error: REDIS_URL: has an option (after the ?) that redis does not know"


def test_two_servers_on_one_data_dir_give_one_answer(start: Start, recorded_dir: Path) -> None:
    servers = [start(MARKET="recorded", DATA_DIR=recorded_dir, CLOCK="2024-06-12T13:10") for _ in range(2)]
    bodies: list[dict[str, object]] = []

    def ask(server: Server) -> None:
        bodies.append(server.get("/trading-directions").json())

    threads = [threading.Thread(target=ask, args=(servers[n % 2],)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    floating = ("current_price", "today_change_pct")
    seen = {
        json.dumps({t: {k: v for k, v in e.items() if k not in floating} for t, e in body["tickers"].items()})  # type: ignore[attr-defined]
        for body in bodies
    }
    assert len(bodies) == 12
    assert len(seen) == 1


def test_it_listens_on_ipv6_when_told_to(tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with started(SERVE, tmp_path / "log", MARKET="demo", HOST="::1", DATA_DIR=tmp_path / "d") as server:
        server.base = server.base.replace("127.0.0.1", "[::1]")
        server.wait_ready()
        assert server.get("/livez").status_code == 200


def test_answers_without_a_body_arrive_whether_the_connection_stays_or_not(start: Start) -> None:
    server = start(MARKET="demo")
    with requests.Session() as session:
        whole = session.get(server.base + "/models", timeout=PATIENCE_S)
        for kept in ("keep-alive", "close"):
            head = session.head(server.base + "/models", headers={"Connection": kept}, timeout=PATIENCE_S)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["Content-Length"] == str(len(whole.content))
            board = session.get(server.base + "/rpe?ticker=SPY", timeout=PATIENCE_S)
            known = {"If-None-Match": "*", "Connection": kept}
            assert session.get(server.base + "/rpe?ticker=SPY", headers=known, timeout=PATIENCE_S).status_code == 304
            assert board.status_code == 200


def workers_of(server: Server) -> list[int]:
    return [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", server.log.read_text())]


def until(done: Callable[[], bool], words: str) -> None:
    wait_for(done, words)


def test_sigttin_adds_no_worker_where_there_is_no_redis(start: Start) -> None:
    server = start(MARKET="polygon")
    server.process.send_signal(signal.SIGTTIN)
    until(lambda: "needs REDIS_URL" in server.log.read_text(), "the refusal is said")
    assert server.get("/livez").status_code == 200
    assert len(workers_of(server)) == 1
    assert server.stop() == 0


@pytest.mark.parametrize(
    "command", [SERVE, pytest.param([str(Path(sys.executable).parent / "gunicorn"), *SERVED], marks=pytest.mark.soak)]
)
def test_sigusr2_starts_a_second_server_that_takes_over(start: Start, command: list[str]) -> None:
    server = start(command, MARKET="polygon")
    server.process.send_signal(signal.SIGUSR2)
    until(lambda: len(workers_of(server)) == 2, "the new server has a worker")
    new = workers_of(server)[1]
    try:
        assert server.stop() == 0
        until(lambda: server.get("/livez").status_code == 200, "the new server answers")
    finally:
        master = int((Path("/proc") / str(new) / "stat").read_text().rsplit(")", 1)[1].split()[1])
        os.kill(master, signal.SIGTERM)
        until(lambda: not (Path("/proc") / str(new)).exists(), "the new server stops")
