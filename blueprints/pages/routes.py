"""The routes of the pages and documents. They belong to no version."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, request

from blueprints.pages.files import FILES, MINUTES_S, Content, content, content_of
from blueprints.pages.html import api_page, errors_page, versions_page
from blueprints.pages.socket_io import socket_io_page
from blueprints.services import services

blueprint = Blueprint("pages", __name__)
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""What a page may load: only from this server, and pictures that its style sheet holds."""

HTML: Final = "text/html; charset=utf-8"


@blueprint.get("/docs", strict_slashes=False)
def docs() -> Response:
    """The operations of version 2, to be read and tried."""
    return _page(api_page())


@blueprint.get("/docs/socket-io", strict_slashes=False)
def socket_io() -> Response:
    """Every event of the Socket.IO protocol."""
    return _page(socket_io_page())


@blueprint.get("/docs/errors", strict_slashes=False)
def errors() -> Response:
    """Every error code, each under an anchor of its own: the `type` of a problem leads here."""
    return _page(errors_page())


@blueprint.get("/docs/versions", strict_slashes=False)
def versions() -> Response:
    """What version 2 changed against version 1, field by field, and how long each version holds."""
    return _page(versions_page(services().versions()))


def _file() -> Response:
    file = FILES[request.path]
    return _conditional(content_of(request.path), file.content_type, file.max_age_s)


def _page(text: str) -> Response:
    response = _conditional(content(text.encode()), HTML, MINUTES_S)
    response.headers["Content-Security-Policy"] = POLICY
    return response


def _conditional(found: Content, content_type: str, max_age_s: int) -> Response:
    """The content, or 304 if the client has it (RFC 9110 13.1.2)."""
    response = Response(found.body, content_type=content_type)
    response.set_etag(found.etag)
    response.headers["Cache-Control"] = f"public, max-age={max_age_s}"
    response.make_conditional(request)
    return response


for _path in FILES:
    blueprint.get(_path, endpoint=_path.strip("/").replace("/", "-").replace(".", "-"))(_file)
