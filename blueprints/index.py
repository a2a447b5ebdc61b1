"""What the server answers, in words: for `/`, and for whoever misspells a path."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from html import escape
from typing import Final

NAME: Final = "predict server"
ABOUT: Final = (
    "This server predicts how SPY, QQQ and IWM will close: a signal for each hour of the session, from bars that had ended by "
    "then. It gives no advice."
)
PATHS: Final[Mapping[str, str]] = {
    "/": "this overview",
    "/trading_directions": "the signals of the hour",
    "/trading-directions": "the signals of the hour",
    "/mtf": "session and days side by side",
    "/northstar": "the four-phase analysis of the session",
    "/rpe": "the five-phase analysis of the session",
    "/swing": "the analysis of the days",
    "/replay": "a past moment: /replay?date=YYYY-MM-DD&time=HH:MM",
    "/daily_signals": "the morning overview",
    "/daily-signals": "the morning overview",
    "/signal_breakdown": "twelve daily indicators",
    "/signal-breakdown": "twelve daily indicators",
    "/volatility_meter": "how volatile these days are",
    "/price_ranges": "the ranges of the day",
    "/models": "the loaded models and what their evaluation says of them",
    "/model_info": "the pattern model, which does not ship",
    "/predict": "POST; the pattern model, which does not ship",
    "/batch_predict": "POST; the pattern model, which does not ship",
    "/health": "what the process serves with",
    "/livez": "whether the process answers",
    "/readyz": "whether the process may serve",
    "/versions": "the versions of this API",
    "/metrics": "for operators",
}
LONGEST_PATH: Final = 100


def nothing_at(path: str) -> str:
    """That there is nothing at `path`, and what may have been meant."""
    shown = "".join(c if c.isprintable() else "?" for c in path[:LONGEST_PATH])
    asked = shown.lower().removeprefix("/v1").rstrip("/.")
    near = get_close_matches(asked, PATHS, n=1, cutoff=0.75)
    return f"There is nothing at {shown}. " + (f"Perhaps {near[0]} is meant" if near else "GET / says what there is")


def page(version: str, state: str) -> str:
    """The overview as a page: without a script, a style or anything else to load, so that the strictest policy holds."""
    rows = "".join(f"<li>{_shown(path)}: {escape(text)}</li>\n" for path, text in PATHS.items() if path != "/")
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{NAME}</title></head>\n<body>\n'
        f"<h1>{NAME} {escape(version)}</h1>\n<p>{escape(ABOUT)}</p>\n<p>{escape(state)}</p>\n<ul>\n{rows}</ul>\n"
        "</body>\n</html>\n"
    )


def _shown(path: str) -> str:
    return f'<a href="{path}">{path}</a>' if not PATHS[path].startswith("POST") else path
