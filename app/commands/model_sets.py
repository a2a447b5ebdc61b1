"""Commands about the model sets of MODELS_DIR: what there is, whether it can be served, and which one is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import click

from app.clock import wall_clock
from app.commands.shared import usable_settings
from app.errors import BrokenData
from app.factory import POLICY
from app.model.promotions import checked_name
from app.model.registry import Registry
from app.model.verdicts import counts_text, verdict_of_record
from app.signals.policy import SUPPORTED

MAX_LISTED: Final = 50
FROM_THEN_ON: Final = (
    "promoted. Servers on this folder take it over at the next decision hour, outside trading hours within a minute"
)


class Listed(NamedTuple):
    """A line of the list. trained_at: sorts it; empty if the set cannot be read."""

    trained_at: str
    name: str
    text: str


@click.group("models", short_help="List, verify, promote and roll back model sets.")
def models_group() -> None:
    """The model sets of MODELS_DIR: what there is, whether it can be served, and which one is."""


@models_group.command("list", short_help="Print the model sets, the newest first.")
def list_sets() -> None:
    """Print the model sets, the newest first: when and on what they were trained, their verdicts, which one is promoted."""
    registry = _registry()
    lines = sorted((_listed(registry, name) for name in registry.names()), reverse=True)
    for line in lines[:MAX_LISTED]:
        click.echo(f"{line.name}{_standing(registry, line.name)}: {line.text}")
    if len(lines) > MAX_LISTED:
        click.echo(f"and {len(lines) - MAX_LISTED} older ones")


@models_group.command("verify", short_help="Check the model sets NAMES, or all.")
@click.argument("names", nargs=-1)
def verify(names: Sequence[str]) -> None:
    """Check the hashes of the model sets NAMES, or of all, and whether this server can serve them."""
    registry = _registry()
    faults = {name: registry.faults(name, SUPPORTED, POLICY) for name in names or registry.names()}
    for name, by_member in faults.items():
        click.echo(f"{name}: {_reasons(by_member) if by_member else 'whole, and this server can serve it'}")
    failed = sum(map(bool, faults.values()))
    if failed:
        raise BrokenData(f"{failed} of {len(faults)} model sets cannot be served")


@models_group.command("promote")
@click.argument("name")
def promote_set(name: str) -> None:
    """Have the model set NAME served from the next decision hour on. Running servers need no restart."""
    promote(_registry(), name)


@models_group.command("rollback", short_help="Have the model set of before served again.")
def roll_back() -> None:
    """Have the model set served again that was promoted before, from the next decision hour on."""
    registry = _registry()
    for name in registry.promotions().before[:1]:
        _refuse_unservable(registry, name)
    click.echo(f"{registry.roll_back(wall_clock).promoted}: {FROM_THEN_ON}")


def promote(registry: Registry, name: str) -> None:
    """Promote a set that this server can serve. Raises BrokenData if it cannot."""
    if checked_name(name) in registry.names():
        _refuse_unservable(registry, name)
    registry.promote(name, wall_clock)
    click.echo(f"{name}: {FROM_THEN_ON}")


def is_promoted(registry: Registry, name: str) -> bool:
    try:
        return registry.promotions().promoted == name
    except BrokenData:
        return False


def _registry() -> Registry:
    settings = usable_settings()
    registry = Registry(settings.models_dir)
    if not registry.names():
        raise BrokenData(f"MODELS_DIR: there are no model sets in {str(settings.models_dir)!r}")
    return registry


def _refuse_unservable(registry: Registry, name: str) -> None:
    faults = registry.faults(name, SUPPORTED, POLICY)
    if faults:
        raise BrokenData(f"{name} is not promoted: {_reasons(faults)}")


def _reasons(faults: Mapping[str, str]) -> str:
    return "; ".join(dict.fromkeys(faults.values()))


def _standing(registry: Registry, name: str) -> str:
    """Whether a set is the promoted one, or the one that a rollback returns to."""
    if is_promoted(registry, name):
        return " (promoted)"
    try:
        return " (before it)" if name in registry.promotions().before[:1] else ""
    except BrokenData:
        return ""


def _listed(registry: Registry, name: str) -> Listed:
    try:
        files = registry.files(name)
        return _described(name, {member: files.member(member).metadata for member in sorted(files.members)})
    except BrokenData as exc:
        return Listed("", name, f"cannot be read: {exc.message}")


def _described(name: str, members: Mapping[str, Mapping[str, Any]]) -> Listed:
    try:
        trained_at, data_end = (max(map(str, values)) for values in zip(*map(_dates, members.values()), strict=True))
        cells = [cell for ticker in SUPPORTED if ticker in members for cell in members[ticker]["evaluation"]["cells"]]
        counts = counts_text(map(verdict_of_record, cells))
    except (KeyError, ValueError, TypeError):
        return Listed("", name, "its metadata is incomplete")
    text = f"trained at {trained_at} on days to {data_end}; {', '.join(members)}; {counts}"
    return Listed(trained_at, name, text)


def _dates(about: Mapping[str, Any]) -> tuple[Any, Any]:
    """When an artefact was trained, and the last day of its data."""
    return about["trained_at"], about["data"]["last_day"]
