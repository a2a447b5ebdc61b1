"""What the server answers, in words: for `/`, and for whoever misspells a path."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from html import escape
from typing import Final

from app.market.plan import Plan

NAME: Final = "predict server"
ABOUT: Final = (
    "At each full hour from 10:00 to 15:00 New York this server says how likely SPY, QQQ and IWM are to close above their "
    "open, and from 11:00 on above their 11:00 price, computed from bars that had ended by then. It gives no advice."
)
VERSION_1: Final[Mapping[str, str]] = {
    "/trading_directions": "the signals of the hour",
    "/trading-directions": "the signals of the hour",
    "/mtf": "session and days side by side",
    "/northstar": "the four-phase analysis of the session",
    "/rpe": "the five-phase analysis of the session",
    "/swing": "the analysis of the days",
    "/replay": "a past moment: /replay?date=YYYY-MM-DD&time=HH:MM",
    "/daily_signals": "the overview of the day, on a coarser ladder than the signals of the hour",
    "/daily-signals": "the overview of the day, on a coarser ladder than the signals of the hour",
    "/signal_breakdown": "twelve daily indicators",
    "/signal-breakdown": "twelve daily indicators",
    "/volatility_meter": "how volatile these days are",
    "/price_ranges": "the ranges of the day",
    "/models": "the loaded models and what their evaluation says of them",
    "/model_info": "the pattern model, which does not ship",
    "/predict": "POST; the pattern model, which does not ship",
    "/batch_predict": "POST; the pattern model, which does not ship",
    "/health": "what the process serves with",
}
OF_NO_VERSION: Final[Mapping[str, str]] = {
    "/": "the dashboard for browsers; this overview for all other clients",
    "/dashboard": "the dashboard",
    "/dashboard/{view}": "a view of it, such as SPY, SPY?date=2024-06-12&time=14:00, SPY/record, SPY/model or system",
    "/livez": "whether the process answers",
    "/readyz": "whether the process may serve",
    "/versions": "the versions of this API",
    "/docs": "the routes of version 2 on a page, to be read and tried",
    "/docs/errors": "every error code: what it means and what to do",
    "/docs/versions": "what version 2 changed against version 1, field by field",
    "/docs/socket-io": "live events over Socket.IO: every event with its fields",
    "/openapi.json": "the OpenAPI document of version 2",
    "/openapi/v1.json": "the OpenAPI document of version 1",
    "/asyncapi.json": "the AsyncAPI document of the live events",
    "/widgets.json": "the tables that OpenBB Workspace may show",
    "/apps.json": "how OpenBB Workspace lays them out",
    "/metrics": "for operators",
}
LONGEST_PATH: Final = 100


def market_in_words(plan: Plan) -> str:
    """Which market this server shows, and what it lacks."""
    if not plan.market.is_live:
        return plan.market.description + ("" if plan.has_bars else ", of which none have been imported yet")
    if not plan.has_key:
        return "no market data, being without a key to fetch them"
    data = plan.market.description + ("" if plan.is_polygon else " of a provider that is not Polygon")
    if not plan.is_answered:
        return f"{data}, of which none have come yet, since the provider has answered no call"
    if not plan.is_known:
        return f"{data}, with a delay that is not known yet"
    if not plan.has_intraday:
        return f"{data} that end with the last completed day"
    minutes = int(plan.delay.total_seconds() // 60)
    if minutes:
        return f"{data} that are {minutes} minutes late"
    return f"live {data}" if plan.is_polygon else data


def nothing_at(path: str, version: int = 1) -> str:
    """That there is nothing at `path` in this version of the API, and what may have been meant."""
    shown = "".join(c if c.isprintable() else "?" for c in path[:LONGEST_PATH])
    if version != 1:
        return (
            f"There is nothing at {shown} in version {version} of this API. GET /versions says which versions there are"
        )
    asked = shown.lower().removeprefix("/v1").rstrip("/.")
    near = get_close_matches(asked, [*VERSION_1, *OF_NO_VERSION], n=1, cutoff=0.75)
    return f"There is nothing at {shown}. " + (f"Perhaps {near[0]} is meant" if near else "GET / says what there is")


def page(version: str, state: str, paths: Mapping[str, str]) -> str:
    """The overview as a page: without a script, a style or anything else to load, so that the strictest policy holds."""
    rows = "".join(f"<li>{_shown(path, text)}: {escape(text)}</li>\n" for path, text in paths.items() if path != "/")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{NAME}</title></head>\n<body>\n'
        f"<h1>{NAME} {escape(version)}</h1>\n<p>{escape(ABOUT)}</p>\n<p>{escape(state)}</p>\n<ul>\n{rows}</ul>\n"
        "</body>\n</html>\n"
    )


def _shown(path: str, text: str) -> str:
    """The path, as a link where it can be followed as it stands."""
    return path if text.startswith("POST") or "{" in path else f'<a href="{path}">{path}</a>'
