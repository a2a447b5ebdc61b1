"""The OpenAPI document of v2: valid, made from the types, and complete."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import SecretStr

from app.clock import REAL_TIME
from app.factory import openapi
from app.notify.sending import Sender
from blueprints import GROUPS
from blueprints.error_codes import codes_of
from blueprints.v2 import schemas
from blueprints.v2.openapi import OF_V1
from tests.blueprints.v2.calls import call, document, valid
from tests.notify.messages import SECRET, message

Serve = Callable[..., Flask]
GETS = {path: found["get"] for path, found in document()["paths"].items()}
WEBHOOKS = {kind: found["post"] for kind, found in document()["webhooks"].items()}


def test_the_committed_document_is_the_one_that_the_types_make() -> None:
    """After a change: make openapi."""
    assert document() == openapi.made()


def texts(node: object, names: tuple[str, ...]) -> Iterator[str]:
    """All texts under these names, at whatever depth."""
    if isinstance(node, dict):
        yield from (node[name] for name in names if isinstance(node.get(name), str))
    for member in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from texts(member, names)


def test_the_document_cites_no_page_that_its_readers_do_not_have() -> None:
    cited = re.compile(r"\w\.md\b|\bruling|\([A-Z]\d+\)")
    said = list(texts(document(), ("description", "summary")))
    assert len(said) > 300
    assert [text for text in said if cited.search(text)] == []


def test_the_summary_of_a_route_has_no_marks_of_markdown() -> None:
    assert [operation["summary"] for operation in GETS.values() if re.search(r"[`*_]", operation["summary"])] == []


def test_the_document_is_valid_openapi_3_1() -> None:
    assert document()["openapi"] == "3.1.1"
    OpenAPIV31SpecValidator(document()).validate()


def test_the_documented_paths_are_v2s_routes(standing: Flask) -> None:
    rules = [rule for rule in standing.url_map.iter_rules() if rule.endpoint.startswith("v2.")]
    assert {rule.rule.replace("<", "{").replace(">", "}") for rule in rules} == set(document()["paths"])
    assert all((rule.methods or set()) - {"HEAD", "OPTIONS"} == {"GET"} for rule in rules)


@pytest.mark.parametrize("path", sorted(document()["paths"]))
def test_every_path_documents_every_status_a_client_may_meet(path: str) -> None:
    for status in (200, 400, 401, 404, 405, 410, 413, 429, 500, 503):
        assert str(status) in document()["paths"][path]["get"]["responses"], status


def objects(schema: object, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object schema below, with its place."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield where, schema
        for key, member in schema.items():
            yield from objects(member, f"{where}/{key}")
    elif isinstance(schema, list):
        for place, member in enumerate(schema):
            yield from objects(member, f"{where}/{place}")


def test_every_object_is_closed_and_every_type_described() -> None:
    found = list(objects(document()["components"]["schemas"]))
    assert len(found) > 50
    assert [where for where, schema in found if "additionalProperties" not in schema] == []
    assert [where for where, schema in found if where.count("/") == 1 and not schema.get("description")] == []
    enums = {name: schema for name, schema in document()["components"]["schemas"].items() if "enum" in schema}
    assert len(enums) > 20
    assert [name for name, schema in enums.items() if not schema.get("description")] == []


# --- names of schemas ---


def test_schemas_have_the_keywords_of_json_schema_alone() -> None:
    """pydantic writes `gt` for a bound that stands behind a validator, which no reader of schemas knows."""
    text = json.dumps(document()["components"]["schemas"])
    assert not re.search(r'"(gt|ge|lt|le)": [-0-9]', text)
    assert '"exclusiveMinimum": 0' in text


def test_a_schema_has_the_name_that_is_promised_whatever_its_class_is_called() -> None:
    named = {name for names in schemas.NAMES.values() for name in names.values()}
    own = {name for name in document()["components"]["schemas"] if name not in named}
    assert named <= set(document()["components"]["schemas"]), "a name that no schema has any more is taken out of NAMES"
    assert all(schemas.schema_name(f"blueprints.v2.types.{name}") == name for name in own)
    assert not any("__" in name for name in own)
    assert all(schema["title"] == name for name, schema in document()["components"]["schemas"].items())


def test_no_two_types_share_a_name() -> None:
    """Pydantic names both after their modules then, which generators of clients cut off again."""
    named = [name for names in schemas.NAMES.values() for name in names.values()]
    assert len(set(named)) == len(named)
    names = list(document()["components"]["schemas"])
    assert [name for name in names if "__" in name] == []
    assert len({name.lower() for name in names}) == len(names)


def test_a_renamed_type_of_the_domain_is_noticed_and_not_renamed_for_clients() -> None:
    assert schemas.schema_name("app.structure.terms.Memory") == "SessionMemory"
    with pytest.raises(LookupError, match=r"NAMES has no name for the schema of app\.structure\.terms\.Remembered"):
        schemas.schema_name("app.structure.terms.Remembered")


def test_every_field_of_an_answer_is_required_and_of_a_problem_those_that_are_always_there() -> None:
    found = document()["components"]["schemas"]
    assert set(found["Lock"]["required"]) == set(found["Lock"]["properties"])
    assert set(found["Problem"]["properties"]) - set(found["Problem"]["required"]) == {"usage", "errors"}


# --- what an operation says beside its answer ---


@pytest.mark.parametrize("path", GETS)
def test_every_operation_names_the_limit_that_counts_it(path: str) -> None:
    limit, operation = GETS[path]["x-rate-limit"], GETS[path]
    assert limit["group"] == GROUPS.get(f"v2.{operation['operationId']}", "other")
    known = openapi.limits()[limit["group"]]
    assert (limit["setting"], limit["requests"], limit["window_seconds"]) == (known.setting, known.requests, 60)
    assert f"`{known.setting}`" in operation["description"]


def test_an_answer_has_every_header_that_is_promised_of_it(standing: Flask) -> None:
    promised = GETS["/v2/trading-directions/{ticker}"]["responses"]
    response = call(standing, "/trading-directions/SPY")
    always = {name for name in promised["200"]["headers"] if document()["components"]["headers"][name]["required"]}
    assert {
        "ETag",
        "Cache-Control",
        "RateLimit",
        "RateLimit-Policy",
        "X-Request-Id",
        "X-API-Version",
        "X-Data-Source",
    } <= always
    assert {"Deprecation", "Sunset", "Link", "X-Served-By"} == set(promised["200"]["headers"]) - always
    known = call(standing, "/trading-directions/SPY", headers={"If-None-Match": response.headers["ETag"]})
    assert known.status_code == 304
    assert [name for name in always if name not in known.headers] == []


@pytest.mark.parametrize("status", [400, 401, 404, 405, 410, 413, 429, 500, 503])
def test_the_codes_of_a_status_are_named(status: int) -> None:
    text = document()["components"]["responses"][f"Problem{status}"]["description"]
    assert all(f"`{code}`" in text for code in codes_of(status) if code not in OF_V1)


# --- examples ---


def examples() -> Iterator[tuple[str, Any, Any]]:
    """Every example: where it stands, the schema that it belongs to, and the example."""
    for path, operation in GETS.items():
        for media_type, content in operation["responses"]["200"]["content"].items():
            for name, example in content["examples"].items():
                yield f"{path} {media_type} {name}", content["schema"], example["value"]
    for kind, webhook in WEBHOOKS.items():
        (content,) = webhook["requestBody"]["content"].values()
        for name, example in content["examples"].items():
            yield f"{kind} {name}", content["schema"], example["value"]
    for name, response in document()["components"]["responses"].items():
        (content,) = response["content"].values()
        for code, example in content["examples"].items():
            yield f"{name} {code}", content["schema"], example["value"]


EXAMPLES = {where: (value, schema) for where, schema, value in examples()}


@pytest.mark.parametrize("where", EXAMPLES)
def test_every_example_is_what_its_schema_promises(where: str) -> None:
    valid(*EXAMPLES[where])


def test_every_operation_every_error_and_every_message_has_an_example() -> None:
    assert {where.partition(" ")[0] for where in EXAMPLES} == {*GETS, *WEBHOOKS, *document()["components"]["responses"]}


def test_a_message_is_signed_by_the_headers_that_the_document_names() -> None:
    sent = Sender([SecretStr(SECRET)], REAL_TIME.epoch).headers(message())
    for webhook in WEBHOOKS.values():
        named = {parameter["name"] for parameter in webhook["parameters"] if parameter["required"]}
        assert named == set(sent) - {"content-type", "user-agent"}


def test_the_examples_are_what_the_demo_market_answers() -> None:
    """After a change: make openapi."""
    logging.disable(logging.CRITICAL)
    try:
        recorded = openapi.record()
    finally:
        logging.disable(logging.NOTSET)
    assert nearly(recorded) == nearly(json.loads(openapi.EXAMPLES.read_text()))


def nearly(value: Any) -> Any:
    """The value with nine digits of its numbers: other processors differ in the last ones."""
    if isinstance(value, dict):
        return {name: nearly(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [nearly(inner) for inner in value]
    return float(f"{value:.9g}") if isinstance(value, float) else value


def test_no_type_has_a_field_of_its_own_name() -> None:
    """A generated client has one variable for both, which fails its own type check unless the field is a number or a text."""
    schemas = document()["components"]["schemas"]
    own = {name: re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower() for name in schemas}
    fields = {name: schemas[name].get("properties", {}).get(own[name], {"type": "string"}) for name in schemas}
    assert [name for name, field in fields.items() if field.get("type") not in ("string", "number", "integer")] == []
