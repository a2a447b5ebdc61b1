"""The routes of the dashboard, which belong to no version. `GET /` is the page for browsers, and JSON for all other clients."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound

from blueprints.dashboard.build import BuiltFile
from blueprints.ops import overview, overview_page
from blueprints.pages.files import content
from blueprints.services import services

blueprint = Blueprint("dashboard", __name__)
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; media-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
"""What the page may load: only from this server, and nothing that stands in the page itself."""

FOR_EVER: Final = "public, max-age=31536000, immutable"


NOT_BUILT: Final = (
    "Its dashboard has not been built: `make dashboard` builds it, which needs Node 20.19 or newer with npm. "
    "Everything else runs."
)


@blueprint.get("/")
def index() -> Response:
    """The page for clients that prefer HTML (RFC 9110 12.5.1); for all others what this server is, as JSON."""
    wants_page = request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"
    response = dashboard_page() if wants_page else overview()
    response.vary.add("Accept")
    return response


@blueprint.get("/dashboard")
@blueprint.get("/dashboard/<path:view>")
def page(view: str = "") -> Response:
    """The page, whatever view of it the address names: the page itself reads the address."""
    return dashboard_page()


@blueprint.get("/assets/<name>")
def asset(name: str) -> Response:
    """A file that the page loads. Its name changes with its content, so that it may be kept for ever."""
    file = services().dashboard.asset(name, _takes)
    if file is None:
        raise NotFound
    return _response(file, FOR_EVER)


def dashboard_page() -> Response:
    """The page, or one that says how to build it."""
    file = services().dashboard.page(_takes)
    if file is None:
        return overview_page(NOT_BUILT)
    response = _response(file, "no-cache")
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _takes(coding: str) -> bool:
    """Whether the client takes a content coding (RFC 9110 12.5.3)."""
    return request.accept_encodings.quality(coding) > 0


def _response(file: BuiltFile, cache_control: str) -> Response:
    """The file, or 304 if the client has it (RFC 9110 13.1.2)."""
    body, etag = content(file.body)
    response = Response(body, content_type=file.content_type)
    response.set_etag(etag)
    response.vary.add("Accept-Encoding")
    response.headers["Cache-Control"] = cache_control
    if file.coding is not None:
        response.headers["Content-Encoding"] = file.coding
    response.make_conditional(request)
    return response
