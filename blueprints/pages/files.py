"""What the pages are made of: documents, and files of Swagger UI from the package `flask-swagger-ui`, of which nothing else is
used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

BLUEPRINTS: Final = Path(__file__).parents[1]
MINUTES_S, DAY_S = 300, 86_400
JSON, SCRIPT, STYLE, ICON = "application/json", "text/javascript; charset=utf-8", "text/css; charset=utf-8", "image/png"


class File(NamedTuple):
    """A file that is sent as it is. max_age_s: for how long a client need not ask again."""

    path: Path
    content_type: str
    max_age_s: int


class Content(NamedTuple):
    """The bytes of an answer, and their strong ETag without quotes."""

    body: bytes
    etag: str


def _swagger_ui(name: str) -> Path:
    """A file of Swagger UI. The package is not imported, since it would bring routes and a page of its own."""
    package = find_spec("flask_swagger_ui")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).with_name("dist") / name


FILES: Final[Mapping[str, File]] = {
    "/openapi.json": File(BLUEPRINTS / "v2" / "openapi.json", JSON, MINUTES_S),
    "/openapi/v1.json": File(BLUEPRINTS / "v1" / "openapi.json", JSON, MINUTES_S),
    "/asyncapi.json": File(BLUEPRINTS / "socket_io" / "asyncapi.json", JSON, MINUTES_S),
    "/docs/swagger-ui.css": File(_swagger_ui("swagger-ui.css"), STYLE, DAY_S),
    "/docs/swagger-ui-bundle.js": File(_swagger_ui("swagger-ui-bundle.js"), SCRIPT, DAY_S),
    "/docs/favicon-32x32.png": File(_swagger_ui("favicon-32x32.png"), ICON, DAY_S),
    "/docs/page.css": File(Path(__file__).with_name("page.css"), STYLE, MINUTES_S),
    "/docs/page.js": File(Path(__file__).with_name("page.js"), SCRIPT, MINUTES_S),
}
"""The files by their path on the server."""


@lru_cache(16)
def content_of(path: str) -> Content:
    """The file at a path of FILES, read once. Raises KeyError."""
    return content(FILES[path].path.read_bytes())


def content(body: bytes) -> Content:
    return Content(body, hashlib.sha256(body).hexdigest()[:32])
