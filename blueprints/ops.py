"""Routes of no version: whether the process is alive, whether it may serve, its metrics, and which versions there are.
`/health` is a route of version 1."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from blueprints.field_changes import as_json
from blueprints.index import ABOUT, NAME, PATHS, market_in_words, page
from blueprints.services import Services, services

blueprint = Blueprint("ops", __name__)


@blueprint.get("/")
def index() -> Response:
    """What this server is, as JSON, or as a short page for clients that prefer HTML (RFC 9110 12.5.1)."""
    server = services()
    state = _state(server)
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
        response = Response(page(server.version, state), content_type="text/html; charset=utf-8")
    else:
        body = {"name": NAME, "version": server.version, "about": ABOUT, "state": state, "paths": dict(PATHS)}
        response = jsonify(body)
    response.vary.add("Accept")
    return response


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
