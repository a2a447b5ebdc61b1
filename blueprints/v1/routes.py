"""The routes of v1: read the parameters, ask the pipeline, shape the answer."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from blueprints.services import services
from blueprints.v1 import shapes
from blueprints.v1.parameters import tickers

blueprint = Blueprint("v1", __name__)


@blueprint.get("/trading_directions")
@blueprint.get("/trading-directions")
def trading_directions() -> Response:
    """The hour's signals (v1-contract.md 4.1)."""
    asked = tickers(request.args)
    served = services()
    board = served.pipeline.board(asked.symbols, served.clock())
    return jsonify(shapes.trading_directions(board, served.pipeline, single=asked.single))


@blueprint.get("/health")
def health() -> Response:
    """Whether the process serves, and with what (v1-contract.md 4.8). Calls nobody."""
    return jsonify(shapes.health(services()))


@blueprint.get("/models")
def models() -> Response:
    """The loaded models and what their own evaluation says of them (v1-contract.md 4.9)."""
    return jsonify(shapes.models(services().pipeline.models))
