"""(b) A Flask route that returns ready bytes, and nothing else."""

from __future__ import annotations

from flask import Flask, Response

from bench.peers.given import BODY, PATH

app = Flask(__name__)


@app.get(PATH)
def directions() -> Response:
    """The ready bytes."""
    return Response(BODY, mimetype="application/json")
