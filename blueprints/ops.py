"""For the platform: is the process alive, may it serve. `/health` is v1's and lives there."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

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
