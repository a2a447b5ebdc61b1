"""`python -m ops.regions` starts three regions on this machine; with a command it asks or changes those that run."""

from __future__ import annotations

import os
import signal
import socket
import socketserver
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import click

from ops.regions.balancer import MISSING, PROGRAM
from ops.regions.regions import MISSING_REDIS, NAMES, REDIS, ROOT, Region
from ops.regions.trial import Trial, table

FOLDER: Final = Path(os.environ.get("DATA_DIR", "var")) / "regions"
CONTROL: Final = str(FOLDER / "control")
ASK_S: Final = 60.0

ACTIONS: Final[Mapping[str, tuple[str, Callable[[Region], object]]]] = {
    "cut": ("Cut a region off: it runs, and nothing reaches it.", Region.cut),
    "mend": ("Mend what was cut.", Region.mend),
    "kill": ("Kill a region's server and its Redis.", Region.kill),
    "kill-redis": ("Kill a region's Redis alone.", lambda region: region.redis.kill()),
    "start": ("Start what was killed of a region.", Region.start),
}


@click.group(invoke_without_command=True)
@click.option("--port", envvar="PORT", default=8001, show_default=True, help="The first of their ports; also PORT.")
@click.pass_context
def regions(context: click.Context, port: int) -> None:
    """Start three regions on this machine, until Ctrl-C. The commands are for those that run."""
    os.chdir(ROOT)
    if context.invoked_subcommand is None:
        run(port)


@regions.command()
def state() -> None:
    """Show what can be seen of each region."""
    click.echo(ask("state"))


@regions.command()
@click.argument("what", type=click.Choice(["restart", "reload"]))
def balancer(what: str) -> None:
    """Restart the balancer, or load its settings anew."""
    click.echo(ask(what))


def command_of(name: str, about: str) -> click.Command:
    argument = click.Argument(["region"], type=click.Choice(NAMES))
    return click.Command(
        name, params=[argument], help=about, callback=lambda region: click.echo(ask(f"{name} {region}"))
    )


for name, (about, _) in ACTIONS.items():
    regions.add_command(command_of(name, about))


def ask(line: str) -> str:
    """The answer of the regions that run."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(ASK_S)
        try:
            asking.connect(CONTROL)
        except OSError:
            raise click.ClickException("no regions run here; to start them: make regions") from None
        asking.sendall(f"{line}\n".encode())
        return b"".join(iter(lambda: asking.recv(65_536), b"")).decode()


def answer(trial: Trial, line: str) -> str:
    """Do what a line says."""
    verb, _, name = line.partition(" ")
    if verb in ("restart", "reload"):
        getattr(trial.balancer, verb)()
    elif verb in ACTIONS:
        ACTIONS[verb][1](trial.regions[name])
    return table(trial.state()) if verb == "state" else "done"


def run(first_port: int) -> None:
    """Start everything and answer commands until a signal ends it."""
    ports = [first_port + 10 * kind + number for kind in range(3) for number in range(len(NAMES))]
    check(ports)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(0))
    FOLDER.mkdir(parents=True, exist_ok=True)
    click.echo("three regions start, which takes some seconds")
    try:
        with Trial(FOLDER.resolve(), ports, {}) as trial, Control(trial) as control:
            for name in NAMES:
                click.echo(f"clients of {name}: {trial.balancer.address(name)}")
            click.echo("Ctrl-C stops all; to see them: .venv/bin/python -m ops.regions state")
            control.serve_forever()
    except RuntimeError as exc:
        raise click.ClickException(str(exc)) from None


def check(ports: list[int]) -> None:
    """Raises ClickException if a program is missing or a port is taken."""
    for missing in [words for program, words in ((PROGRAM, MISSING), (REDIS, MISSING_REDIS)) if program is None]:
        raise click.ClickException(missing)
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                raise click.ClickException(f"port {port} is taken; PORT names the first of others") from None


class Control(socketserver.UnixStreamServer):
    """Answers the commands that come by a socket in FOLDER."""

    def __init__(self, trial: Trial) -> None:
        Path(CONTROL).unlink(missing_ok=True)
        super().__init__(CONTROL, Command)
        self.trial = trial

    def server_close(self) -> None:
        super().server_close()
        Path(CONTROL).unlink(missing_ok=True)


class Command(socketserver.StreamRequestHandler):
    server: Control

    def handle(self) -> None:
        line = self.rfile.readline().decode().strip()
        self.wfile.write(answer(self.server.trial, line).encode())


if __name__ == "__main__":
    regions(prog_name=".venv/bin/python -m ops.regions")
