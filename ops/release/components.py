"""What a release ships that others made: packages of Python, and the scripts in the dashboard and in the page of the API.

A package of Python is here if a machine with Linux or macOS installs it; those of `predict mcp` are optional. Of Node it is
what the dashboard's list of packages has beside tools of development: the browser gets these, or parts of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, files, metadata
from typing import Final, NamedTuple

from packaging.markers import Marker

from ops.release.locks import EXTRA, ROOT, RUNTIME, Pin, pins

NODE_LOCK: Final = ROOT / "dashboard" / "package-lock.json"
SYSTEMS: Final = ({"sys_platform": "linux", "os_name": "posix"}, {"sys_platform": "darwin", "os_name": "posix"})
PYTHONS: Final = ("3.11.0", "3.11.5", "3.12.0", "3.13.0", "3.14.0")
SWAGGER_UI: Final = "swagger-ui-dist"
STATED: Final = {
    "async-timeout": "Apache-2.0",  # nothing needs it from Python 3.11.3 on, so that it is not installed here
    "itsdangerous": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause",
    "protobuf": "BSD-3-Clause",
    "python-dateutil": "Apache-2.0 OR BSD-3-Clause",
    "requests-oauthlib": "ISC",
    "xmlhttprequest-ssl": "MIT",
}
"""Licences of packages that do not state theirs as an SPDX expression, read in their files."""
CLASSIFIERS: Final = {"MIT License": "MIT", "Apache Software License": "Apache-2.0"}
WORDS: Final = frozenset({"MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MPL-2.0", "ISC"})
"""What the older field of a package's licence may say to be taken at its word."""


TYPES: Final = {"python": "pkg:pypi", "node": "pkg:npm"}
"""How package URLs of each ecosystem begin."""


class Component(NamedTuple):
    """A package that ships: its ecosystem (a key of TYPES), where it goes, its licence as an SPDX expression ("" if that is not
    known), whether only an extra brings it, and the packages of its ecosystem that it needs."""

    ecosystem: str
    name: str
    version: str
    place: str
    licence: str
    optional: bool
    needs: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Its address as a package URL."""
        return f"{TYPES[self.ecosystem]}/{self.name.replace('@', '%40')}@{self.version}"


def shipped() -> list[Component]:
    """All components, in the order of their addresses."""
    return sorted({one.purl: one for one in (*_python(), *_node(), _swagger_ui())}.values(), key=lambda one: one.purl)


def _python() -> Iterator[Component]:
    runtime = _installed_somewhere(pins(RUNTIME))
    extra = _installed_somewhere(pins(EXTRA))
    for name, pin in sorted((extra | runtime).items()):
        needs = tuple(sorted(other.name for other in (extra | runtime).values() if name in other.needed_by))
        place = "server" if name in runtime else "predict mcp"
        yield Component("python", name, pin.version, place, _licence(name), name not in runtime, needs)


def _installed_somewhere(locked: dict[str, Pin]) -> dict[str, Pin]:
    return {name: pin for name, pin in locked.items() if not pin.marker or _holds_somewhere(Marker(pin.marker))}


def _holds_somewhere(marker: Marker) -> bool:
    versions = ({"python_full_version": full, "python_version": full.rsplit(".", 1)[0]} for full in PYTHONS)
    return any(marker.evaluate({**system, **version}) for version in versions for system in SYSTEMS)


def _licence(package: str) -> str:
    """The licence that an installed package states, as an SPDX expression."""
    if package in STATED:
        return STATED[package]
    try:
        about = metadata(package).json
    except PackageNotFoundError:
        return ""
    word = str(about.get("license", ""))
    classifiers = [line.rsplit(" :: ", 1)[-1] for line in about.get("classifier", []) if line.startswith("License ::")]
    known = [CLASSIFIERS[name] for name in classifiers if name in CLASSIFIERS]
    return str(
        about.get("license_expression") or (word if word in WORDS else "") or (known[0] if len(known) == 1 else "")
    )


def _node() -> Iterator[Component]:
    packages = json.loads(NODE_LOCK.read_text())["packages"]
    for path, about in packages.items():
        if not path or about.get("dev") or "version" not in about:
            continue
        name = path.rsplit("node_modules/", 1)[-1]
        needs = tuple(sorted(about.get("dependencies", {})))
        licence = about.get("license", STATED.get(name, ""))
        yield Component("node", name, about["version"], "dashboard", licence, False, needs)


def _swagger_ui() -> Component:
    """The scripts of Swagger UI, which a package of Python carries with their licence."""
    version = next(file for file in files("flask-swagger-ui") or [] if file.name == "VERSION").read_text()
    return Component("node", SWAGGER_UI, version.strip().lstrip("v"), "page of the API", "Apache-2.0", False, ())
