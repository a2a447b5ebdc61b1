"""The command that prints the answer of a past moment."""

from __future__ import annotations

import json

import click

from app.commands.shared import TICKER, events_printing_waits, usable_settings
from app.config.folders import check_models_dir
from app.errors import BadRequest
from app.factory import create_app


@click.command(short_help="Print the answer of /replay for a past moment.")
@click.argument("day")
@click.argument("moment")
@click.option("--ticker", type=TICKER, default="all", help="one symbol; all supported ones otherwise")
def replay(day: str, moment: str, ticker: str) -> None:
    """Print the answer of /replay: what the server showed, or would have shown, on DAY (2025-11-05) at MOMENT (14:35)."""
    query = {"date": day, "time": moment, "ticker": ticker}
    settings = usable_settings(allowed_hosts=(), redis_url=None, redis_urls=(), web_concurrency=1, log_level="WARNING")
    check_models_dir(settings)
    response = create_app(settings, events=events_printing_waits()).test_client().get("/replay", query_string=query)
    body = response.get_json()
    if response.status_code != 200:
        raise BadRequest(body["error"].rstrip("."))
    click.echo(json.dumps(body, indent=2))
