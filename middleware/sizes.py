"""Bounds on what a request may bring: body and form. The line and header bounds are gunicorn's."""

from __future__ import annotations

from flask import Flask

MAX_BODY_BYTES = 1 << 20
MAX_FORM_PARTS = 100


def bound_requests(app: Flask) -> None:
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY_BYTES
    app.config["MAX_FORM_PARTS"] = MAX_FORM_PARTS
