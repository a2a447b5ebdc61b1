"""What the core has to tell: one callable, `notice(event, **fields)`. It goes into the log, one line for each thing worth one,
and into counts; and it says when an answer may have changed."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

log = logging.getLogger("predict")

ERRORS: Final = frozenset({"record_changed"})
WARNINGS: Final = frozenset(
    {
        "bars_incomplete",
        "bars_rejected",
        "breaker_changed",
        "budget_in_memory",
        "cache_unavailable",
        "cache_unreadable",
        "cache_unwritable",
        "calendar_changed",
        "calendar_in_memory",
        "clock_differs",
        "fetch_broke",
        "follower_broke",
        "follower_lease_lost",
        "history_rebased",
        "limits_local",
        "metrics_not_pushed",
        "provider_pauses_us",
        "running_day_unshared",
        "spans_lost",
        "store_degraded",
        "workers_apart",
    }
)
NEWS: Final = frozenset(
    {
        "budget_on_disk",
        "cache_recovered",
        "follower_leads",
        "running_day_shared",
        "limits_shared",
        "metrics_pushed",
        "plan_probed",
        "signal_locked",
        "spans_sent",
        "store_recovered",
    }
)
DETAILS: Final = frozenset(
    {
        "announcement_refused",
        "bars_fenced",
        "bars_known",
        "bars_repaired",
        "call_waits",
        "call_withheld",
        "entitled",
        "fetch_failed",
        "follower_failed",
        "gated",
        "limited",
        "looked_up",
        "open_learned",
        "open_source_failed",
        "past_bars_known",
        "past_fetch_failed",
        "past_open_learned",
        "predicted",
        "snapshot_refused",
        "stale_bars_served",
    }
)
"""At DEBUG alone: they come with every answer or fetch."""

EVENTS: Final = ERRORS | WARNINGS | NEWS | DETAILS
CHANGES: Final = frozenset(
    {
        "bars_known",
        "breaker_changed",
        "calendar_changed",
        "clock_differs",
        "entitled",
        "fetch_broke",
        "fetch_failed",
        "history_rebased",
        "open_learned",
        "signal_locked",
        "store_degraded",
        "store_recovered",
    }
)
"""What may change an answer: kept ones end with it (ruling A1)."""

COUNTED: Final[Mapping[str, tuple[str, ...]]] = {
    "announcement_refused": ("reason",),
    "breaker_changed": ("kind", "state"),
    "call_withheld": ("reason",),
    "gated": ("gate",),
    "looked_up": ("cache", "outcome"),
    "signal_locked": ("ticker", "action"),
}
"""Events that are counted by fields of theirs too."""


class News:
    """`revision` moves whenever an answer may have changed. `counts`: of all events by name, as `("",)`, and of the COUNTED by
    their fields. Safe between threads."""

    def __init__(self) -> None:
        self.revision = 0
        self._lock = threading.Lock()
        self._hearers: dict[str, Callable[..., None]] = {}
        self.events: Counter[tuple[str, ...]] = Counter()
        self.counts: dict[str, Counter[tuple[str, ...]]] = {event: Counter() for event in COUNTED}

    def hear(self, event: str, hearer: Callable[..., None]) -> None:
        """`hearer(**fields)` hears of this event too."""
        self._hearers[event] = hearer

    def __call__(self, event: str, **fields: Any) -> None:
        with self._lock:
            self._count(event, fields)
        if event in self._hearers:
            self._hearers[event](**fields)
        level = _level(event)
        if log.isEnabledFor(level):
            log.log(level, "%s %s", event, " ".join(f"{key}={value}" for key, value in fields.items()))

    def _count(self, event: str, fields: Mapping[str, Any]) -> None:
        self.events[event,] += 1
        if event in CHANGES:
            self.revision += 1
        if event in COUNTED:
            self.counts[event][tuple(str(fields[name]) for name in COUNTED[event])] += 1


def _level(event: str) -> int:
    if event in DETAILS:
        return logging.DEBUG
    return logging.INFO if event in NEWS else logging.ERROR if event in ERRORS else logging.WARNING
