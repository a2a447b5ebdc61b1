"""How the lines of a stream are written: as JSON lines, or as server-sent events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from werkzeug.datastructures import MIMEAccept

from app.live.live_event import LiveEvent
from blueprints.streams import chunk_of
from blueprints.v2.types import Answer


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a stream. id: where a client that lost its connection goes on from; None for a line that is no such place.
    retry_after_ms: when a client may ask again, if it is the last line of a stream that can go on."""

    body: Answer
    id: str | None = None
    retry_after_ms: int | None = None


CHUNK: Final = " chunk"
"""Behind the name of a format: the encoding of an event as a chunk in this format."""

Encode = Callable[[bytes, str | None, int | None], bytes]
"""Writes the JSON, the id and `retry_after_ms` of a line."""


@dataclass(frozen=True, slots=True)
class LineFormat:
    """A media type, and how it writes a line. A live event is written once in each format, for all who follow."""

    content_type: str
    encode: Encode

    def chunk(self, event: LiveEvent) -> bytes:
        """The line of an event as a chunk of a response."""
        return event.encoded(self.content_type + CHUNK, lambda event: chunk_of(self.write(event)))

    def write(self, line: Line | LiveEvent) -> bytes:
        if isinstance(line, LiveEvent):
            return line.encoded(self.content_type, lambda event: self.encode(event.body, event.id, None))
        return self.encode(line.body.model_dump_json().encode(), line.id, line.retry_after_ms)


def json_line(body: bytes, id: str | None = None, retry_after_ms: int | None = None) -> bytes:
    """One JSON object and a line feed (jsonlines.org)."""
    return body + b"\n"


def server_sent_event(body: bytes, id: str | None, retry_after_ms: int | None) -> bytes:
    """A message without a name, so that `onmessage` hears it; its data is the JSON line (HTML standard, 9.2)."""
    head = "" if id is None else f"id: {id}\n"
    head += "" if retry_after_ms is None else f"retry: {retry_after_ms}\n"
    return head.encode() + b"data: " + json_line(body) + b"\n"


JSON_LINES: Final = LineFormat("application/jsonl", json_line)
FORMATS: Final = (
    JSON_LINES,
    LineFormat("application/x-ndjson", json_line),
    LineFormat("text/event-stream; charset=utf-8", server_sent_event),
)
EVENT_STREAM: Final = FORMATS[2]


def format_for(accept: MIMEAccept) -> LineFormat:
    """The format that an `Accept` header prefers. JSON lines where it prefers none of them."""
    names = {one.content_type.partition(";")[0]: one for one in FORMATS}
    return names[accept.best_match(list(names), default="application/jsonl")]
