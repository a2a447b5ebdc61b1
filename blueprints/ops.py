"""Routes of no version: whether the process is alive, whether it may serve, its metrics, and which versions there are.
`/health` is a route of version 1, and `GET /` is in `blueprints/dashboard/routes.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import Blueprint, Response, jsonify, request

from blueprints.field_changes import as_json
from blueprints.index import ABOUT, NAME, OF_NO_VERSION, VERSION_1, market_in_words, page
from blueprints.services import Services, services
from blueprints.v2.routes import operations

blueprint = Blueprint("ops", __name__)

VERSION_2: Final[Mapping[str, str]] = {
    f"/v2{route.path}": route.summary[0].lower() + route.summary[1:].removesuffix(".") for route in operations.all
}
PATHS: Final[Mapping[str, str]] = {**VERSION_1, **VERSION_2, **OF_NO_VERSION}
"""Every path, and what it answers."""


def overview() -> Response:
    """What this server is, as JSON."""
    server = services()
    state = _state(server)
    return jsonify({"name": NAME, "version": server.version, "about": ABOUT, "state": state, "paths": dict(PATHS)})


def overview_page(note: str) -> Response:
    """The same as a page for people, with a note."""
    server = services()
    text = page(server.version, f"{_state(server)} {note}", PATHS)
    return Response(text, content_type="text/html; charset=utf-8")


def _state(server: Services) -> str:
    """Which market this is and whether it is open, in a sentence."""
    state = "open" if server.calendar.is_open(server.clock()) else "closed"
    return f"It serves {market_in_words(server.pipeline.plan)}; the market is {state}."


@blueprint.get("/livez")
def livez() -> Response:
    """The process answers."""
    return jsonify({"status": "ok"})


@blueprint.get("/readyz")
def readyz() -> tuple[Response, int]:
    """Whether this process may serve: it has models and a store, and is not stopping. Never calls the provider (ruling A6)."""
    why = services().ready()
    return jsonify({"status": "ok" if why is None else "unready", "reason": why}), 200 if why is None else 503


@blueprint.get("/metrics")
def metrics() -> Response:
    """For Prometheus; operators only (ruling A8)."""
    text, content_type = services().metrics(request.headers.get("Accept"), request.args.getlist("name[]"))
    return Response(text, content_type=content_type)


@blueprint.get("/versions")
def versions() -> Response:
    """The API's versions: first day, last day, and successor; and what the second changed against the first, field by field."""
    return jsonify({"versions": list(services().versions()), "changes": as_json()})
