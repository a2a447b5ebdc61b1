"""Commands about messages: make a secret, send a test, and list or send again what was given up."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import click

from app.cli import is_market_chosen
from app.clock import REAL_TIME
from app.commands.shared import usable_settings
from app.config.settings import Settings
from app.core import Core
from app.errors import BadRequest, Unavailable
from app.factory import build
from app.factory.notifications import configured_targets, store_of
from app.market.polygon import Reply
from app.notify.message import test_message
from app.notify.outbox import DeadLetter, Outbox
from app.notify.sending import ATTEMPT_S, Outcome, Result, Sender
from app.notify.target import Target
from app.telemetry.stages import NULL_STAGES
from blueprints.v2.notifications import NotificationBodies

NOBODY = "nobody is to be told: NOTIFY_URLS and WEBHOOK_URLS are not set"


@click.group("notify")
def notify_group() -> None:
    """Messages about signals: send a test, and see what was given up."""


@notify_group.command("secret")
def new_secret() -> None:
    """Print a new WEBHOOK_SECRET."""
    click.echo(f"whsec_{b64encode(secrets.token_bytes(32)).decode()}")


@notify_group.command("test", short_help="Send a test message to every target.")
def send_test() -> None:
    """Send a test message to everybody whom NOTIFY_URLS and WEBHOOK_URLS name, and print how it went. Whoever takes it and was
    disabled gets messages again. Exits with status 1 if one of them did not take it."""
    with _core() as core:
        targets = configured_targets(core.settings)
        if not targets:
            raise BadRequest(NOBODY)
        at, send = core.market.clock(), Sender(core.settings.webhook_secret, REAL_TIME.epoch)
        message = test_message(f"test-{secrets.token_hex(8)}", at, NotificationBodies(core.pipeline).test(at))
        taken = []
        for target in targets:
            outcome = send(target, message, ATTEMPT_S)
            taken += [target] if outcome.result is Result.SENT else []
            click.echo(f"{target.name}: {_described(outcome)}")
        _enable(core, taken)
    if len(taken) < len(targets):
        raise Unavailable(f"{len(targets) - len(taken)} of {len(targets)} did not take the message", part="data")


def _enable(core: Core, targets: Sequence[Target]) -> None:
    """Have messages sent again to those of the targets that were disabled."""
    with _outbox(core) as outbox:
        disabled = outbox.disabled()
        for target in targets:
            if target.key in disabled:
                outbox.enable(target.key)
                click.echo(f"{target.name}: gets messages again")


@notify_group.command("dead")
@click.option("--retry", is_flag=True, help="send again what is still valid; a running server does it")
def dead(retry: bool) -> None:
    """List the messages of the last week that were given up, and why."""
    with _core() as core:
        names = {target.key: target.name for target in configured_targets(core.settings)}
        with _outbox(core) as outbox:
            letters, at = outbox.dead(), core.market.clock()
            for letter in letters:
                click.echo(_line(letter, names))
            if retry:
                again = [letter for letter in letters if letter.target in names and at < letter.message.expires_at]
                _revive(outbox, again)
                click.echo(f"{len(again)} of {len(letters)} will be sent again; the others are too late")


def _revive(outbox: Outbox, letters: list[DeadLetter]) -> None:
    for letter in letters:
        outbox.revive(letter)


def _line(letter: DeadLetter, names: Mapping[str, str]) -> str:
    since = datetime.fromtimestamp(letter.since, UTC).isoformat(timespec="seconds")
    name = names.get(letter.target, "a target that is not set any more")
    return f"{since}  {name}  {letter.message.id}  {letter.reason} (failed tries: {letter.tries})"


def _described(outcome: Outcome) -> str:
    return "sent" if outcome.result is Result.SENT else f"{outcome.result}: {outcome.reason}"


@contextmanager
def _core() -> Iterator[Core]:
    """The core of the market that `predict serve` takes with the same variables. The provider is not called."""
    settings = usable_settings(web_concurrency=1, **({} if is_market_chosen() else {"market": "demo"}))
    core = build(settings, transport=_no_calls if _calls_provider(settings) else None)
    try:
        yield core
    finally:
        core.close()


@contextmanager
def _outbox(core: Core) -> Iterator[Outbox]:
    """The outbox of a server with the same settings."""
    outbox = store_of(core.settings, core.market.namespace, core.redis, core.timer, NULL_STAGES).outbox
    try:
        yield outbox
    finally:
        outbox.close()


def _calls_provider(settings: Settings) -> bool:
    return settings.market == "polygon" and settings.has_key


def _no_calls(path: str, params: Mapping[str, str]) -> Reply:
    raise Unavailable("this command calls no provider", part="data")
