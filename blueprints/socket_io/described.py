"""Closed lists of words, each with its meaning, so that documents and pages say what each word means."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import GetJsonSchemaHandler


class Described(StrEnum):
    """A word of a closed list. meaning: when it is sent; advice: what the client should do."""

    meaning: str
    advice: str

    def __new__(cls, word: str, meaning: str, advice: str) -> Described:
        member = str.__new__(cls, word)
        member._value_ = word
        member.meaning, member.advice = meaning, advice
        return member

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema of the list, whose description has the meaning of each word."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        words = "\n".join(f"- `{member.value}`: {member.meaning}" for member in cls)
        schema["description"] = f"{' '.join((cls.__doc__ or '').split())}\n\n{words}"
        return schema
