"""The one table of limits in docs/clients.md has the numbers of the code, and the refusals say them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from app.config import api_keys
from app.config.settings import Settings
from app.factory import layers, openapi
from app.live import broadcaster, event_log, gap
from blueprints.errors import HTTP_TEXTS
from blueprints.socket_io import client, sessions, socket_types
from blueprints.v1 import parameters
from blueprints.v2 import following, operations, queries
from middleware import request_bodies, request_context
from serving import link_bounds, pushed_stream
from serving.bounds import Bounds
from serving.refusals import UNREADABLE
from tests.markdown import ROOT, section, table

GUNICORN = dict(re.findall(r"^(limit_request_\w+) = (\d+)$", (ROOT / "gunicorn.conf.py").read_text(), re.MULTILINE))


def limits() -> Iterator[tuple[str, float]]:
    """Each limit and its number, as the code has them."""
    for group, limit in openapi.limits().items():
        yield f"requests of the group `{group}` in {limit.window_s} s", limit.requests
    settings, bounds = Settings(_env_file=None), Bounds()
    yield "replays of one client at a time", layers.REPLAYS_PER_CLIENT
    yield "replays of all clients at a time", layers.REPLAYS_IN_ALL
    yield "streams of one client at a time", default("streams_per_client")
    yield "streams of all clients at a time", default("streams_in_all")
    yield "Socket.IO connections of one client at a time", default("sockets_per_client")
    yield "Socket.IO connections of all clients at a time", default("sockets_in_all")
    yield "bytes of a message of Socket.IO", link_bounds.LinkBounds().message_bytes
    yield "messages of Socket.IO a second", client.MESSAGES_PER_S
    yield "messages of Socket.IO at once", client.BURST
    yield "messages of Socket.IO at once, before the connection is ended", link_bounds.LinkBounds().messages_burst
    yield "tickers that one message of Socket.IO names", socket_types.MOST_TICKERS
    yield "seconds until a client of Socket.IO has sent its CONNECT packet", link_bounds.LinkBounds().connect_s
    yield "seconds for which a lost connection of Socket.IO can be recovered", sessions.KEPT_S
    yield "lost connections of Socket.IO that can be recovered", sessions.MOST_KEPT
    yield "connections of one worker", default("max_connections")
    yield "connections of one address", default("max_connections") // 8
    yield "bytes of a request line", int(GUNICORN["limit_request_line"])
    yield "headers of a request", int(GUNICORN["limit_request_fields"])
    yield "bytes of one header", int(GUNICORN["limit_request_field_size"])
    yield "bytes of request line and headers together", bounds.head_bytes
    yield "bytes of a body", request_bodies.MAX_BODY_BYTES
    yield "bytes of a body as it is sent in chunks", bounds.body_bytes
    yield "chunks of a body", bounds.body_chunks
    yield "parts of a form", request_bodies.MAX_FORM_PARTS
    yield "seconds until the headers are there", bounds.head_s
    yield "seconds until the body is there", bounds.body_s
    yield "seconds that a connection may idle", bounds.idle_s
    yield "seconds without taking a byte of an answer", bounds.write_s
    yield "symbols in `tickers` of version 1", parameters.MAX_SYMBOLS
    yield "days of one answer of `/v2/calendar`", queries.MAX_DAYS
    yield "daily bars of one answer of `/v2/bars/{ticker}`", queries.MAX_DAILY_BARS
    yield "moments of one series of `/v2/replay/{ticker}`", queries.MINUTES_OF_A_DAY
    yield "live events of a ticker that are kept", event_log.MAX_EVENTS
    yield "bytes of live events of a ticker that are kept", event_log.MAX_BYTES
    replaced = "before newer ones take their place"
    yield f"bytes of live events that wait for one follower over HTTP, {replaced}", pushed_stream.UNREPLACED
    yield f"bytes of live events that wait for one client of Socket.IO, {replaced}", link_bounds.OUTBOX.unreplaced
    yield "bytes of live events that wait for one client in all", link_bounds.OUTBOX.bytes
    yield "live events that wait for one client in all", link_bounds.OUTBOX.messages
    yield "seconds in which a client for which live events wait takes no byte", link_bounds.OUTBOX.stalled_s
    yield "minutes of trading that are told of afterwards", gap.MAX_MISSED_MINUTES
    yield "seconds that a ticker is followed on one connection", following.LASTS_S
    yield "days of one answer of `/v2/signals/{ticker}`", queries.MAX_DAYS
    yield "signals of one page of `/v2/signals/{ticker}`", queries.MAX_SIGNALS
    yield "faults that one error names", operations.MAX_FAULTS
    yield "characters of a request's own id", longest_id()
    yield "characters of an API key", api_keys.MAX_LENGTH
    assert settings.connections_per_address == default("max_connections") // 8


def default(name: str) -> int:
    value = Settings.model_fields[name].default
    assert isinstance(value, int)
    return value


def longest_id() -> int:
    return max(length for length in range(1, 200) if request_context._safe_id("x" * length))


def rows() -> list[list[str]]:
    return table(section((ROOT / "docs" / "clients.md").read_text(), "All limits"))


def test_the_documents_have_the_limits_of_the_code_and_no_others() -> None:
    assert {row[0]: float(row[1]) for row in rows()} == {name: float(number) for name, number in limits()}


def test_followers_over_http_and_clients_of_socket_io_are_cut_off_by_the_same_bounds() -> None:
    """One row of the table is of both."""
    names = ("bytes", "messages", "stalled_s")
    assert [getattr(link_bounds.OUTBOX, name) for name in names] == [
        getattr(pushed_stream.bounds_of(Bounds()), name) for name in names
    ]


def test_an_api_key_may_be_as_long_in_auth_as_in_a_header() -> None:
    assert socket_types.MOST_KEY_LETTERS == api_keys.MAX_LENGTH


def test_what_the_page_of_socket_io_says_in_numbers_is_what_the_code_does() -> None:
    page = " ".join((ROOT / "docs" / "socket-io.md").read_text().split())
    for words in (
        f"heartbeat | every {broadcaster.HEARTBEAT_S:.0f} s",
        f"Once {link_bounds.OUTBOX.unreplaced >> 10} KiB wait",
        f"more than {link_bounds.OUTBOX.bytes >> 10} KiB or {link_bounds.OUTBOX.messages} events wait",
        f"takes nothing for {link_bounds.OUTBOX.stalled_s:.0f} s",
        f"within {sessions.KEPT_S:.0f} s",
        f"within {link_bounds.LinkBounds().connect_s:.0f} s",
    ):
        assert words in page.replace("`", ""), words


def test_every_setting_of_a_limit_stands_beside_it() -> None:
    said = {setting for row in rows() for setting in re.findall(r"`([A-Z_]+)`", row[2])}
    bounds = ("RATE_LIMIT_", "STREAMS_", "SOCKETS_", "MAX_CONNECTIONS")
    aliases = {str(field.alias) for field in Settings.model_fields.values()} - {"RATE_LIMIT_ALLOW"}
    assert said == {alias for alias in aliases if alias.startswith(bounds)}


def test_what_a_connection_is_refused_with_names_the_limit() -> None:
    texts = dict(UNREADABLE.values())
    numbers: Mapping[int, tuple[str, ...]] = {
        414: ("bytes of a request line",),
        431: ("headers of a request", "bytes of one header", "bytes of request line and headers together"),
        408: ("seconds until the headers are there",),
    }
    known = dict(limits())
    for status, names in numbers.items():
        said = texts[status].replace(",", "")
        assert all(re.search(rf"\b{known[name]:.0f}\b", said) for name in names), said
    assert request_bodies.MAX_BODY_BYTES == 1 << 20
    assert "1 MiB" in HTTP_TEXTS[413]
    assert f"{request_bodies.MAX_FORM_PARTS} parts" in HTTP_TEXTS[413]
