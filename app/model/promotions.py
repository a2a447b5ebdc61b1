"""Which model set is served: the promotions of a registry, in the order in which they were made (`promoted.json`).

Each keeps its moment, so that the set which decides an hour follows from this file and the hour alone, for every process that
reads it and whenever it was started.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from app.errors import BadRequest, BrokenData

PROMOTED: Final = "promoted.json"
SCHEMA_VERSION: Final = 1
MAX_KEPT: Final = 50
"""Promotions that are kept, and sets that a rollback can return to."""

SET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
"""How a set is named: its folder's name, which leads nowhere else."""


class Promotion(NamedTuple):
    """A set was promoted. at: real time from which on that counts."""

    name: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Promotions:
    """history: promotions and rollbacks, newest first; before: the sets that a rollback returns to, the nearest one first."""

    history: tuple[Promotion, ...]
    before: tuple[str, ...] = ()

    @property
    def promoted(self) -> str:
        return self.history[0].name

    def promote(self, name: str, at: datetime) -> Promotions:
        """The same after `name` was promoted. Promoting a set again that is promoted makes servers load it anew."""
        before = self.before if name == self.promoted else (self.promoted, *self.before)[:MAX_KEPT]
        return replace(self._with(name, at), before=before)

    def roll_back(self, at: datetime) -> Promotions:
        """The same after a return to the set before. Raises BadRequest if there is none."""
        if not self.before:
            raise BadRequest(f"no set was promoted before {self.promoted}, so there is none to return to")
        return replace(self._with(self.before[0], at), before=self.before[1:])

    def made_by(self, moment: datetime, market_time: Callable[[datetime], datetime]) -> Sequence[Promotion]:
        """Those that had been made by a moment of market time, newest first; if none had, the first one of all.
        market_time: that of a moment of real time."""
        made = [promotion for promotion in self.history if market_time(promotion.at) <= moment]
        return made or self.history[-1:]

    def _with(self, name: str, at: datetime) -> Promotions:
        return replace(self, history=(Promotion(name, at), *self.history)[:MAX_KEPT])


def checked_name(name: str) -> str:
    """The name of a set. Raises BadRequest if it is none."""
    if not SET_NAME.fullmatch(name):
        raise BadRequest("the name of a model set has lower-case letters, digits and hyphens alone, 64 at most")
    return name


def as_json(promotions: Promotions) -> dict[str, Any]:
    history = [{"set": name, "at": at.astimezone(UTC).isoformat()} for name, at in promotions.history]
    about = {"schema_version": SCHEMA_VERSION, "promoted": promotions.promoted}
    return {**about, "before": list(promotions.before), "history": history}


def of_json(text: bytes) -> Promotions:
    """Raises BrokenData if this is no record of promotions."""
    try:
        record = json.loads(text)
        history = tuple(_promotion(entry) for entry in record["history"][:MAX_KEPT])
        before = tuple(checked_name(name) for name in record["before"][:MAX_KEPT])
        if record["schema_version"] != SCHEMA_VERSION or history[0].name != record["promoted"]:
            raise ValueError
    except (BadRequest, KeyError, ValueError, TypeError, IndexError):
        raise BrokenData(f"{PROMOTED} is damaged, or of a later release") from None
    return Promotions(history, before)


def _promotion(entry: dict[str, str]) -> Promotion:
    at = datetime.fromisoformat(entry["at"])
    if at.tzinfo is None:
        raise ValueError("the moment of a promotion has no offset")
    return Promotion(checked_name(entry["set"]), at)
