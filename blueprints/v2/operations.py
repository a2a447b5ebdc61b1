"""How v2's routes are declared: path, parameters and answer as types, from which the parameters are read, the answer is written
and the OpenAPI document is made (`blueprints/v2/openapi.py`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, Generic, TypeVar

from flask import Blueprint, Response, request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel, ValidationError
from pydantic_core import ErrorDetails

from app.errors import BadRequest, Fault, NotFound
from app.signals.policy import SUPPORTED
from blueprints.services import request_context, services
from blueprints.v2 import fields, streaming
from blueprints.v2.streaming import LineStream
from blueprints.v2.types import Answer, Page

MAX_SHOWN = 64
"""How much of a value that a client sent is repeated in an error."""

MAX_FAULTS = 10
"""How many faults an error lists."""

MESSAGES: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "is no parameter of this route",
    "enum": "must be {expected}",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "string_too_long": "must have at most {max_length} characters",
    **dict.fromkeys(("int_parsing", "int_parsing_size", "int_from_float"), "must be a whole number"),
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
}
"""What is wrong with a parameter, by the type of pydantic's error, whose own words are no sentence about a parameter."""


class Query(BaseModel):
    """The query of a route: a parameter that is not among the fields is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def named_tickers(self) -> tuple[str, ...]:
        """The tickers that the query is about."""
        return ()


class NoQuery(Query):
    """A route without a query."""


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in text.split(",")))


class FieldsQuery(Query):
    """Which members of an answer are sent."""

    fields: (
        Annotated[
            tuple[str, ...],
            BeforeValidator(_names),
            Field(json_schema_extra={"type": "array", "items": {"type": "string"}, "minItems": 1}),
        ]
        | None
    ) = None
    """Names of the members that the answer is to have, separated by commas. By default it has all. `signals.action` names a
    member of an object, or of each object of a list. The answer then has a media type of its own."""


Q = TypeVar("Q", bound=Query)
StreamLine = RootModel[Any]
View = Callable[..., Answer | LineStream]


@dataclass(frozen=True, slots=True)
class Operation(Generic[Q]):
    """One route: its path as OpenAPI writes it, the type of its query, that of its answer and that of the lines that it streams
    (None for what it does not give), and its name and description."""

    path: str
    query: type[Q]
    answer: type[Answer] | None
    lines: type[StreamLine] | None
    name: str
    description: str
    cached: bool

    @property
    def summary(self) -> str:
        """The first paragraph of the description in one line. It has no marks of Markdown, since they are not rendered."""
        return " ".join(self.description.split("\n\n")[0].split())

    @property
    def has_ticker(self) -> bool:
        return "{ticker}" in self.path

    @property
    def has_fields(self) -> bool:
        """Whether its answers may be partial."""
        return issubclass(self.query, FieldsQuery)


class Operations:
    """The routes of a blueprint, each with what the document says of it."""

    def __init__(self, blueprint: Blueprint) -> None:
        self._blueprint = blueprint
        self.all: list[Operation[Any]] = []

    def get(
        self,
        path: str,
        query: type[Q],
        answer: type[Answer] | None,
        *,
        lines: type[StreamLine] | None = None,
        cached: bool = False,
    ) -> Callable[[View], Callable[..., Response]]:
        """Registers a view at `path`, where `{ticker}` is a supported ticker: it gets the ticker, if there is one, and the
        query, and returns the answer, or the lines of a stream. Its docstring is the description. cached: the answer may be
        kept until something changes about its tickers."""

        def decorate(view: View) -> Callable[..., Response]:
            description = (view.__doc__ or "").strip()
            self.all.append(Operation(path, query, answer, lines, view.__name__, description, cached))

            @wraps(view)
            def respond(**path_values: str) -> Response:
                tickers = [supported(text) for text in path_values.values()]
                asked = query_of(query, request.args.to_dict(flat=False))
                names = names_in(asked, answer)
                about = (*tickers, *asked.named_tickers())
                validity = services().cache_validity(about) if cached else None
                found = view(*tickers, asked)
                if not isinstance(found, Answer):
                    return streaming.respond(found)
                request_context().cache_validity = validity
                with services().stages("shape"):
                    return json_response(found, names)

            self._blueprint.get(path.replace("{", "<").replace("}", ">"))(respond)
            return respond

        return decorate


def supported(ticker: str) -> str:
    """The ticker, upper case. Raises NotFound if it is not supported."""
    if ticker.upper() not in SUPPORTED:
        message = f"{ticker[:MAX_SHOWN]} is not supported: {', '.join(SUPPORTED)} are"
        raise NotFound(message, code="UNSUPPORTED_TICKER")
    return ticker.upper()


def names_in(query: Query, answer: type[Answer] | None) -> Sequence[str] | None:
    """The members that a query names; None if it asks for all of them. Raises BadRequest for those that the answer has not."""
    names = query.fields if isinstance(query, FieldsQuery) else None
    if names is None or answer is None:
        return None
    faults = list(fields.faults_of(names, answer))
    if faults:
        raise refused(faults)
    return names


def json_response(answer: Answer, names: Sequence[str] | None = None) -> Response:
    """The answer as JSON, or those of its members that are named; of a page that is not the last one with the link to the
    next."""
    include = None if names is None else fields.included(names, type(answer))
    media_type = "application/json" if names is None else fields.PARTIAL
    response = Response(answer.model_dump_json(include=include) + "\n", content_type=media_type)
    if isinstance(answer, Page) and answer.next is not None:
        response.headers.add("Link", f'<{answer.next}>; rel="next"')
    return response


def query_of(query: type[Q], values: Mapping[str, list[str]]) -> Q:
    """The query, typed. Raises BadRequest with one fault per parameter that is wrong, given twice, or unknown."""
    twice = [
        Fault(f"/{name}"[:MAX_SHOWN], "is given more than once") for name, given in values.items() if len(given) > 1
    ]
    try:
        found = query.model_validate({name: given[0] for name, given in values.items()})
    except ValidationError as exc:
        raise refused([*twice, *map(_fault, exc.errors(include_url=False))]) from None
    if twice:
        raise refused(twice)
    return found


def refused(faults: list[Fault]) -> BadRequest:
    """The error that names each fault of a query; a message completes the sentence "parameter NAME ..."."""
    said = "; ".join(f"parameter {fault.pointer[1:]} {fault.message}" for fault in faults[:MAX_FAULTS])
    return BadRequest(said, code="INVALID_PARAMETER", faults=faults[:MAX_FAULTS])


def _fault(error: ErrorDetails) -> Fault:
    name = str(error["loc"][0])[:MAX_SHOWN] if error["loc"] else ""
    return Fault(f"/{name}", _message(error))


def _message(error: ErrorDetails) -> str:
    """What is wrong with a value, completing the sentence "parameter NAME ...". A validator of ours says it itself."""
    text = MESSAGES.get(error["type"])
    return error["msg"].removeprefix("Value error, ") if text is None else text.format(**error.get("ctx", {}))
