"""Processes of their own that extend the sequence of SPY in a log: PLACE is the address of a Redis or the path of a file.

`python -m tests.live.racing PLACE`: several race for it until there are EVENTS, and each has appended one; a line for each that
was appended.
`python -m tests.live.racing PLACE obey`: one does what its input says, and answers each line: `lead`, or `append` without a
look at whether it leads.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from app.clock import REAL_TIME
from app.live.event_log import EventLog, Head, SqliteEventLog
from app.live.live_event import Kind, LiveEvent, Noticed, Position
from app.live.redis_event_log import RedisEventLog
from app.redis_database import RedisDatabase
from tests.waiting import PATIENCE_S

EVENTS = 40
PROCESSES = 4
NOTICED = Noticed(datetime(2025, 3, 11, 14, 30, 7, tzinfo=UTC), None, None, "gate", "open current")


def opened(place: str) -> EventLog:
    if place.startswith("redis://"):
        return RedisEventLog(RedisDatabase(place, PATIENCE_S), "predict:live:race", REAL_TIME)
    return SqliteEventLog(Path(place), REAL_TIME)


def append(log: EventLog, name: str) -> str | None:
    """Append the next event. Returns its body if that was possible."""
    known = log.head("SPY")
    if known is None:
        log.append("SPY", None, [], Head(Position("aaaaaaaa", 0), NOTICED, b"{}"))
        return None
    position = known.position.forward(1)
    body = f"{position.seq}-by-{name}"
    event = LiveEvent("SPY", Kind.PRICE, position, body.encode())
    return body if log.append("SPY", known.position, [event], Head(position, NOTICED, b"{}")) else None


def race(place: str, name: str) -> None:
    log, count = opened(place), 0
    while not count or (known := log.head("SPY")) is None or known.position.seq < EVENTS:
        body = append(log, name) if log.leads("SPY") else None
        if body is not None:
            os.write(1, f"{body}\n".encode())
            count += 1
            log.resign("SPY")
        REAL_TIME.sleep(0.001)
    log.close()


def start_race(place: str) -> None:
    for number in range(PROCESSES):
        if os.fork() == 0:
            race(place, str(number))
            os._exit(0)  # to tidy up what was imported takes longer than the race
    for _ in range(PROCESSES):
        os.wait()


def obey(place: str) -> None:
    log = opened(place)
    for line in sys.stdin:
        print(append(log, "other") if line == "append\n" else log.leads("SPY"), flush=True)


if __name__ == "__main__":
    obey(sys.argv[1]) if sys.argv[2:] else start_race(sys.argv[1])
