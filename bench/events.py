"""The event that every server of `python -m bench.fan_out` sends: JSON of 600 bytes with a number, so that clients can tell
whether they got each one, whole and in its place."""

from __future__ import annotations

import os
from itertools import count
from typing import Final

ROOM: Final = "SPY"
NAME: Final = "price"
BYTES: Final = int(os.environ.get("EVENT_BYTES", "600"))
FIRST: Final = 10_000_000
"""The number of the first event. All numbers have eight digits."""

EPOCH: Final = "0000beef"
"""The sequence of the events of this server."""

HEAD: Final = b'{"n":'
TEXT: Final = ("open 612.25 high 613.10 low 611.90 close 612.75 " * (BYTES // 40))[
    : BYTES - len(HEAD) - 8 - len(',"text":""}')
]

numbers = count(FIRST)


def event(number: int) -> dict[str, object]:
    """The event as an object, for servers that encode it themselves."""
    return {"n": number, "text": TEXT}


def body(number: int) -> bytes:
    """The event as JSON."""
    return b'%b%d,"text":"%b"}' % (HEAD, number, TEXT.encode())


def packet(number: int) -> bytes:
    """The event as a packet of Socket.IO."""
    return b'42["%b",%b]' % (NAME.encode(), body(number))
