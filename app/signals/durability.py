"""Whether a Redis may lose the record that it keeps, by what it says of its own settings. Nothing is guessed: what it does not
say is `unknown`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

UNKNOWN: Final = "unknown"
Persistence = Literal["append_only", "snapshots", "none", "unknown"]


@dataclass(frozen=True, slots=True)
class Durability:
    """persistence: how it keeps data on disk; eviction_policy: what it drops when its memory is full (`maxmemory-policy`)."""

    persistence: Persistence = "unknown"
    eviction_policy: str = UNKNOWN

    @property
    def risks(self) -> tuple[str, ...]:
        """What may lose the record, each with what to do."""
        risks = []
        if self.persistence == "none":
            risks.append(
                "Redis keeps nothing on disk, and a restart of it loses the record: set `appendonly yes` in Redis"
            )
        if self._evicts:
            policy = self.eviction_policy
            risks.append(
                f"Redis may drop the record when its memory is full ({policy}): set `maxmemory-policy noeviction`"
            )
        return tuple(risks)

    @property
    def can_forget(self) -> bool | None:
        """Whether the record may be lost; None if that is unknown."""
        if self.risks:
            return True
        return None if UNKNOWN in (self.persistence, self.eviction_policy) else False

    @property
    def _evicts(self) -> bool:
        """The policies `volatile-...` drop keys with an expiry alone, and those of the record have none (ruling S7)."""
        return self.eviction_policy.startswith("allkeys-")


def durability_of(info: Mapping[str, Any] | None, save: Mapping[str, Any] | None) -> Durability:
    """What a Redis says. info: the answer to INFO; save: that to CONFIG GET save; None where it refuses the command."""
    info = info or {}
    return Durability(_persistence(info.get("aof_enabled"), save), str(info.get("maxmemory_policy", UNKNOWN)))


def _persistence(aof_enabled: Any, save: Mapping[str, Any] | None) -> Persistence:
    if aof_enabled == 1:
        return "append_only"
    if save is None or "save" not in save:
        return "unknown"
    if save["save"]:
        return "snapshots"
    return "none" if aof_enabled == 0 else "unknown"
