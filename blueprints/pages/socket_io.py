"""The page about the Socket.IO protocol: the AsyncAPI document as one table for each message and each type."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from html import escape
from typing import Any, Final

from blueprints.pages.files import content_of
from blueprints.pages.html import page, table, text_with_code
from blueprints.socket_io.asyncapi import ACKNOWLEDGEMENT, ANSWERS, CONNECT, RECEIVED, SENT, Event
from blueprints.socket_io.described import Described
from blueprints.socket_io.socket_types import ByeReason, ErrorCode

Json = Mapping[str, Any]
EXAMPLE: Final = """\
import { io } from "socket.io-client"

const after = {}
const socket = io("http://127.0.0.1:8000", { auth: (give) => give({ subscribe: ["SPY", "QQQ"], after }) })

function show(event) {
  after[event.ticker] = event.id
  console.log(event.ticker, event.kind, event.signal.action, `(${event.freshness} at ${event.generated_at})`)
}

socket.on("snapshot", show).on("signal", show)
"""
"""The shortest client in JavaScript, as in docs/socket-io.md."""

FURTHER: Final = (
    '<p>The same as a document for programs: <a href="/asyncapi.json">AsyncAPI 3.0</a>. The routes of version 2: '
    '<a href="/docs">the page of its routes</a>; errors of HTTP: <a href="/docs/errors">the page of error codes</a>. How a '
    "client comes back, notices silence and tells replayed events from live ones is described in "
    "<code>docs/socket-io.md</code> of the project, and shown by whole programs in its folder <code>examples/</code>.</p>\n"
)
MOMENT: Final = "A moment is a text, ISO 8601 with its offset."
ABOUT_EXAMPLE: Final = (
    "The shortest client in JavaScript, with the package `socket.io-client`. It prints the signals of two tickers as they "
    "change, and goes on behind the last event after every lost connection."
)
HEAD: Final = "<tr><th>field</th><th>type</th><th>meaning</th></tr>\n"
SECTIONS: Final[Mapping[str, tuple[Event, ...]]] = {
    "Connecting": (CONNECT, *ANSWERS),
    "What a client sends": (*RECEIVED, ACKNOWLEDGEMENT),
    "What the server sends": SENT,
}

ANCHORS: Final = {event.payload.__name__: event.name for events in SECTIONS.values() for event in events}
"""Where the page shows the types that are messages."""


@lru_cache(maxsize=1)
def socket_io_page() -> str:
    """Every message with its fields and an example, every type in them, the codes of errors and the reasons of a goodbye."""
    document = json.loads(content_of("/asyncapi.json").body)
    parts = [f"<h1>Live events</h1>\n{_paragraphs(document['info']['description'])}{_paragraphs(MOMENT)}{FURTHER}"]
    parts.append(f"<h2>A client</h2>\n{_paragraphs(ABOUT_EXAMPLE)}<pre><code>{escape(EXAMPLE)}</code></pre>\n")
    for title, events in SECTIONS.items():
        parts.append(f"<h2>{title}</h2>\n")
        parts += (_message(document, event) for event in events)
    parts += (_words("Codes of errors", ErrorCode), _words("Reasons of a goodbye", ByeReason), "<h2>Types</h2>\n")
    parts += _types(document)
    return page("Live events", f"<main>\n{''.join(parts)}</main>\n")


def _message(document: Json, event: Event) -> str:
    message, schemas = document["components"]["messages"][event.name], document["components"]["schemas"]
    said = " ".join(text for text in (message["summary"], message.get("description")) if text)
    return (
        f'<h3 id="{event.name}"><a href="#{event.name}"><code>{event.name}</code></a></h3>\n<p>{text_with_code(said)}</p>\n'
        f"{_fields(schemas[event.payload.__name__])}{''.join(_examples(message))}"
    )


def _examples(message: Json) -> Iterator[str]:
    for example in message.get("examples", ()):
        text = json.dumps(example["payload"], indent=1, ensure_ascii=False)
        yield f"<details><summary>Example</summary><pre>{escape(text)}</pre></details>\n"


def _fields(schema: Json) -> str:
    needed = schema.get("required", ())
    return table(HEAD, "".join(_row(name, field, name in needed) for name, field in schema["properties"].items()))


def _row(name: str, field: Json, is_needed: bool) -> str:
    kind = type_in_words(field) + ("" if is_needed else ", may be left out")
    return (
        f"<tr><td><code>{name}</code></td><td>{kind}</td><td>{text_with_code(field.get('description', ''))}</td></tr>\n"
    )


def type_in_words(schema: Json) -> str:
    """The type of a field as HTML; a type with a name is a link to its table."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f'<a href="#{ANCHORS.get(name, f"type-{name}")}">{name}</a>'
    for several in ("allOf", "anyOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(map(type_in_words, schema[several])))
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    if schema["type"] == "array":
        return f"list of {type_in_words(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), Mapping):
        return f"object by ticker, of {type_in_words(schema['additionalProperties'])}"
    return "moment" if schema.get("format") == "date-time" else str(schema["type"])


def _types(document: Json) -> Iterator[str]:
    """The types that messages hold, and that are no messages themselves."""
    for name, schema in document["components"]["schemas"].items():
        if name not in ANCHORS:
            body = _fields(schema) if "properties" in schema else _values(schema["enum"])
            said = "" if name in LISTED else _paragraphs(schema.get("description", ""))
            yield f'<h3 id="type-{name}"><code>{name}</code></h3>\n{said}{body}'


LISTED: Final = {ErrorCode.__name__, ByeReason.__name__}
"""Types whose values have a table of their own."""


def _values(values: Iterable[object]) -> str:
    return f"<p>{', '.join(f'<code>{escape(json.dumps(value))}</code>' for value in values)}</p>\n"


def _words(title: str, words: type[Described]) -> str:
    head = "<tr><th>word</th><th>what it means</th><th>what to do</th></tr>\n"
    rows = "".join(
        f'<tr id="{word}"><td><a href="#{word}"><code>{word}</code></a></td><td>{text_with_code(word.meaning)}</td>'
        f"<td>{text_with_code(word.advice)}</td></tr>\n"
        for word in words
    )
    return f"<h2>{title}</h2>\n{table(head, rows)}"


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{text_with_code(part)}</p>\n" for part in text.split("\n\n") if part)
