"""Commands about API keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from app.config import api_keys


@click.group("keys")
def keys_group() -> None:
    """Make API keys."""


@keys_group.command("new", short_help="Make a key, and print its secret once.")
@click.option("--name", required=True, help="name of the holder: a-z 0-9 _ . -")
@click.option("--tier", type=click.Choice(list(api_keys.TIERS)), default="standard", show_default=True)
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="how many days it is valid")
def new_key(name: str, tier: str, days: int) -> None:
    """Make a key, and print its secret for the holder, once, and the entry for API_KEYS. Nothing is stored."""
    try:
        secret, key = api_keys.new_key(name, tier, datetime.now(UTC).date() + timedelta(days=days))
    except ValueError as exc:
        raise click.ClickException(str(exc)) from None
    click.echo(f"The secret of {name}. Give it to its holder only; it cannot be shown again:\n{secret}")
    click.echo(f"The entry for the server. Add it to API_KEYS, with a comma before it if there are others:\n{key}")
