"""The faults of the simulated provider by name, and the one that is active."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from app.market.feed_transport import AGGREGATES
from app.market.polygon import Reply
from app.simulator import market_faults, response_faults, row_faults
from app.simulator.market_faults import EditReply
from app.simulator.messages import HttpResponse, Options, ReceivedCall, response_of, send
from app.simulator.plans import NO_TIMEFRAME
from app.simulator.response_faults import EditResponse, Send, always
from app.simulator.row_faults import EditBody, of_minutes, of_rows

UNKNOWN_KEY = Reply(401, {"status": "ERROR", "error": "Unknown API Key"})
REJECTED = Reply(200, {"status": "ERROR", "error": "The request was rejected."})


@dataclass(frozen=True, slots=True)
class Fault:
    """A way in which the provider fails. `help`: what a client sees; `options`: names and defaults; `edit_body`: changes the
    body of an aggregates response, the only response that such a fault affects; `edit_reply`: changes any good reply, by what
    was asked and when; `edit_response`: changes any response; `send`: how the response goes over the connection."""

    help: str
    options: Options = field(default_factory=dict)
    edit_body: EditBody | None = None
    edit_reply: EditReply = market_faults.unchanged
    edit_response: EditResponse = response_faults.unchanged
    send: Send = send

    def affects(self, path: str) -> bool:
        """Whether the fault can affect a response to `path`."""
        return self.edit_body is None or AGGREGATES.fullmatch(path) is not None

    def response(self, reply: Reply, options: Options, call: ReceivedCall) -> HttpResponse:
        """Returns what is sent in place of the good `reply` to `call`."""
        if self.edit_body is not None and reply.status == 200:
            reply = reply._replace(body=self.edit_body(reply.body, options, call))
        if reply.status == 200:
            reply = self.edit_reply(reply, options, call)
        return self.edit_response(response_of(reply), options)


@dataclass(slots=True)
class ActiveFault:
    """The fault that is active. `only`: a part of the paths that it affects; `times`: calls that it still affects, None for no
    limit."""

    fault: str
    only: str
    times: int | None
    options: dict[str, float]


@dataclass(frozen=True, slots=True)
class FaultHit:
    """A fault as it affects one call. `ended` is set when the fault is cleared."""

    fault: Fault
    options: Options
    ended: threading.Event


FAULTS: Mapping[str, Fault] = {
    "401": Fault("the key is not known", edit_response=always(response_of(UNKNOWN_KEY))),
    "403": Fault("the plan does not reach to these days", edit_response=always(response_of(NO_TIMEFRAME))),
    "429": Fault(
        "the call limit is reached; says for how long", {"retry_after": 7.0}, edit_response=response_faults.over_limit
    ),
    "429-bare": Fault("the call limit is reached; says nothing", edit_response=always(HttpResponse(429))),
    "500": Fault("fails, with an empty body", edit_response=always(HttpResponse(500))),
    "502-html": Fault("a gateway's page instead of JSON", edit_response=always(response_faults.BAD_GATEWAY)),
    "empty-200": Fault("200 without a byte of body", edit_response=always(HttpResponse(200))),
    "error-200": Fault("200 whose status is ERROR", edit_response=always(response_of(REJECTED))),
    "delayed": Fault("the good answer, marked DELAYED", edit_response=response_faults.marked_delayed),
    "slow": Fault("the good answer after some seconds", {"seconds": 5.0}, send=response_faults.send_late),
    "truncated-json": Fault("JSON cut in the middle, its length right", edit_response=response_faults.halved),
    "broken-gzip": Fault(
        "a gzip stream cut in the middle, its length right", edit_response=response_faults.half_zipped
    ),
    "trickle": Fault(
        "a byte every so many seconds, never the last one", {"seconds": 0.2}, send=response_faults.trickle
    ),
    "silence": Fault("reads the request and says nothing", send=response_faults.send_nothing),
    "reset": Fault("resets the connection", send=response_faults.reset),
    "short-body": Fault("closes before the announced length is sent", send=response_faults.send_short),
    "nan-prices": Fault("one row in five closes at NaN", edit_body=of_rows(row_faults.with_nan)),
    "negative-prices": Fault("one row in five has negative prices", edit_body=of_rows(row_faults.with_negative)),
    "unsorted": Fault("rows out of order", edit_body=of_rows(row_faults.unsorted)),
    "duplicates": Fault("one row in five comes twice", edit_body=of_rows(row_faults.with_duplicates)),
    "missing-minute": Fault(
        "one minute in seven is missing, never the newest", edit_body=of_minutes(row_faults.with_holes)
    ),
    "cut-day": Fault("no rows from an hour (New York) on", {"hour": 11.0}, edit_body=of_rows(row_faults.cut_day)),
    "midday-hole": Fault(
        "no rows between two hours (New York)",
        {"first": 10.5, "last": 11.5},
        edit_body=of_rows(row_faults.with_midday_hole),
    ),
    "missing-row": Fault(
        "a row (its start, ms; the middle one) is missing", {"start": 0.0}, edit_body=of_rows(row_faults.without_row)
    ),
    "yesterday": Fault("rows stamped 24 hours early", edit_body=of_rows(row_faults.of_yesterday)),
    "empty": Fault("no rows, status OK", edit_body=row_faults.without_rows),
    "next-url-loop": Fault("the next page is this one, for ever", edit_body=row_faults.next_page_is_this_one),
    "next-url-foreign": Fault("the next page is on another host", edit_body=row_faults.next_page_is_elsewhere),
    "clock-skew": Fault(
        "the provider's clock is so many seconds ahead",
        {"seconds": 300.0},
        edit_response=response_faults.with_clock_skew,
    ),
    "old-snapshot": Fault(
        "today has no daily bar, and the snapshot is that of so many days ago, its prices multiplied by a factor",
        {"days": 1.0, "factor": 0.97},
        edit_reply=market_faults.with_old_snapshot,
    ),
    "snapshot-500": Fault("today has no daily bar, and snapshots fail", edit_reply=market_faults.with_failing_snapshot),
    "unscheduled-closure": Fault(
        "a day (yyyymmdd; 0: today) is announced as closed and has no bars",
        {"day": 0.0},
        edit_reply=market_faults.with_closure,
    ),
    "early-close": Fault(
        "an early close of a day (yyyymmdd; 0: today) is announced, and its bars end then",
        {"day": 0.0, "hour": 13.0},
        edit_reply=market_faults.with_early_close,
    ),
    "split": Fault(
        "prices before a moment (ms) divided by a factor",
        {"factor": 2.0, "before": 2.0**62},
        edit_body=of_rows(row_faults.split),
    ),
    "future-bars": Fault(
        "two more minutes, stamped one and two hours after the newest",
        edit_body=of_minutes(row_faults.with_future_minutes),
    ),
    "frozen": Fault(
        "no minute from a moment (ms) on, however late it is", {"since": 0.0}, edit_body=of_minutes(row_faults.frozen)
    ),
}


def active_fault(name: str, only: str, times: int | None, options: Options) -> ActiveFault:
    """Returns the fault `name` with these options and the defaults of the others. Raises ValueError, which names the faults or
    the options that exist."""
    fault = FAULTS.get(name)
    if fault is None:
        raise ValueError(f"no fault {name}; there are {', '.join(FAULTS)}")
    if unknown := options.keys() - fault.options.keys():
        raise ValueError(f"{name} has no option {', '.join(sorted(unknown))}; it has {list(fault.options)}")
    if times is not None and times < 1:
        raise ValueError("times must be at least 1")
    return ActiveFault(name, only, times, {**fault.options, **options})


def fault_of_query(name: str, query: str) -> ActiveFault:
    """Returns the fault `name` with the options of a control request. Raises ValueError."""
    parameters: dict[str, str] = dict(parse_qsl(query))
    only, times = parameters.pop("only", ""), parameters.pop("times", None)
    options = {option: _finite(value) for option, value in parameters.items()}
    return active_fault(name, only, None if times is None else int(times), options)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a finite number")
    return value
