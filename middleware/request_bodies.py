"""Limits the size of request bodies, and reads them before a route runs.

The limits of the request line, of headers and of the time in which a request must arrive are the worker's (serving/bounds.py).
"""

from __future__ import annotations

from flask import Flask, request
from werkzeug.exceptions import HTTPException

from app.errors import BadRequest

MAX_BODY_BYTES = 1 << 20
MAX_FORM_PARTS = 100


def limit_bodies(app: Flask) -> None:
    """Refuse bodies that are too large with 413. Double slashes in a path are not merged, so that no request is redirected."""
    app.url_map.merge_slashes = False
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY_BYTES
    app.config["MAX_FORM_PARTS"] = MAX_FORM_PARTS


def read_bodies(app: Flask) -> None:
    """Read the body before the route runs. A body that cannot be read (broken chunks) is answered with 400."""

    @app.before_request
    def read() -> None:
        if request.url_rule is None:
            return
        try:
            request.get_data()
        except HTTPException:
            raise
        except Exception:  # each server's reader raises exceptions of its own
            raise BadRequest("the body could not be read", code="BAD_REQUEST") from None
