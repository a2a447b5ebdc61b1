"""Which version of the API a request is for: the path says it first (`/v1/...`), else `X-API-Version`, else it is 1. What
becomes of the version is said in headers: Deprecation (RFC 9745), Sunset (RFC 8594), Link.

From here on a path of version 1 has no prefix and any other has its own, so that each route exists once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Protocol

from werkzeug.http import http_date

from app.errors import BadRequest, Gone, NotFound
from middleware.request_context import ENVIRON_KEY, Headers, RequestContext

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_prefix = re.compile(r"/v(0|[1-9][0-9]{0,3})(?=/|$)").match
_number = re.compile(r"[1-9][0-9]{0,3}").fullmatch


class Policy(Protocol):
    """What the table says of one version (app/versions.py)."""

    @property
    def number(self) -> int: ...
    @property
    def deprecated(self) -> date | None: ...
    @property
    def sunset(self) -> date | None: ...
    @property
    def successor(self) -> int | None: ...
    @property
    def guide(self) -> str: ...
    def is_over(self, today: date) -> bool: ...


class Table(Protocol):
    def __contains__(self, number: int) -> bool: ...
    def __getitem__(self, number: int) -> Any: ...


class Versioning:
    """The layer. `neutral`: paths that belong to no version."""

    def __init__(self, app: WSGIApplication, table: Table, neutral: Collection[str], today: Callable[[], date]) -> None:
        self._app = app
        self._table = table
        self._neutral = frozenset(neutral)
        self._today = today

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        context: RequestContext = environ[ENVIRON_KEY]
        path, asked = environ["PATH_INFO"], environ.get("HTTP_X_API_VERSION")
        if path in self._neutral:
            context.neutral = True
            return self._app(environ, start_response)
        context.vary.append("X-API-Version")
        match = _prefix(path)
        if match is not None:
            context.version = self._of_path(context, int(match[1]))
        try:
            if asked is not None:
                self._heed(context, asked, in_path=match is not None)
            environ["PATH_INFO"] = self._routed(path, context.version, match[0] if match else "")
        finally:
            policy: Policy = self._table[context.version]
            if policy.deprecated is not None:
                context.headers += self._farewell(policy)
        if policy.is_over(self._today()):
            raise Gone(f"version {policy.number} ended on {policy.sunset}: use version {policy.successor}")
        return self._app(environ, start_response)

    def _of_path(self, context: RequestContext, number: int) -> int:
        if number not in self._table:
            context.neutral = True
            raise NotFound(f"there is no version {number} of this API")
        return number

    def _heed(self, context: RequestContext, asked: str, *, in_path: bool) -> None:
        """The header's wish. Raises BadRequest if it is none, or the path says otherwise."""
        number = int(asked) if _number(asked.strip()) else 0
        if number not in self._table:
            raise BadRequest("X-API-Version must be the number of a version: see /versions", code="UNSUPPORTED_VERSION")
        if in_path and number != context.version:
            said = f"the path asks for version {context.version}, X-API-Version for {number}"
            raise BadRequest(said, code="VERSION_CONFLICT")
        context.version = number

    def _routed(self, path: str, version: int, prefix: str) -> str:
        """The path as the routes know it. One without its slash, or with an empty part, is nowhere: the routes would see
        another path in it than the layers do."""
        rest = path[len(prefix) :]
        odd = not path.startswith("/") or "//" in path
        if odd or (prefix and ((rest or "/") in self._neutral or _prefix(rest))):
            raise NotFound(f"there is nothing at {path[:200]}")
        return (rest or "/") if version == 1 else f"/v{version}{rest}"

    def _farewell(self, policy: Policy) -> Headers:
        assert policy.deprecated is not None
        headers = [("Deprecation", f"@{int(_midnight(policy.deprecated).timestamp())}")]
        links = [f'<{policy.guide}>; rel="deprecation"']
        if policy.sunset is not None:
            headers.append(("Sunset", http_date(_midnight(policy.sunset))))
            links.append(f'<{policy.guide}>; rel="sunset"')
        if policy.successor is not None:
            links.append(f'<{self._table[policy.successor].guide}>; rel="successor-version"')
        return [*headers, ("Link", ", ".join(links))]


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
