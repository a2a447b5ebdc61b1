"""The command line: it starts the server, and runs the commands of app/commands. Every failure is one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module

import click

from app.errors import PredictError
from app.places import CODE, COMMAND, FILES
from app.version import VERSION

COMMANDS: Mapping[str, str] = {
    "backfill": "app.commands.backfill:backfill",
    "evaluate": "app.commands.models:evaluate",
    "import": "app.commands.importing:import_bars",
    "keys": "app.commands.keys:keys_group",
    "mcp": "app.commands.mcp:mcp",
    "models": "app.commands.model_sets:models_group",
    "notify": "app.commands.notify:notify_group",
    "polygon": "app.commands.simulator:polygon",
    "record": "app.commands.record:record_group",
    "replay": "app.commands.replay:replay",
    "rules": "app.commands.rules:rules",
    "train": "app.commands.models:train",
    "watch": "app.commands.watch:watch",
}
"""Where each command is. Its module is imported when it is run, or when its help is shown."""


class Commands(click.Group):
    """A group with commands of its own and those of COMMANDS."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module, _, name = COMMANDS.get(cmd_name, "").partition(":")
        if not module:
            return super().get_command(ctx, cmd_name)
        command: click.Command = getattr(import_module(module), name)
        return command


def main() -> None:
    """Run the command line. An expected failure prints one sentence and exits with status 1."""
    try:
        cli(prog_name=COMMAND, standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        sys.exit(exc.exit_code)
    except click.Abort:
        sys.exit(130)
    except PredictError as exc:
        click.echo(f"Error: {exc.message}", err=True)
        sys.exit(1)


@click.group(cls=Commands)
@click.version_option(VERSION, message="predict server %(version)s")
def cli() -> None:
    """The predict server."""


@cli.command(short_help="Start the server.")
def serve() -> None:
    """Start the server (gunicorn) with the settings of the environment: the demo market, unless MARKET, POLYGON_API_KEY or
    another variable of the provider is set."""
    if not is_market_chosen():
        os.environ["MARKET"] = "demo"
    _become_gunicorn()


@cli.command()
def demo() -> None:
    """Start the server on the synthetic demo market."""
    os.environ["MARKET"] = "demo"
    _become_gunicorn()


def is_market_chosen() -> bool:
    """Whether the environment says which market the server takes; without that it is the demo."""
    return any(value and _names_a_market(name) for name, value in os.environ.items())


def _names_a_market(variable: str) -> bool:
    """Whether somebody who sets it has chosen a market: whoever misspells the provider's key does not expect the demo."""
    return variable == "MARKET" or variable.upper().startswith(("POLYGON_", "MASSIVE_"))


def _become_gunicorn() -> None:
    """Replace this process with the server, which checks its settings before anything else (gunicorn.conf.py). gunicorn puts
    the working folder before all others unless it is among them, where it may hold another `app` or `wsgi`: it comes last."""
    os.environ["PWD"] = folder = os.getcwd()
    os.environ["PYTHONPATH"] = os.pathsep.join((str(FILES), str(CODE), folder))
    configuration = str(FILES / "gunicorn.conf.py")
    os.execv(sys.executable, [sys.executable, "-P", "-m", "gunicorn", "-c", configuration, "wsgi:app"])
