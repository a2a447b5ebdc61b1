"""The shape of an error of v2 (RFC 9457), for the document; `blueprints/errors.py` writes it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ConfigDict

from blueprints.v2.types import Answer


class Fault(Answer):
    """One thing that is wrong with a request."""

    pointer: str
    """Where, as a JSON pointer (RFC 6901) into the parameters or the body."""
    detail: str


class Problem(Answer):
    """An error (RFC 9457). Fields that say nothing are left out."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    type: str
    """The kind of error, as a reference to its description: `/docs/errors#CODE` on the server that answered."""
    title: str
    """The kind of error in short; the same for every error of its kind."""
    status: int
    detail: str
    """What happened, in words."""
    instance: str
    """The path that was asked for."""
    error_code: str
    """The kind of error, for programs; `/docs/errors` lists all."""
    request_id: str
    trace_id: str
    usage: str | None = None
    """How the request could be written."""
    errors: Sequence[Fault] | None = None
    """Each thing that is wrong, where several are known."""
