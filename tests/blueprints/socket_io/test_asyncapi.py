"""The AsyncAPI document of Socket.IO: made from the types, valid to its own parser, and rendered as a page."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft7Validator

from app.factory import asyncapi
from app.live.live_event import Kind
from blueprints.socket_io.asyncapi import ACKNOWLEDGEMENT, FILE, MESSAGES, RECEIVED, SENT
from blueprints.socket_io.socket_types import ByeReason, ErrorCode
from tests import node_packages
from tests.markdown import ROOT, blocks

Serve = Callable[..., Flask]
DOCUMENT: dict[str, Any] = json.loads(FILE.read_text())
COMPONENTS = DOCUMENT["components"]
VALIDATE = """\
import { readFileSync } from "node:fs"
import { Parser } from "@asyncapi/parser"

const parser = new Parser()
const results = []
for (const file of process.argv.slice(2)) {
  const { document, diagnostics } = await parser.parse(readFileSync(file, "utf8"))
  const serious = diagnostics.filter(({ severity }) => severity < 2).map(({ path }) => path.join("/"))
  results.push({ version: document?.version() ?? null, serious })
}
console.log(JSON.stringify(results))
"""


def test_the_committed_document_is_the_one_that_the_types_make() -> None:
    """After a change: make asyncapi."""
    assert asyncapi.made() == DOCUMENT


def test_the_document_is_valid_to_the_parser_of_asyncapi_which_finds_what_is_wrong(tmp_path: Path) -> None:
    """One process for both, since the parser takes seconds to start. Errors and warnings count."""
    folder = node_packages.linked(tmp_path)
    broken = json.loads(FILE.read_text())
    broken["operations"]["signal"]["messages"] = [{"$ref": "#/channels/root/messages/none"}]
    (folder / "validate.mjs").write_text(VALIDATE)
    (folder / "broken.json").write_text(json.dumps(broken))
    valid, wrong = json.loads(node_packages.node("validate.mjs", str(FILE), "broken.json", folder=folder))
    assert valid == {"version": "3.0.0", "serious": []}
    assert wrong["version"] is None
    assert any(place.startswith("operations/signal") for place in wrong["serious"])


@pytest.mark.parametrize("name", [event.name for event in MESSAGES])
def test_every_message_has_an_example_that_its_schema_takes(name: str) -> None:
    message = COMPONENTS["messages"][name]
    schema = {**message["payload"], "components": COMPONENTS}
    assert message["examples"]
    for example in message["examples"]:
        Draft7Validator(schema).validate(example["payload"])


@pytest.mark.parametrize(
    ("name", "payload"),
    [
        ("subscribe", {}),
        ("subscribe", {"ticker": "SPY", "tickers": ["SPY"]}),
        ("subscribe", {"ticker": "SPY", "colour": "red"}),
        ("subscribe", {"ticker": "SPY", "after": "yesterday"}),
        ("bye", {"reason": "tired", "detail": "d", "retry_after_ms": 1}),
        ("error", {"code": "INTERNAL", "detail": "d"}),
    ],
)
def test_a_payload_that_the_protocol_does_not_have_is_not_valid(name: str, payload: object) -> None:
    schema = {**COMPONENTS["messages"][name]["payload"], "components": COMPONENTS}
    assert not Draft7Validator(schema).is_valid(payload)


def test_the_events_about_a_ticker_are_those_of_the_streams_and_have_the_same_schemas() -> None:
    about_a_ticker = {event.name for event in SENT if event.name in {*Kind}}
    assert about_a_ticker == {*Kind}
    of_streams = json.loads((FILE.parents[1] / "v2" / "openapi.json").read_text())["components"]["schemas"]
    for kind in about_a_ticker:
        name = f"{kind.capitalize()}Event"
        assert COMPONENTS["schemas"][name]["properties"].keys() == of_streams[name]["properties"].keys()
        assert COMPONENTS["schemas"][name]["required"] == of_streams[name]["required"]


def test_each_event_of_a_client_is_acknowledged_and_each_event_of_the_server_is_sent() -> None:
    operations = DOCUMENT["operations"]
    sent = {name for name, operation in operations.items() if operation["action"] == "send"}
    assert sent == {event.name for event in SENT}
    for event in RECEIVED:
        assert operations[event.name]["action"] == "receive"
        assert operations[event.name]["reply"]["messages"] == [
            {"$ref": f"#/channels/root/messages/{ACKNOWLEDGEMENT.name}"}
        ]


def texts(node: object) -> Iterator[str]:
    """All descriptions and summaries, at whatever depth."""
    if isinstance(node, dict):
        yield from (node[name] for name in ("description", "summary") if isinstance(node.get(name), str))
    for member in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from texts(member)


def test_the_document_cites_no_page_that_its_readers_do_not_have() -> None:
    cited = re.compile(r"\w\.md\b|\bruling|\([A-Z]\d+\)|blueprints/")
    said = list(texts(DOCUMENT))
    assert len(said) > 100
    assert [text for text in said if cited.search(text)] == []


# --- the page ---


@pytest.fixture
def page(serve: Serve) -> str:
    return serve().test_client().get("/docs/socket-io").get_data(as_text=True)


def test_the_page_has_a_table_for_every_message_with_all_of_its_fields(page: str) -> None:
    for event in MESSAGES:
        section = page.split(f'<h3 id="{event.name}">')[1].split("<h3")[0].split("<h2")[0]
        shown = re.findall(r"<tr><td><code>(\w+)</code>", section)
        assert shown == list(event.payload.model_fields), event.name
        assert "<summary>Example</summary>" in section


def test_the_page_has_every_code_and_every_reason_with_what_to_do(page: str) -> None:
    for word in (*ErrorCode, *ByeReason):
        assert page.count(f'<tr id="{word}">') == 1


def test_the_page_shows_the_client_of_the_documents_and_leads_to_the_document_and_the_other_pages(page: str) -> None:
    shown = "\n".join(
        line
        for block in blocks((ROOT / "docs" / "socket-io.md").read_text())
        if block.language == "js"
        for line in block.lines
    )
    (code,) = re.findall(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)
    assert html.unescape(code) == shown + "\n"
    assert {"/asyncapi.json", "/docs", "/docs/errors"} <= set(re.findall(r'href="(/[^"]*)"', page))


def test_every_anchor_of_the_page_is_there_once_and_every_link_within_it_leads_to_one(page: str) -> None:
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert links <= set(ids)
    assert any(link.startswith("type-") for link in links)


def test_the_pages_and_the_overview_lead_to_it(serve: Serve) -> None:
    client = serve().test_client()
    for path in ("/docs", "/docs/errors", "/"):
        text = client.get(path, headers={"Accept": "text/html"}).get_data(as_text=True)
        assert 'href="/docs/socket-io"' in text, path
        assert 'href="/asyncapi.json"' in text, path
