"""`fields=`: answers with some of their members. Names are those of the members of an answer, and `member.inner` those of the
objects, or of the objects of the list, that a member holds. Such an answer has a media type of its own, since it lacks members
that the full answer promises."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import lru_cache
from typing import Any, Final, get_args

from pydantic import BaseModel

from app.errors import Fault

PARTIAL: Final = "application/vnd.predict.partial+json"
"""The media type of an answer that has only the members that were named."""

Json = dict[str, Any]
Include = dict[str, Any]


@lru_cache(maxsize=32)
def names_of(answer: type[BaseModel]) -> tuple[str, ...]:
    """All names that `fields` may have of an answer, in the order of its members."""
    return tuple(name for member, inner in _members(answer) for name in (member, *(f"{member}.{one}" for one in inner)))


def pattern_of(answer: type[BaseModel]) -> str:
    """A regular expression for these names. An enum would not do: client generators make the same word of `session_open` and
    `session.open`."""
    return f"^({'|'.join(names_of(answer))})$".replace(".", r"\.")


def faults_of(names: Sequence[str], answer: type[BaseModel]) -> Iterator[Fault]:
    """What is wrong with names, each with its place."""
    known = set(names_of(answer))
    for place, name in enumerate(names):
        if name not in known:
            yield Fault(f"/fields/{place}", "is no field of this answer")


def included(names: Iterable[str], answer: type[BaseModel]) -> Include:
    """What pydantic is to include of an answer for these names."""
    found: Include = {}
    for name in sorted(names, key=lambda name: name.count(".")):
        member, _, inner = name.partition(".")
        if not inner:
            found[member] = True
        elif found.get(member) is not True:
            parts = found.setdefault(member, {"__all__": {}} if _is_list(answer, member) else {})
            parts.get("__all__", parts)[inner] = True
    return found


def partial_schema(name: str, schemas: Mapping[str, Json]) -> Json:
    """The schema of a partial answer: that of the type `name`, of which no member must be there, nor one of the objects that
    its members hold."""
    loose: Json = _loose(schemas[name], schemas, depth=1)
    text = f"Those members of {name} that `fields` names."
    return {**loose, "description": text, "title": partial_name(name)}


def partial_name(name: str) -> str:
    """The name of the schema of a partial answer."""
    return f"Partial{name}"


def _members(answer: type[BaseModel]) -> Iterator[tuple[str, Sequence[str]]]:
    for name, field in answer.model_fields.items():
        inner = next(_objects(field.annotation), None)
        yield name, () if inner is None else list(_names(inner))


def _is_list(answer: type[BaseModel], member: str) -> bool:
    annotation: Any = answer.model_fields[member].annotation
    return getattr(annotation, "__origin__", None) is Sequence


def _objects(annotation: Any) -> Iterator[Any]:
    """The types with members that an annotation holds: `X`, `X | None`, `Sequence[X]`."""
    if isinstance(annotation, type) and (is_dataclass(annotation) or issubclass(annotation, BaseModel)):
        yield annotation
    elif getattr(annotation, "__origin__", None) is not dict:
        for part in get_args(annotation):
            yield from _objects(part)


def _names(of: Any) -> Iterator[str]:
    if is_dataclass(of):
        yield from (field.name for field in fields(of) if not field.metadata.get("exclude"))
    else:
        yield from of.model_fields


def _loose(schema: Json, schemas: Mapping[str, Json], depth: int) -> Json:
    """A schema whose objects, down to a depth, need no member."""
    if "$ref" in schema:
        target = schemas[schema["$ref"].rpartition("/")[2]]
        return _loose(target, schemas, depth) if "properties" in target else schema
    if "properties" in schema:
        kept = {key: value for key, value in schema.items() if key not in ("required", "title")}
        parts = schema["properties"].items()
        loose = {name: _loose(part, schemas, depth - 1) if depth else part for name, part in parts}
        return {**kept, "properties": loose}
    if "items" in schema:
        return {**schema, "items": _loose(schema["items"], schemas, depth)}
    if "anyOf" in schema:
        return {**schema, "anyOf": [_loose(kind, schemas, depth) for kind in schema["anyOf"]]}
    return schema
