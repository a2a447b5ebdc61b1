"""Licences of all that ships: `python -m ops.release.licences` writes LICENCES-THIRD-PARTY.md.

A licence that is neither allowed nor decided on for its package fails, and nothing is written."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ops.release.components import Component, shipped
from ops.release.locks import ROOT

PAGE: Final = ROOT / "LICENCES-THIRD-PARTY.md"
ALLOWED: Final = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "CC0-1.0",
        "ISC",
        "MIT",
        "MIT-0",
        "PSF-2.0",
        "ZPL-2.1",
        "Zlib",
    }
)
"""Licences that ask for their text and notices to be kept, and for nothing else."""
FILES_ALONE: Final = "copyleft of its own files alone, which are installed as their makers publish them"
DECIDED: Final = {"bidict": ("MPL-2.0", FILES_ALONE), "certifi": ("MPL-2.0", FILES_ALONE)}
"""Other licences, by package: which one, and why it may ship."""
HEAD: Final = """# Licences of others

What a release ships that others made, written by `make licences`. Packages of Python are installed as their makers publish
them, with their licences. The dashboard has scripts of the packages of Node below, or parts of them, and the page of the API
has Swagger UI. Licences are SPDX expressions.

| package | version | ships in | licence |
| --- | --- | --- | --- |
"""


def allowed(component: Component) -> bool:
    """Whether each licence that applies is allowed, or decided on for this package."""
    extra = {DECIDED[component.name][0]} if component.name in DECIDED else set()
    choices = [part.strip("()").split(" OR ") for part in component.licence.split(" AND ")]
    return all(set(choice) & (ALLOWED | extra) for choice in choices)


def refused(components: Iterable[Component]) -> list[str]:
    """A line for each component whose licence is unknown, or not allowed."""
    return [f"{one.name} {one.version}: {one.licence or 'unknown'}" for one in components if not allowed(one)]


def page(components: Iterable[Component]) -> str:
    return HEAD + "".join(_row(one) for one in sorted(components, key=lambda one: (one.name.lower(), one.version)))


def _row(one: Component) -> str:
    reason = f" ({DECIDED[one.name][1]})" if one.name in DECIDED else ""
    return f"| {one.name} | {one.version} | {one.place} | {one.licence}{reason} |\n"


def main(target: Path = PAGE) -> int:
    components = shipped()
    wrong = refused(components)
    if wrong:
        print("licences that nobody has decided on (ops/release/licences.py):", *wrong, sep="\n  ", file=sys.stderr)
        return 1
    target.write_text(page(components))
    return 0


if __name__ == "__main__":
    sys.exit(main())
