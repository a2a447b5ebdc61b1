"""What belongs to no version: is the process alive, may it serve, which versions there are. `/health` is v1's and lives
there."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from blueprints.services import services

blueprint = Blueprint("ops", __name__)


@blueprint.get("/livez")
def livez() -> Response:
    """The process answers."""
    return jsonify({"status": "ok"})


@blueprint.get("/readyz")
def readyz() -> tuple[Response, int]:
    """Whether this process may serve: models, store, not stopping. Never asks the provider (ruling A6)."""
    why = services().ready()
    return jsonify({"status": "ok" if why is None else "unready", "reason": why}), 200 if why is None else 503


@blueprint.get("/metrics")
def metrics() -> Response:
    """For Prometheus; operators only (ruling A8)."""
    text, content_type = services().metrics(request.headers.get("Accept"), request.args.getlist("name[]"))
    return Response(text, content_type=content_type)


@blueprint.get("/versions")
def versions() -> Response:
    """The API's versions: since when, until when, and what comes after."""
    return jsonify({"versions": list(services().versions())})
