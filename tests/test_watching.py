"""The command `watch`: a line of plain words for each event, over interruptions, until Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from app.cli import cli
from app.commands.watch import Watch, line_of
from blueprints.socket_io.asyncapi import FILE
from tests.clients.scripted_server import Connection, scripted_server
from tests.markdown import ROOT
from tests.serving.test_gunicorn import SERVE, free_port, started
from tests.waiting import PATIENCE_S

EXAMPLES = {
    name: message["examples"][0]["payload"]
    for name, message in json.loads(FILE.read_text())["components"]["messages"].items()
}


def line(kind: str, **changes: Any) -> str:
    """The line of an example event, with other fields."""
    return line_of({**EXAMPLES[kind], **changes})  # type: ignore[typeddict-item]


def test_each_kind_of_event_is_a_line_of_plain_words_with_its_age_and_freshness() -> None:
    trust = "(live, price 0 s old, demo)"
    said = "BUY_CALL until 13:00: DEMO: LONG since 12:00: 80.5% that it closes above its 11:00 price (moderate bull)."
    price = "442.03 USD, +0.25% since the open"
    assert line("signal") == f"12:10:00  SPY  signal    {said}  {trust}"
    assert line("price") == f"12:10:00  SPY  price     {price}  {trust}"
    assert line("status") == f"12:10:00  SPY  status    the market is open  {trust}"
    assert line("snapshot") == f"12:10:00  SPY  snapshot  {said} {price}  {trust}"


def test_what_cannot_be_trusted_says_so() -> None:
    late = line("price", freshness="stale", as_of="2025-03-06T12:02:00-05:00", source="polygon")
    assert late.endswith("(stale, price 8 min old)")
    assert line("price", as_of=None).endswith("(live, demo)")
    assert line("signal", told_afterwards=True, freshness="historical").endswith(
        "(historical, price 0 s old, told afterwards, demo)"
    )
    missed = line("snapshot", missed="too_old")
    assert "events are missing before this (too_old)" in missed
    held = {"market_open": False, "data_stale": True, "provider_held_back": True}
    status = line("status", status={**EXAMPLES["status"]["status"], **held})
    assert "the market is closed, a bar is overdue, the provider is not asked, because many calls failed" in status


def test_what_a_server_sends_does_not_steer_the_terminal() -> None:
    evil = line("signal", signal={**EXAMPLES["signal"]["signal"], "reason": "\x1b[2Jgone\r\nforged"})
    assert evil.isprintable()


def watching(*arguments: str) -> subprocess.Popen[str]:
    """The command. Ctrl-C reaches it also where the tests run in the background, where shells have it ignored."""
    return subprocess.Popen(
        [sys.executable, "-m", "app", "watch", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def column(lines: list[str], number: int) -> set[str]:
    return {line.split()[number] for line in lines}


def test_it_waits_for_a_server_shows_each_ticker_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    port = free_port()
    with watching("spy", "QQQ", "--url", f"http://127.0.0.1:{port}") as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stderr.readline().startswith("Nothing answers at")
            with started(SERVE, tmp_path / "log", port=port, MARKET="demo", DATA_DIR=tmp_path / "data"):
                lines = []
                while not ({"SPY", "QQQ"} <= column(lines, 1) and {"snapshot", "price"} <= column(lines, 2)):
                    lines.append(process.stdout.readline())
                    assert len(lines) < 100, lines
                process.send_signal(signal.SIGINT)
                assert process.wait(PATIENCE_S) == 0
            assert all(line.rstrip().endswith("demo)") for line in lines)
            assert process.stderr.read() == ""
        finally:
            process.kill()


def refuse(connection: Connection) -> None:
    problem = {"error_code": "UNAUTHORIZED", "detail": "The API key is not known", "status": 401}
    connection.answer("401 Unauthorized", json.dumps(problem).encode(), {"Content-Type": "application/problem+json"})


def test_a_refusal_ends_it_with_the_words_of_the_server() -> None:
    with scripted_server(refuse, refuse) as server:
        done = watching("SPY", "--url", server.base, "--key", "wrong").communicate(timeout=PATIENCE_S)
    assert done[1] == "Error: 401 UNAUTHORIZED: The API key is not known\n", "and that once"


def test_a_refusal_of_several_tickers_is_told_once() -> None:
    with scripted_server(refuse, refuse, refuse) as server:
        done = watching("SPY", "QQQ", "--url", server.base, "--key", "wrong")
        _, said = done.communicate(timeout=PATIENCE_S)
    assert said.count("401 UNAUTHORIZED: The API key is not known") == 1
    assert done.returncode == 1


def end(connection: Connection) -> None:
    """An event, and a goodbye."""
    connection.begin()
    connection.line(EXAMPLES["price"])
    connection.line({"status": "resume", "after": EXAMPLES["price"]["id"], "retry_after_ms": 1200})
    connection.end()


def go_on(connection: Connection) -> None:
    connection.begin()
    connection.line(EXAMPLES["signal"])
    connection.wait_until_closed()


def ready(connection: Connection) -> None:
    connection.answer("200 OK", b"{}", {})


def test_a_goodbye_is_told_with_the_time_until_the_next_connection_and_so_is_that_one() -> None:
    with scripted_server(ready, end, go_on) as server, watching("SPY", "--url", server.base) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            lines = [process.stdout.readline().split()[2] for _ in range(2)]
            said = [process.stderr.readline() for _ in range(2)]
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE_S)
        finally:
            process.kill()
    assert lines == ["price", "signal"]
    assert said == [
        "SPY: the server ends the connection; it is asked again in 1.2 s\n",
        "SPY: the connection is back\n",
    ]


def test_the_scheme_of_the_address_may_be_left_out() -> None:
    with scripted_server(refuse, refuse) as server:
        said = watching("SPY", "--url", server.base.removeprefix("http://")).communicate(timeout=PATIENCE_S)[1]
    assert said == "Error: 401 UNAUTHORIZED: The API key is not known\n"


def test_an_address_of_another_scheme_is_refused() -> None:
    done = CliRunner().invoke(cli, ["watch", "SPY", "--url", "ftp://127.0.0.1"])
    assert (done.exit_code, "begins with http:// or https://" in done.output) == (2, True)


class SlowToEnd:
    """Follows a ticker without an event. It breaks, or goes on for a moment after it was closed."""

    def __init__(self, ticker: str) -> None:
        self.ticker = ticker
        self._closed = threading.Event()

    def __next__(self) -> None:
        if self.ticker == "SPY":
            raise BrokenPipeError
        self._closed.wait(PATIENCE_S)
        time.sleep(0.1)
        raise StopIteration

    def close(self) -> None:
        self._closed.set()


def test_it_is_over_once_nothing_of_it_prints_any_more() -> None:
    client: Any = SimpleNamespace(follow=lambda ticker, **_: SlowToEnd(ticker))
    watched = Watch(client, ["SPY", "QQQ"], print, print)
    with pytest.raises(BrokenPipeError):
        watched.run()
    assert not any(thread.is_alive() for thread in watched._threads)


def chatter(connection: Connection) -> None:
    """Events for as long as the client takes them."""
    connection.begin()
    while True:
        connection.line(EXAMPLES["price"])


def test_it_ends_without_a_trace_when_nobody_reads_its_lines_any_more() -> None:
    """As in `watch SPY | head -1`."""
    with scripted_server(ready, chatter) as server, watching("SPY", "--url", server.base) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline()
            process.stdout.close()
            assert process.wait(PATIENCE_S) == 1
            assert process.stderr.read() == ""
        finally:
            process.kill()


@pytest.mark.parametrize("arguments", [[], ["TSLA"]])
def test_it_takes_supported_tickers_alone(arguments: list[str]) -> None:
    done = CliRunner().invoke(cli, ["watch", *arguments])
    assert (done.exit_code, "Usage: " in done.output) == (2, True)
