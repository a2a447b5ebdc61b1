"""The command `watch`: what happens to tickers, one line of text for each event. It follows a server as any other client does,
by the official Python client, which comes back behind the last event by itself."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final, cast

import click
import requests

from app.clock import REAL_TIME
from app.commands.running_server import KEY, SERVER
from app.places import FILES
from app.signals.policy import SUPPORTED

if TYPE_CHECKING:
    from predict_client import Client, Follow
    from predict_client.live_events import LiveEvent, Signal

CLIENT: Final = FILES / "clients" / "python"
LOOK_S, ANSWERS_WITHIN_S, ENDS_WITHIN_S = 0.2, 5.0, 1.0


@click.command(short_help="Print what happens to TICKERS on a running server.")
@click.argument("tickers", nargs=-1, required=True, type=click.Choice(SUPPORTED, case_sensitive=False))
@SERVER
@KEY
def watch(tickers: Sequence[str], server: str, key: str | None) -> None:
    """Print what happens to TICKERS on a running server, one line for each event, until Ctrl-C.

    Times are those of the market, in New York. The end of a line says how fresh the price was at the time of the line. If the
    server goes away, the command says so, comes back by itself, and misses nothing that the server still keeps.
    """
    client = client_of(server, key)
    watching = Watch(client, list(dict.fromkeys(tickers)), click.echo, lambda line: click.echo(line, err=True))
    with suppress(KeyboardInterrupt):
        if not answers(server):
            click.echo(f"Nothing answers at {server} yet; the command goes on trying", err=True)
            watching.expect_silence()
        refusals = watching.run()
        if refusals:
            raise click.ClickException("; ".join(refusals))
        raise SystemExit(1)


def client_of(server: str, api_key: str | None) -> Client:
    """The official client, which is a package of its own beside the server's."""
    sys.path.append(str(CLIENT))
    from predict_client import Client

    return Client(server, api_key=api_key)


def answers(server: str) -> bool:
    """Whether anything answers at the address."""
    try:
        requests.get(f"{server.rstrip('/')}/livez", timeout=ANSWERS_WITHIN_S)
    except requests.RequestException:
        return False
    return True


class Watch:
    """Follows tickers, each in a thread of its own. tell: prints a line; warn: prints one about the connection. Each refusal of
    the server is told once, whatever the number of tickers that it is about."""

    def __init__(
        self, client: Client, tickers: Sequence[str], tell: Callable[[str], None], warn: Callable[[str], None]
    ) -> None:
        self._tell, self._warn = tell, warn
        self._follows = [client.follow(ticker, on_connection=self._warning(ticker)) for ticker in tickers]
        self._threads = [threading.Thread(target=self._run, args=(one,), daemon=True) for one in self._follows]
        self._unheard: set[str] = set()
        self._lock = threading.Lock()
        self._refused = 0
        self._told: list[str] = []
        self._untold: list[str] = []
        self._failure: Exception | None = None

    def expect_silence(self) -> None:
        """Print nothing about the connection of a ticker before its first event: it is said already that nothing answers."""
        self._unheard = {follow.ticker for follow in self._follows}

    def _warning(self, ticker: str) -> Callable[[str], None]:
        def warn(text: str) -> None:
            if ticker not in self._unheard:
                self._warn(f"{ticker}: {plain(text)}")

        return warn

    def run(self) -> Sequence[str]:
        """Return when the server has refused every ticker, with the refusals that are not told yet; until then go on, also over
        a restart of the server. Raises what a thread has raised, for instance BrokenPipeError where nobody reads the lines."""
        for thread in self._threads:
            thread.start()
        try:
            while self._failure is None and any(thread.is_alive() for thread in self._threads):
                self._threads[0].join(LOOK_S)
        finally:
            self._close()
        if self._failure is not None:
            raise self._failure
        return self._untold

    def _close(self) -> None:
        """End the threads, for ENDS_WITHIN_S at most: one that prints while the process ends would break it."""
        for follow in self._follows:
            follow.close()
        ends = REAL_TIME.now() + ENDS_WITHIN_S
        for thread in self._threads:
            thread.join(max(0.0, ends - REAL_TIME.now()))

    def _run(self, follow: Follow) -> None:
        try:
            self._follow(follow)
        except Exception as exc:
            self._failure = exc

    def _follow(self, follow: Follow) -> None:
        from predict_client import PredictError, Stale

        while True:
            try:
                event = next(follow)
                self._unheard.discard(follow.ticker)
                self._tell(line_of(cast("LiveEvent", event.data)))
            except StopIteration:
                return
            except Stale as silence:
                self._warn(f"{plain(str(silence))}: what is above says nothing about now. The command goes on trying")
            except PredictError as exc:
                self._refuse(follow.ticker, plain(str(exc)))
                return

    def _refuse(self, ticker: str, text: str) -> None:
        """The server does not let a ticker be followed. The refusal of the last one is the error that ends the command."""
        with self._lock:
            self._refused += 1
            if text in self._told:
                return
            self._told.append(text)
            if self._refused == len(self._follows):
                self._untold.append(text)
            else:
                self._warn(f"{ticker}: {text}")


def line_of(event: LiveEvent) -> str:
    """The event in words: market time in New York, ticker, kind, what happened, and how far it can be trusted."""
    moment = datetime.fromisoformat(event["generated_at"])
    return plain(f"{moment:%H:%M:%S}  {event['ticker']:<4} {event['kind']:<8}  {_said(event)}  ({_trust(event)})")


def _said(event: LiveEvent) -> str:
    if event["kind"] == "price":
        return _price(event["prices"]["now"], event["prices"]["change_percent"])
    if event["kind"] == "status":
        return _status(
            event["status"]["market_open"], event["status"]["data_stale"], event["status"]["provider_held_back"]
        )
    if event["kind"] == "signal":
        return _signal(event["signal"])
    missing = f"events are missing before this ({event['missed']}). " if event["missed"] else ""
    prices = event["signal"]["prices"]
    return f"{missing}{_signal(event['signal'])} {_price(prices['now'], prices['change_percent'])}"


def _signal(signal: Signal) -> str:
    """The decision, for how long it holds, and the server's own words about it."""
    expires_at = signal["lock"]["expires_at"]
    until = f" until {datetime.fromisoformat(expires_at):%H:%M}" if expires_at else ""
    return f"{signal['action']}{until}: {signal['reason']}"


def _price(now: float | None, change_percent: float | None) -> str:
    change = "" if change_percent is None else f", {change_percent:+.2f}% since the open"
    return "no price is known" if now is None else f"{now:.2f} USD{change}"


def _status(is_open: bool, is_stale: bool, is_held_back: bool) -> str:
    parts = ["the market is open" if is_open else "the market is closed"]
    parts += ["a bar is overdue"] if is_stale else []
    parts += ["the provider is not asked, because many calls failed"] if is_held_back else []
    return ", ".join(parts)


def _trust(event: LiveEvent) -> str:
    """Freshness, age of the price in market time, and where bars come from if that is not the live market."""
    parts: list[str] = [event["freshness"]]
    if event["as_of"] is not None:
        age = datetime.fromisoformat(event["generated_at"]) - datetime.fromisoformat(event["as_of"])
        parts.append(f"price {_span(age.total_seconds())} old")
    parts += ["told afterwards"] if event["told_afterwards"] else []
    return ", ".join([*parts, *([] if event["source"] == "polygon" else [event["source"]])])


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def plain(text: str) -> str:
    """The text without characters that would steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
