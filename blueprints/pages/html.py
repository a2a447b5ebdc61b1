"""The pages: plain HTML without a script or a style of its own, so that the strictest policy holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from blueprints.error_codes import CODES, OK, ErrorCode
from blueprints.field_changes import CHANGES, Change

STYLES = ("/docs/swagger-ui.css", "/docs/page.css")
SCRIPTS = ("/docs/swagger-ui-bundle.js", "/docs/page.js")
LINKS = {
    "/docs": "API",
    "/docs/socket-io": "Live events",
    "/docs/errors": "Errors",
    "/docs/versions": "Versions",
    "/openapi.json": "openapi.json",
    "/asyncapi.json": "asyncapi.json",
}


def api_page() -> str:
    """The page on which Swagger UI shows `/openapi.json`."""
    without = 'This page needs JavaScript. <a href="/openapi.json">The document</a> does not.'
    body = f'<main id="swagger-ui"><p>{without}</p></main>\n'
    scripts = "".join(f'<script src="{path}" defer></script>\n' for path in SCRIPTS)
    return page("API", body + scripts, STYLES)


def errors_page() -> str:
    """Every error code with what it means and what to do."""
    text = (
        "<h1>Errors</h1>\n<p>Version 2 answers errors as problems (RFC 9457): <code>type</code> leads to a row of this table, "
        "and <code>error_code</code> names it. Version 1 answers <code>error</code> and <code>error_code</code>. Codes with "
        "status 200 stand in answers: about one ticker in version 1, at the gate that failed in version 2.</p>\n"
    )
    head = "<tr><th>code</th><th>status</th><th>what it means</th><th>what to do</th></tr>\n"
    rows = "".join(_error_row(entry) for entry in CODES)
    return page("Errors", f"<main>\n{text}{table(head, rows)}</main>\n")


def _error_row(entry: ErrorCode) -> str:
    statuses = ", ".join(f"{status} in an answer" if status == OK else str(status) for status in entry.statuses)
    return (
        f'<tr id="{entry.code}"><td><a href="#{entry.code}"><code>{entry.code}</code></a></td><td>{statuses}</td>'
        f"<td>{text_with_code(entry.title)}. {text_with_code(entry.meaning)}</td><td>{text_with_code(entry.advice)}</td></tr>\n"
    )


def versions_page(versions: Iterable[Mapping[str, Any]]) -> str:
    """The versions as `GET /versions` has them, and what version 2 changed against version 1, field by field."""
    listed = list(versions)
    names = list(listed[0])
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    known = "".join(f'<tr class="version">{_cells(row[name] for name in names)}</tr>\n' for row in listed)
    text = (
        "<p>A field that ends with <code>.**</code> stands for all fields below it, each under its own name, but those that "
        "have a row of their own. Routes of version 1 that are not named have no counterpart in version 2.</p>\n"
    )
    columns = (
        "<tr><th>route of version 1</th><th>field</th><th>route of version 2</th><th>field</th><th>note</th></tr>\n"
    )
    rows = "".join(_change_row(change) for change in CHANGES)
    tables = (
        table(f'<tr class="version">{head}</tr>\n', known),
        f"<h2>From version 1 to version 2</h2>\n{text}",
        table(columns, rows),
    )
    return page("Versions", f"<main>\n<h1>Versions</h1>\n{''.join(tables)}</main>\n")


def table(head: str, rows: str) -> str:
    """A table of rows that are HTML already."""
    return f"<table>\n<thead>{head}</thead>\n<tbody>\n{rows}</tbody>\n</table>\n"


def _cells(values: Iterable[object]) -> str:
    return "".join(f"<td>{escape('' if value is None else str(value))}</td>" for value in values)


def _change_row(change: Change) -> str:
    old = f"<td>{escape(change.route)}</td><td><code>{escape(change.field)}</code></td>"
    if change.new_route is None or change.new_field is None:
        return f"<tr>{old}<td></td><td>gone</td><td>{text_with_code(change.note)}</td></tr>\n"
    new = f"<td>{escape(change.new_route)}</td><td><code>{escape(change.new_field)}</code></td>"
    return f"<tr>{old}{new}<td>{text_with_code(change.note)}</td></tr>\n"


def text_with_code(text: str) -> str:
    """Text in which `code` stands between backquotes, as HTML."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def page(title: str, body: str, styles: tuple[str, ...] = ("/docs/page.css",)) -> str:
    """A whole page with the links to the others."""
    sheets = "".join(f'<link rel="stylesheet" href="{path}">\n' for path in styles)
    links = " ".join(f'<a href="{path}">{escape(name)}</a>' for path, name in LINKS.items())
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{escape(title)} - predict server</title>\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="/docs/favicon-32x32.png">\n{sheets}</head>\n'
        f"<body>\n<nav>{links}</nav>\n{body}</body>\n</html>\n"
    )
