"""The command `mcp`: tools for language models (Model Context Protocol) that read version 2 of a running server.

They change nothing. It speaks over standard input and output, with the official SDK, which the server itself does without.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from datetime import date
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import click
import requests
from pydantic import AwareDatetime, Field
from urllib3.exceptions import HTTPError

from app.commands.running_server import KEY, SERVER
from app.errors import Unavailable
from app.version import VERSION

if TYPE_CHECKING:
    from mcp.server import MCPServer

CONNECT_S, ANSWER_S = 5.0, 30.0
TOTAL_S = 45.0
"""Of an answer, whose parts may come in time each."""

MAX_BYTES: Final = 512 * 1024
KEY_FORM: Final = re.compile(r"[\x21-\x7e]{1,256}")
Ticker = Literal["SPY", "QQQ", "IWM"]
SIGNAL_FIELDS: Final = (
    *(
        "ticker",
        "mode",
        "generated_at",
        "session_date",
        "decision_hour",
        "as_of",
        "age_seconds",
        "expires_at",
        "freshness",
    ),
    *(
        "source",
        "lock",
        "action",
        "direction",
        "strength",
        "active_target",
        "probability",
        "probability_a",
        "probability_b",
    ),
    *("hit_rates", "size", "prices", "levels", "ranges", "gates", "reason", "model"),
)
RECORD_FIELDS: Final = (
    *(
        "ticker",
        "generated_at",
        "source",
        "first_day",
        "last_day",
        "record_begins",
        "gaps",
        "out_of_sample",
        "in_sample",
    ),
    *("signals.day", "signals.decision_hour", "signals.action", "signals.active_target", "signals.probability"),
    *("signals.model", "signals.outcome", "signals.outcome_reason", "next"),
)
WORTH: Final = """\
What a signal is worth is said by the answer itself, and by nothing else. `hit_rates` has how often the model was right out of
sample beside what a random walk and "always up" did on the same days, and a verdict; without that entry nothing was measured.
Do not state an accuracy that the answer does not give, and give the baselines beside it. `action` NO_TRADE is the usual answer.
`source` says whether prices are real: those of the market `demo` are invented. `freshness` and `age_seconds` say how old the
answer is; say so when you repeat it. Nothing here is advice to buy or sell."""
SIGNAL: Final = f"""The hourly signal of one ticker now: action, probabilities, levels, gates, and what they rest on.
{WORTH}"""
REPLAY: Final = f"""The signal of one ticker as it stood at a past moment, from bars that had ended by then alone.
`lock.recorded` says whether it was locked at that time or computed afterwards. Computed for days that the model was trained on
(`model.in_sample`), it proves nothing about how good the model is.
{WORTH}"""
TRACK_RECORD: Final = """The locked signals of one ticker between two days, oldest first, and what came of them.
`out_of_sample` counts those whose model was not trained on their day; `in_sample` counts the others, which say nothing about
how good the model is. Few trades say little: give the counts, not a share alone. `gaps` are hours without a signal. Signals of
a demo market (`source`) are invented. The counts are of all the days; a page has at most 100 signals, and `next` says if more
follow."""


class Reader:
    """Reads version 2 of one server, within limits of time and size. The key goes into a header of its own server alone."""

    def __init__(self, server: str, api_key: str | None) -> None:
        self._server = server.rstrip("/")
        self._headers = {"Accept": "application/json"} | ({"X-API-Key": api_key} if api_key else {})

    def read(self, path: str, query: Mapping[str, str]) -> dict[str, Any]:
        """The answer's members. Raises Unavailable, with a sentence for people, if there is none."""
        try:
            with requests.get(
                self._server + path,
                params=query,
                headers=self._headers,
                timeout=(CONNECT_S, ANSWER_S),
                stream=True,
                allow_redirects=False,
            ) as response:
                return self._members(response)
        except (requests.RequestException, HTTPError, OSError):
            raise Unavailable(
                f"nothing answers at {self._server} in time; is the server running?", part="server"
            ) from None

    def _members(self, response: requests.Response) -> dict[str, Any]:
        body, ends = bytearray(), time.monotonic() + TOTAL_S
        while piece := response.raw.read1(16 * 1024, decode_content=True):
            body += piece
            if time.monotonic() > ends:
                raise requests.Timeout
            if len(body) > MAX_BYTES:
                raise Unavailable(
                    f"the answer is larger than {MAX_BYTES // 1024} KiB; ask for fewer days", part="server"
                )
        try:
            members = json.loads(body)
        except ValueError:
            members = None
        if not isinstance(members, dict):
            raise Unavailable(f"{self._server} is no predict server: it answers {response.status_code}", part="server")
        if response.status_code != requests.codes.ok:
            raise Unavailable(_refusal(response, members), part="server")
        return members


def _refusal(response: requests.Response, problem: Mapping[str, Any]) -> str:
    """What the server says of a request that it refuses, in words."""
    wait = response.headers.get("Retry-After", "")
    again = f" Try again in {wait} s." if wait.isdigit() else ""
    return f"The server refuses ({response.status_code}): {problem.get('detail') or problem.get('title') or 'no reason'}{again}"


def tools(reader: Reader) -> MCPServer[Any]:
    """The server of tools."""
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.types import ToolAnnotations

    server = MCPServer[Any]("predict", version=VERSION, instructions=WORTH, log_level="WARNING")
    reads = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

    def read(path: str, **query: str) -> dict[str, Any]:
        try:
            return reader.read(path, query)
        except Unavailable as exc:
            raise ToolError(exc.message) from None

    @server.tool(description=SIGNAL, annotations=reads)
    def signal(ticker: Ticker) -> dict[str, Any]:
        return read(f"/v2/trading-directions/{ticker}", fields=",".join(SIGNAL_FIELDS))

    @server.tool(description=REPLAY, annotations=reads)
    def replay(
        ticker: Ticker, at: Annotated[AwareDatetime, Field(description="A past moment with its offset from UTC")]
    ) -> dict[str, Any]:
        answer = read(f"/v2/replay/{ticker}", at=at.isoformat())
        return {name: answer[name] for name in SIGNAL_FIELDS if name in answer}

    @server.tool(description=TRACK_RECORD, annotations=reads)
    def track_record(
        ticker: Ticker,
        first_day: Annotated[date | None, Field(description="By default 30 days before the last one")] = None,
        last_day: Annotated[date | None, Field(description="By default today in New York")] = None,
        limit: Annotated[int, Field(ge=1, le=100, description="How many signals at most")] = 30,
    ) -> dict[str, Any]:
        days = {"from": first_day, "to": last_day}
        span = {name: day.isoformat() for name, day in days.items() if day is not None}
        return read(f"/v2/signals/{ticker}", fields=",".join(RECORD_FIELDS), limit=str(limit), **span)

    return server


@click.command(short_help="Tools for language models (Model Context Protocol).")
@SERVER
@KEY
def mcp(server: str, key: str | None) -> None:
    """Tools for language models over standard input and output: signal, replay and track_record of a running server.

    They read, and change nothing.
    """
    if find_spec("mcp") is None:
        raise Unavailable(
            "the MCP server needs the package mcp, which the server itself does without: "
            "`pip install --require-hashes -r requirements-mcp.txt` installs it in a checkout, "
            "and `pip install 'WHEEL[mcp]'` beside the wheel",
            part="mcp",
        )
    if key and not KEY_FORM.fullmatch(key):
        raise click.ClickException("PREDICT_KEY holds characters that no key has")
    tools(Reader(server, key)).run("stdio")
