"""`predict mcp` as the official client meets it: three tools over a real server of the demo market."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar, NamedTuple

import pytest
import requests
from click.testing import CliRunner

from app.cli import cli
from app.commands import mcp as command
from app.commands.mcp import Reader
from app.errors import Unavailable
from app.signals.policy import SUPPORTED
from ops.release.locks import EXTRA, named
from tests.markdown import ROOT
from tests.serving.test_gunicorn import SERVE, free_port, started
from tests.waiting import PATIENCE_S


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with started(SERVE, folder / "log", MARKET="demo", DATA_DIR=folder / "data") as server:
        server.wait_ready()
        yield server.base


Calls = Mapping[str, tuple[str, Mapping[str, object]]]
SIGNAL: tuple[str, Mapping[str, object]] = ("signal", {"ticker": "SPY"})


def calls(day: str) -> Calls:
    """What the client asks for in one session, by a name for it: the tool and its arguments. day: one that is over."""
    return {
        "signal": SIGNAL,
        "replay": ("replay", {"ticker": "QQQ", "at": f"{day}T17:30:00Z"}),
        "record": ("track_record", {"ticker": "IWM", "first_day": day, "last_day": day, "limit": 5}),
        "another ticker": ("signal", {"ticker": "TSLA"}),
        "no time zone": ("replay", {"ticker": "SPY", "at": f"{day}T11:30:00"}),
        "the future": ("replay", {"ticker": "SPY", "at": "2099-03-11T11:30:00-04:00"}),
        "too many": ("track_record", {"ticker": "SPY", "limit": 1000}),
    }


class Session(NamedTuple):
    """What came of one session: a day that is over, the tools, and the answers by the names of their calls; the text of an
    error as a string."""

    day: str
    tools: Sequence[Any]
    answers: Mapping[str, Any]


@pytest.fixture(scope="module")
def session(base: str) -> Session:
    day = last_session_over(base)
    return Session(day, *worked(base, calls(day)))


def last_session_over(base: str) -> str:
    now = requests.get(f"{base}/v2/status", timeout=PATIENCE_S).json()["generated_at"]
    days = {"from": str(date.fromisoformat(now[:10]) - timedelta(days=10)), "to": now[:10]}
    sessions = requests.get(f"{base}/v2/calendar", days, timeout=PATIENCE_S).json()["sessions"]
    return str([session["day"] for session in sessions if session["day"] < now[:10]][-1])


def worked(address: str, calls: Calls) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """In a thread of its own: tests in a browser leave an event loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(work(address, calls))).result()


async def work(address: str, calls: Calls) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The tools of a server, and what comes of the calls."""
    # takes two seconds, which the processes that run other tests save
    from mcp import StdioServerParameters
    from mcp.client.client import Client
    from mcp.client.stdio import stdio_client

    program = StdioServerParameters(command=sys.executable, args=["-m", "app", "mcp", "--server", address], cwd=ROOT)
    async with asyncio.timeout(PATIENCE_S), Client(stdio_client(program)) as client:
        tools = (await client.list_tools()).tools
        return tools, {name: _said(await client.call_tool(*call)) for name, call in calls.items()}


def _said(result: Any) -> Any:
    return result.content[0].text if result.is_error else result.structured_content


@pytest.mark.integration
def test_there_are_three_tools_that_say_what_they_read_and_what_a_signal_is_worth(session: Session) -> None:
    assert [tool.name for tool in session.tools] == ["signal", "replay", "track_record"]
    for tool in session.tools:
        assert tool.annotations.read_only_hint
        assert tuple(tool.input_schema["properties"]["ticker"]["enum"]) == SUPPORTED
        assert "demo" in tool.description
        assert not re.search(r"\d ?%|0\.\d", tool.description), "a figure of skill is the answer's to give"
    assert session.tools[1].input_schema["properties"]["at"]["format"] == "date-time"


@pytest.mark.integration
def test_a_signal_is_that_of_version_2_and_says_what_it_rests_on(base: str, session: Session) -> None:
    answer = session.answers["signal"]
    full = requests.get(f"{base}/v2/trading-directions/SPY", timeout=PATIENCE_S).json()
    assert set(answer) == set(command.SIGNAL_FIELDS) <= set(full)
    assert (answer["ticker"], answer["source"]) == ("SPY", full["source"])
    assert {"freshness", "hit_rates", "lock", "reason"} <= set(answer)


@pytest.mark.integration
def test_a_replay_is_of_the_moment_that_was_asked_for(session: Session) -> None:
    answer = session.answers["replay"]
    assert (answer["ticker"], answer["mode"], answer["session_date"]) == ("QQQ", "replay", session.day)
    assert datetime.fromisoformat(answer["generated_at"]) == datetime.fromisoformat(f"{session.day}T17:30:00Z")


@pytest.mark.integration
def test_a_track_record_has_the_counts_beside_the_signals(session: Session) -> None:
    answer = session.answers["record"]
    assert (answer["first_day"], answer["last_day"]) == (session.day, session.day)
    assert {"out_of_sample", "in_sample", "gaps", "signals"} <= set(answer)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("another ticker", "'SPY', 'QQQ' or 'IWM'"),
        ("no time zone", "timezone"),
        ("the future", r": The server refuses \(4\d\d\): "),
        ("too many", "less than or equal to 100"),
    ],
)
def test_a_wrong_request_is_an_error_of_the_tool_in_words(session: Session, call: str, words: str) -> None:
    assert isinstance(session.answers[call], str)
    assert re.search(words, session.answers[call]), session.answers[call]


@pytest.mark.integration
def test_a_server_that_is_not_there_is_an_error_of_the_tool_and_not_its_end() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    _, answers = worked(address, dict.fromkeys(("first", "second"), SIGNAL))
    said = f"Error executing tool signal: nothing answers at {address} in time; is the server running?"
    assert answers == {"first": said, "second": said}


class Odd(BaseHTTPRequestHandler):
    """Answers what a predict server does not, and keeps the headers of requests."""

    keys: ClassVar[list[str | None]] = []
    done: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        self.keys.append(self.headers.get("X-API-Key"))
        name = self.path.strip("/").partition("?")[0]
        if name == "elsewhere":
            self.send_response(302)
            self.send_header("Location", "/page")
            self.end_headers()
            return
        if name == "endless":
            self.send_response(200)
            self.end_headers()
            while not self.done.wait(0.02):
                self.wfile.write(b" ")
            return
        self.send_response(429 if name == "busy" else 200)
        self.send_header("Retry-After", "7")
        self.end_headers()
        bodies = {
            "large": b" " * (command.MAX_BYTES + 1),
            "busy": b'{"detail": "Too many requests."}',
            "fine": b'{"a": 1}',
        }
        self.wfile.write(bodies.get(name, b"<p>hello</p>"))

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def odd() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Odd) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        Odd.keys.clear()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/large", "the answer is larger than 512 KiB; ask for fewer days"),
        ("/busy", "The server refuses (429): Too many requests. Try again in 7 s."),
        ("/page", "{} is no predict server: it answers 200"),
        ("/elsewhere", "{} is no predict server: it answers 302"),
    ],
)
def test_what_is_no_answer_is_refused_in_words(odd: str, path: str, words: str) -> None:
    with pytest.raises(Unavailable) as refused:
        Reader(odd, "secret").read(path, {})
    assert refused.value.message == words.format(odd)
    assert Odd.keys == ["secret"], "the key is sent once, to the server that was named"


def test_a_key_is_sent_in_a_header(odd: str) -> None:
    assert Reader(odd, "secret").read("/fine", {"fields": "a"}) == {"a": 1}
    assert Reader(odd, None).read("/fine", {}) == {"a": 1}
    assert Odd.keys == ["secret", None]


def test_a_silent_server_does_not_hold_a_tool_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, timeout: tuple[float, float], **__: object) -> None:
        assert max(timeout) <= 30
        raise requests.ReadTimeout

    monkeypatch.setattr(requests, "get", never)
    with pytest.raises(Unavailable, match="in time"):
        Reader("http://127.0.0.1:9", None).read("/v2/status", {})


def test_a_server_that_trickles_does_not_hold_a_tool_up(odd: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Odd.done.clear()
    monkeypatch.setattr(command, "TOTAL_S", 0.2)
    closing = threading.Timer(PATIENCE_S / 4, Odd.done.set)
    closing.start()
    try:
        with pytest.raises(Unavailable, match="in time"):
            Reader(odd, None).read("/endless", {})
        assert not Odd.done.is_set()
    finally:
        closing.cancel()
        Odd.done.set()


@pytest.mark.parametrize("address", ["http://user:secret@127.0.0.1:8000", "http://127.0.0.1:8000/?api_key=secret"])
@pytest.mark.parametrize("words", [["mcp"], ["watch", "SPY"]])
def test_a_key_in_the_address_is_refused_without_being_repeated(words: list[str], address: str) -> None:
    done = CliRunner().invoke(cli, [*words, "--server", address])
    assert (done.exit_code, "secret" in done.output, "PREDICT_KEY" in done.output) == (2, False, True)


def test_the_command_says_how_its_package_is_installed_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    done = CliRunner().invoke(cli, ["mcp"])
    assert isinstance(done.exception, Unavailable)
    assert "`pip install --require-hashes -r requirements-mcp.txt` installs it in a checkout" in done.exception.message
    assert "`pip install 'WHEEL[mcp]'` beside the wheel" in done.exception.message


def test_the_extra_of_the_wheel_asks_for_the_pinned_version() -> None:
    wanted = named(EXTRA.with_suffix(".in"))["mcp"].version
    assert f"\nmcp = mcp=={wanted}\n" in (ROOT / "setup.cfg").read_text()


def test_the_server_does_without_the_package() -> None:
    script = "import sys, app.cli, app.commands.mcp, app.factory; print('mcp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
