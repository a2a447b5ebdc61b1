"""What the contract tests share: samples, and a schema made of them that counts fields and types."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).parent.parent / "contract" / "v1"
TICKERS = {"SPY", "QQQ", "IWM", "UVXY"}
Body = dict[str, Any]


def sample(name: str) -> Body:
    body: Body = json.loads((SAMPLES / f"{name}.json").read_text())
    return body


def keep_or_compare(name: str, body: Body) -> None:
    """The body has its sample's shape. UPDATE_SAMPLES=1 writes it: allowed while v1 is being built, never after."""
    if os.environ.get("UPDATE_SAMPLES"):
        (SAMPLES / f"{name}.json").write_text(json.dumps(body, indent=1) + "\n")
    assert shape_of(body) == shape_of(sample(name)), name


def shape_of(value: object) -> object:
    """Keys and JSON types, values left out."""
    if isinstance(value, dict):
        return {key: shape_of(member) for key, member in value.items()}
    if isinstance(value, list):
        return [shape_of(value[0])] if value else []
    return kind(value)


def kind(value: object) -> str:
    if isinstance(value, bool) or value is None or isinstance(value, str | dict | list):
        return type(value).__name__
    return "number"


def walk(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every node with its path; tickers and list items by a star."""
    yield path, value
    if isinstance(value, dict):
        for key, member in value.items():
            yield from walk(member, f"{path}.{'*' if key in TICKERS else key}")
    elif isinstance(value, list):
        for member in value:
            yield from walk(member, f"{path}[]")


class Schema:
    """What an endpoint's samples allow: per path the types seen and the sets of keys seen.

    nullable: paths (endings) that may be null although no sample shows it; the contract says so.
    """

    def __init__(self, *names: str, nullable: tuple[str, ...] = ()) -> None:
        self.kinds: dict[str, set[str]] = {}
        self.keys: dict[str, set[frozenset[str]]] = {}
        self.nullable = nullable
        for name in names:
            for path, value in walk(sample(name)):
                self.kinds.setdefault(path, set()).add(kind(value))
                if isinstance(value, dict) and path != ".tickers":
                    self.keys.setdefault(path, set()).add(frozenset(value))

    def check(self, body: Body) -> None:
        """Every node is of a kind that the samples show, every object has exactly the keys of one of them."""
        for path, value in walk(body):
            found = kind(value)
            if found == "number":
                assert math.isfinite(value), path  # type: ignore[arg-type]
            allowed = self.kinds.get(path, set())
            nulled = found == "NoneType" and path.endswith(self.nullable)
            empty_list = path.endswith("[]") and path not in self.kinds
            named = allowed == {"NoneType"} and path.endswith(self.nullable)
            assert found in allowed or nulled or empty_list or named, f"{path} is {value!r}, not one of {allowed}"
            if isinstance(value, dict) and path in self.keys and not self._open(path):
                assert frozenset(value) in self.keys[path], f"{path}: keys {sorted(value)}"

    @staticmethod
    def _open(path: str) -> bool:
        """Objects keyed by ticker may be partial."""
        return path in (".tickers", ".v6_signals", ".northstar")
