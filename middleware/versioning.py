"""The layer that finds the version of the API that a request is for: the one in the path (`/v1/...`), else the one in
`X-API-Version`, else 1. Headers announce the end of a version: Deprecation (RFC 9745), Sunset (RFC 8594), Link.

Below this layer a path of version 1 has no prefix and a path of any other version has its own, so that each route exists once.
A path without a version may be spelled as in version 1 whatever version the header asks for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Protocol

from werkzeug.http import http_date

from app.errors import BadRequest, Gone, NotFound
from middleware.request_context import ENVIRON_KEY, Headers, RequestContext

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_prefix = re.compile(r"/v(0|[1-9][0-9]{0,3})(?=/|$)").match
_number = re.compile(r"[1-9][0-9]{0,3}").fullmatch


class Version(Protocol):
    """One version of the API (app/config/api_versions.py)."""

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


class VersioningMiddleware:
    """The layer. `versions`: those of the API; `unversioned`: paths that belong to no version, and the version whose rules hold
    for each; `unversioned_below`: the same for all paths that begin so; `renamed`: paths of version 1 that later versions spell
    otherwise; `today()`: the date in UTC."""

    def __init__(
        self,
        app: WSGIApplication,
        versions: Iterable[Version],
        unversioned: Mapping[str, int],
        unversioned_below: Mapping[str, int],
        renamed: Mapping[str, str],
        today: Callable[[], date],
    ) -> None:
        self._app = app
        self._versions = {version.number: version for version in versions}
        self._unversioned = dict(unversioned)
        self._unversioned_below = dict(unversioned_below)
        self._renamed = dict(renamed)
        self._today = today

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        context: RequestContext = environ[ENVIRON_KEY]
        path, header = environ["PATH_INFO"], environ.get("HTTP_X_API_VERSION")
        rules = self._rules_of(path)
        if rules is not None:
            context.is_unversioned, context.version = True, rules
            return self._app(environ, start_response)
        context.vary.append("X-API-Version")
        match = _prefix(path)
        if match is not None:
            context.version = self._version_of_path(context, int(match[1]))
        try:
            if header is not None:
                self._apply_header(context, header, in_path=match is not None)
            environ["PATH_INFO"] = self._path_for_routes(path, context.version, match[0] if match else "")
        finally:
            version = self._versions[context.version]
            if version.deprecated is not None:
                context.headers += self._deprecation_headers(version)
        if version.sunset is not None and version.is_over(self._today()):
            raise Gone(f"version {version.number} ended on {version.sunset}: use version {version.successor}")
        return self._app(environ, start_response)

    def _rules_of(self, path: str) -> int | None:
        """The version whose rules hold for a path of no version; None if the path is one of a version."""
        if path in self._unversioned:
            return self._unversioned[path]
        return next((version for start, version in self._unversioned_below.items() if path.startswith(start)), None)

    def _version_of_path(self, context: RequestContext, number: int) -> int:
        if number not in self._versions:
            context.is_unversioned = True
            raise NotFound(f"there is no version {number} of this API")
        return number

    def _apply_header(self, context: RequestContext, header: str, *, in_path: bool) -> None:
        """Take the version of the header. Raises BadRequest if there is no such version, or the path names another one."""
        number = int(header) if _number(header.strip()) else 0
        if number not in self._versions:
            known = " or ".join(map(str, sorted(self._versions)))
            message = f"X-API-Version must be the number of a version, {known}; /versions describes them"
            raise BadRequest(message, code="UNSUPPORTED_VERSION")
        if in_path and number != context.version:
            message = f"the path asks for version {context.version}, X-API-Version for {number}"
            raise BadRequest(message, code="VERSION_CONFLICT")
        context.version = number

    def _path_for_routes(self, path: str, version: int, prefix: str) -> str:
        """The path as the routes know it. Raises NotFound for a path without its first slash or with an empty part, in which
        the routes would see another path than the layers do."""
        rest = path[len(prefix) :]
        odd = not path.startswith("/") or "//" in path
        if odd or (prefix and (self._rules_of(rest or "/") is not None or _prefix(rest))):
            raise NotFound(f"there is nothing at {path[:200]}")
        if version == 1:
            return rest or "/"
        return f"/v{version}{rest if prefix else self._renamed.get(rest, rest)}"

    def _deprecation_headers(self, version: Version) -> Headers:
        assert version.deprecated is not None
        headers = [("Deprecation", f"@{int(_midnight(version.deprecated).timestamp())}")]
        links = [f'<{version.guide}>; rel="deprecation"']
        if version.sunset is not None:
            headers.append(("Sunset", http_date(_midnight(version.sunset))))
            links.append(f'<{version.guide}>; rel="sunset"')
        if version.successor is not None:
            links.append(f'<{self._versions[version.successor].guide}>; rel="successor-version"')
        return [*headers, ("Link", ", ".join(links))]


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
