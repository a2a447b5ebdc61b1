"""What `make dashboard` has built: the page, and assets whose names change with their content. Files have compressed siblings,
so that nothing is compressed here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

PAGE: Final = "index.html"
ASSETS: Final = "assets"
CODINGS: Final[Mapping[str, str]] = {"br": ".br", "gzip": ".gz"}
"""The content codings of the siblings and their endings, the smallest first (RFC 9110 8.4.1)."""

CONTENT_TYPES: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".woff2": "font/woff2",
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
    ".webmanifest": "application/manifest+json",
}
_name = re.compile(r"\w[\w.-]{0,127}", re.ASCII).fullmatch


class BuiltFile(NamedTuple):
    """A file of the build in the coding that a client takes; None: as it is."""

    body: bytes
    content_type: str
    coding: str | None


class Build:
    """The build in a folder. It may appear or change while the server runs, since files are read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def page(self, takes: Callable[[str], bool]) -> BuiltFile | None:
        """The page; None if it has not been built. `takes`: whether the client takes a coding."""
        return _read(self._folder / PAGE, takes)

    def asset(self, name: str, takes: Callable[[str], bool]) -> BuiltFile | None:
        """The asset of that name; None if there is none."""
        if _name(name) is None:
            return None
        return _read(self._folder / ASSETS / name, takes)


def _read(path: Path, takes: Callable[[str], bool]) -> BuiltFile | None:
    content_type = CONTENT_TYPES.get(path.suffix)
    if content_type is None or not path.is_file():
        return None
    for coding, ending in CODINGS.items():
        sibling = path.with_name(path.name + ending)
        if takes(coding) and sibling.is_file():
            return BuiltFile(sibling.read_bytes(), content_type, coding)
    return BuiltFile(path.read_bytes(), content_type, None)
