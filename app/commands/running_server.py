"""What commands that read a running server take: its address, and an API key."""

from __future__ import annotations

import re
from typing import Final

import click


def address_of(server: str) -> str:
    """The address of a server with its scheme. Raises click.BadParameter for another scheme than HTTP, and for an address that
    holds more than a place: a key belongs in PREDICT_KEY."""
    scheme, separator, _ = server.partition("://")
    if separator and scheme.lower() not in ("http", "https"):
        raise click.BadParameter(f"an address begins with http:// or https://, and not with {scheme}://")
    if re.search(r"[@?#\s]", server):
        raise click.BadParameter("an address names a server alone; a key belongs in the variable PREDICT_KEY")
    return server if separator else f"http://{server}"


SERVER: Final = click.option(
    "--server",
    "--url",
    "server",
    default="http://127.0.0.1:8000",
    show_default=True,
    callback=lambda _, __, server: address_of(server),
    help="address of a running server; http:// may be left out",
)
KEY: Final = click.option(
    "--key", envvar="PREDICT_KEY", help="API key; better set PREDICT_KEY, which no list of processes shows"
)
