"""How the lines of a stream are written: as JSON lines, or as server-sent events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from werkzeug.datastructures import MIMEAccept

from blueprints.v2.types import Answer


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a stream. id: where a client that lost its connection goes on from; None for a line that is no such place."""

    body: Answer
    id: str | None = None


@dataclass(frozen=True, slots=True)
class LineFormat:
    """A media type, and how it writes a line."""

    content_type: str
    encode: Callable[[Line], bytes]


def json_line(line: Line) -> bytes:
    """One JSON object and a line feed (jsonlines.org)."""
    return line.body.model_dump_json().encode() + b"\n"


def server_sent_event(line: Line) -> bytes:
    """A message without a name, so that `onmessage` hears it; its data is the JSON line (HTML standard, 9.2)."""
    head = b"" if line.id is None else f"id: {line.id}\n".encode()
    return head + b"data: " + json_line(line) + b"\n"


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
