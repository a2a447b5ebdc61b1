"""Writes the types of Socket.IO's messages in Python and in TypeScript, from the committed AsyncAPI document. `make asyncapi`
runs it; a test compares what it makes with what is committed."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
DOCUMENT: Final = ROOT / "blueprints" / "socket_io" / "asyncapi.json"
PYTHON: Final = ROOT / "clients" / "python" / "predict_client" / "live_events.py"
TYPESCRIPT: Final = ROOT / "clients" / "typescript" / "live-events.d.ts"
WIDTH: Final = 118
WHENCE: Final = "`make asyncapi` makes them from the AsyncAPI document of the predict server."
MOMENT: Final = "A moment, ISO 8601 with its offset."
ABOUT_A_TICKER: Final = "What is sent about a ticker, heartbeats aside. `kind` says which one it is."

Json = Mapping[str, Any]


class Words(NamedTuple):
    """How a language writes types. listed, mapped: the type of a list, and of an object whose keys are any texts, with `{}` for
    that of the entries."""

    scalars: Mapping[str, str]
    listed: str
    mapped: str
    literal: str


PYTHON_WORDS: Final = Words(
    {
        "string": "str",
        "integer": "int",
        "number": "float",
        "boolean": "bool",
        "null": "None",
        "object": "dict[str, object]",
    },
    "list[{}]",
    "dict[str, {}]",
    "Literal[{}]",
)
TYPESCRIPT_WORDS: Final = Words(
    {
        "string": "string",
        "integer": "number",
        "number": "number",
        "boolean": "boolean",
        "null": "null",
        "object": "object",
    },
    "ReadonlyArray<{}>",
    "Readonly<Record<string, {}>>",
    "{}",
)


class Field(NamedTuple):
    """A member of an object. type: as the language writes it; None where it may not be there."""

    name: str
    type: str | None
    required: bool
    about: str


def type_of(schema: Json, words: Words) -> str:
    """The type of a value. Raises KeyError for a schema of a kind that the document did not have so far."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "allOf" in schema:
        return type_of(schema["allOf"][0], words)
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(type_of(kind, words) for kind in schema["anyOf"]))
    if "const" in schema:
        return words.literal.format(json.dumps(schema["const"]))
    if schema["type"] == "array":
        return words.listed.format(type_of(schema["items"], words))
    if isinstance(schema.get("additionalProperties"), Mapping):
        return words.mapped.format(type_of(schema["additionalProperties"], words))
    return "Moment" if schema.get("format") == "date-time" else words.scalars[schema["type"]]


def fields_of(schema: Json, words: Words, required: Sequence[str] = (), absent: Sequence[str] = ()) -> Iterator[Field]:
    """The members of an object. required, absent: those that one of its alternatives needs and those that it has not."""
    needed = {*schema.get("required", ()), *required}
    for name, field in schema["properties"].items():
        kind = None if name in absent else type_of(field, words)
        yield Field(name, kind, name in needed, _flat(field.get("description", "")))


def alternatives(name: str, schema: Json) -> Mapping[str, tuple[Sequence[str], Sequence[str]]]:
    """The alternatives of an object by the name of the type of each: which members it needs, and which it has not."""
    needs = [tuple(kind["required"]) for kind in schema.get("oneOf", ())]
    every = {field for need in needs for field in need}
    return {f"{name}By{_camel(need[0])}": (need, sorted(every - {*need})) for need in needs}


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _flat(text: str) -> str:
    return " ".join(text.split())


def _lines(text: str, width: int) -> list[str]:
    """The lines of a description, whose paragraphs are texts or lists of points."""
    wrapped = [
        [line for part in _parts(paragraph) for line in _wrapped(part, width)] for paragraph in text.split("\n\n")
    ]
    return [line for place, lines in enumerate(wrapped) for line in ([""] if place else []) + lines]


def _parts(paragraph: str) -> list[str]:
    return paragraph.split("\n") if paragraph.startswith("- ") else [_flat(paragraph)]


def _wrapped(part: str, width: int) -> list[str]:
    return textwrap.wrap(part, width, subsequent_indent="  " if part.startswith("- ") else "")


# --- Python ---


def python(document: Json) -> str:
    """The module of the Python client."""
    parts = [f'"""The messages of Socket.IO as types. {WHENCE}"""', PYTHON_IMPORTS, f'Moment = str\n"""{MOMENT}"""']
    for name, schema in document["components"]["schemas"].items():
        parts += _python_enum(name, schema) if "enum" in schema else _python_classes(name, schema)
    parts.append(f'LiveEvent = {" | ".join(_with_offset(document))}\n"""{ABOUT_A_TICKER}"""')
    return parts[0] + "".join(_python_gap(*pair) + pair[1] for pair in pairwise(parts)) + "\n"


def _python_gap(before: str, after: str) -> str:
    """The line ends between two parts: two empty lines around a class."""
    return "\n\n\n" if "class " in (before[:6], after[:6]) else "\n\n"


PYTHON_IMPORTS: Final = "from __future__ import annotations\n\nfrom typing import Literal, NotRequired, TypedDict"


def _python_enum(name: str, schema: Json) -> list[str]:
    values = "".join(f"    {json.dumps(value)},\n" for value in schema["enum"])
    return [f"{name} = Literal[\n{values}]\n{_docstring(schema, '')}"]


def _python_classes(name: str, schema: Json) -> Iterator[str]:
    kinds = alternatives(name, schema)
    for kind, (required, absent) in (kinds or {name: ((), ())}).items():
        members = [field for field in fields_of(schema, PYTHON_WORDS, required, absent) if field.type is not None]
        body = "".join(map(_python_field, members))
        yield f"class {kind}(TypedDict):\n{_docstring(schema, '    ')}\n\n{body}".rstrip()
    if kinds:
        yield f"{name} = {' | '.join(kinds)}"


def _python_field(field: Field) -> str:
    kind = field.type if field.required else f"NotRequired[{field.type}]"
    return "".join(f"    # {line}\n" for line in textwrap.wrap(field.about, WIDTH - 6)) + f"    {field.name}: {kind}\n"


def _docstring(schema: Json, indent: str) -> str:
    lines = _lines(schema.get("description", ""), WIDTH - len(indent) - 6)
    text = f"\n{indent}".join(lines).replace(f"\n{indent}\n", "\n\n")
    return f'{indent}"""{text}"""'


def _with_offset(document: Json) -> list[str]:
    """The types of the events that an offset follows, which are those with a number."""
    messages = document["components"]["messages"].values()
    return [_payload(message) for message in messages if message["x-offset"] == "always"]


def _payload(message: Json) -> str:
    return str(message["payload"]["$ref"]).rpartition("/")[2]


# --- TypeScript ---


def typescript(document: Json) -> str:
    """The declarations for TypeScript, with the maps of events that `Socket` of `socket.io-client` takes."""
    parts = [f"// The messages of Socket.IO as types. {WHENCE}", f"/** {MOMENT} */\nexport type Moment = string"]
    for name, schema in document["components"]["schemas"].items():
        parts += _typescript_enum(name, schema) if "enum" in schema else _typescript_types(name, schema)
    return "\n\n".join([*parts, *_typescript_maps(document)]) + "\n"


def _typescript_enum(name: str, schema: Json) -> list[str]:
    values = "".join(f"\n  | {json.dumps(value)}" for value in schema["enum"])
    return [f"{_jsdoc(schema.get('description', ''), '')}export type {name} ={values}"]


def _typescript_types(name: str, schema: Json) -> Iterator[str]:
    kinds = alternatives(name, schema)
    more = "" if schema.get("additionalProperties") is False else "  readonly [key: string]: unknown\n"
    for kind, (required, absent) in (kinds or {name: ((), ())}).items():
        members = fields_of(schema, TYPESCRIPT_WORDS, required, absent)
        body = "".join(map(_typescript_field, members)) + more
        yield f"{_jsdoc(schema.get('description', ''), '')}export interface {kind} {{\n{body}}}"
    if kinds:
        yield f"export type {name} = {' | '.join(kinds)}"


def _typescript_field(field: Field) -> str:
    mark = "" if field.required else "?"
    return f"{_jsdoc(field.about, '  ')}  readonly {field.name}{mark}: {field.type or 'never'}\n"


def _jsdoc(text: str, indent: str) -> str:
    lines = _lines(text, WIDTH - len(indent) - 6)
    if not lines:
        return ""
    return f"{indent}/** {lines[0]}" + "".join(f"\n{indent} * {line}".rstrip() for line in lines[1:]) + " */\n"


def _typescript_maps(document: Json) -> Iterator[str]:
    sent = [_listener(message) for message in _messages(document, "send")]
    received = [_emitter(message) for message in _messages(document, "receive")]
    yield f"/** {ABOUT_A_TICKER} */\nexport type LiveEvent = {' | '.join(_with_offset(document))}"
    yield "export interface ServerToClientEvents {\n" + "".join(sent) + "}"
    yield "export interface ClientToServerEvents {\n" + "".join(received) + "}"


def _messages(document: Json, action: str) -> Iterator[Json]:
    """The events that the server sends or receives, in their order; what the client library itself sends is none of them."""
    for name, operation in document["operations"].items():
        if operation["action"] == action and name != "connect":
            yield document["components"]["messages"][name]


def _listener(message: Json) -> str:
    offset = {"never": "", "null": ", offset: null"}.get(message["x-offset"], ", offset: string | null")
    return f"  {message['name']}: (event: {_payload(message)}{offset}) => void\n"


def _emitter(message: Json) -> str:
    return (
        f"  {message['name']}: (message: {_payload(message)}, acknowledge: (answer: Acknowledgement) => void) => void\n"
    )


def main() -> None:
    document = json.loads(DOCUMENT.read_text())
    PYTHON.write_text(python(document))
    TYPESCRIPT.parent.mkdir(exist_ok=True)
    TYPESCRIPT.write_text(typescript(document))


if __name__ == "__main__":
    main()
