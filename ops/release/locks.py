"""Reads the lists of pinned packages.

A `.in` file has what the code names. The `.txt` file that `make lock` writes from it has those and all that they bring along,
with hashes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "requirements.txt"
EXTRA = ROOT / "requirements-mcp.txt"
GENERATED = ROOT / "tests" / "clients" / "python" / "requirements.txt"
LOCKS = (RUNTIME, EXTRA, ROOT / "requirements-dev.txt", ROOT / "bench" / "requirements.txt", GENERATED)
"""In the order in which each keeps to those before it."""
PIN = re.compile(
    r"^(?P<name>[\w.-]+)(?:\[[\w,-]+\])?==(?P<version>[^\s;]+)(?: ?; (?P<marker>[^#\\]+?))?\s*(?:\\|#.*)?$"
)
HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")
NEEDED_BY = re.compile(r"^    #(?: via |   )(?P<by>\S.*)$")


class Pin(NamedTuple):
    """One package in a list: its name in the normal form, its version, where it is installed ("" for everywhere), the hashes of
    its files, and what needs it: packages, or the files that name it."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    needed_by: tuple[str, ...]


def normal(name: str) -> str:
    """The one spelling of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: Path) -> dict[str, Pin]:
    """The packages of a `.in` or `.txt` file, by name. Raises ValueError for one that is not pinned, or is there twice."""
    found: dict[str, Pin] = {}
    for entry in _entries(file.read_text()):
        head = PIN.match(entry[0])
        if head is None:
            raise ValueError(f"{file.name}: not a pinned package: {entry[0]}")
        name = normal(head["name"])
        if name in found:
            raise ValueError(f"{file.name}: {name} is there twice")
        needed_by = tuple(by["by"] for line in entry if (by := NEEDED_BY.match(line)))
        found[name] = Pin(name, head["version"], head["marker"] or "", tuple(HASH.findall("".join(entry))), needed_by)
    return found


def includes(file: Path) -> list[Path]:
    """The files that a `.in` file takes in (`-r`), by name."""
    return [file.parent / line.split()[1] for line in file.read_text().splitlines() if line.startswith("-r ")]


def named(file: Path) -> dict[str, Pin]:
    """The packages that a `.in` file and those that it takes in name."""
    found = pins(file)
    for included in includes(file):
        found |= named(included)
    return found


def _entries(text: str) -> list[list[str]]:
    """Each package's lines; the lines that begin in the first column begin one."""
    entries: list[list[str]] = []
    for line in text.splitlines():
        if line.startswith(("#", "-")) or not line.strip():
            continue
        if line[0].isspace():
            entries[-1].append(line)
        else:
            entries.append([line])
    return entries
