"""The event bus. The core emits events through one callable, `emit(event, **fields)`. Each event is logged and counted, passed
to its subscribers, and increases the revision of the answers that it may change.

The core knows the callable alone (architecture, idea 6); the table of events is here.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from logging import DEBUG, ERROR, INFO, WARNING
from typing import Any, Final

log = logging.getLogger("predict")

Handler = Callable[..., None]


class Invalidates(Enum):
    """Which answers an event may change: none, those about its field `ticker`, or all."""

    NOTHING = "nothing"
    TICKER = "ticker"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Event:
    """How an event is handled. level: of its line in the log (DEBUG for events that come with every answer or fetch); counted:
    fields by whose values it is counted, too; invalidates: which answers it may change (ruling A1)."""

    level: int
    counted: tuple[str, ...] = ()
    invalidates: Invalidates = Invalidates.NOTHING


TICKER, ALL = Invalidates.TICKER, Invalidates.ALL
EVENTS: Final[Mapping[str, Event]] = {
    "announcement_refused": Event(DEBUG, ("reason",)),
    "bars_fenced": Event(DEBUG),
    "bars_incomplete": Event(WARNING),
    "bars_known": Event(DEBUG, invalidates=TICKER),
    "bars_rejected": Event(WARNING),
    "bars_repaired": Event(DEBUG),
    "breaker_changed": Event(WARNING, ("kind", "state"), ALL),
    "broadcaster_broke": Event(ERROR),
    "budget_in_memory": Event(WARNING),
    "budget_shared": Event(INFO),
    "cache_recovered": Event(INFO),
    "cache_unavailable": Event(WARNING),
    "cache_unreadable": Event(WARNING),
    "cache_unwritable": Event(WARNING),
    "calendar_changed": Event(WARNING, invalidates=ALL),
    "calendar_in_memory": Event(WARNING),
    "calendar_recovered": Event(INFO),
    "call_waits": Event(DEBUG),
    "call_withheld": Event(DEBUG, ("reason",)),
    "clock_differs": Event(WARNING, invalidates=ALL),
    "entitled": Event(DEBUG, invalidates=ALL),
    "fetch_broke": Event(WARNING, invalidates=TICKER),
    "fetch_failed": Event(DEBUG, invalidates=TICKER),
    "follower_broke": Event(WARNING),
    "follower_failed": Event(DEBUG),
    "follower_leads": Event(INFO),
    "follower_lease_lost": Event(WARNING),
    "gated": Event(DEBUG, ("gate",)),
    "history_rebased": Event(WARNING, invalidates=TICKER),
    "limited": Event(DEBUG),
    "limits_local": Event(WARNING),
    "limits_shared": Event(INFO),
    "live_event": Event(DEBUG, ("kind",)),
    "live_log_grew": Event(DEBUG, invalidates=TICKER),
    "live_log_heard": Event(INFO),
    "live_log_in_memory": Event(WARNING),
    "live_log_in_redis": Event(INFO),
    "live_log_on_disk": Event(INFO),
    "live_log_unheard": Event(WARNING),
    "live_sequence_ended": Event(INFO),
    "looked_up": Event(DEBUG, ("cache", "outcome")),
    "metrics_not_pushed": Event(WARNING),
    "metrics_pushed": Event(INFO),
    "models_changed": Event(INFO, invalidates=ALL),
    "models_refused": Event(WARNING, invalidates=ALL),
    "models_unwatched": Event(WARNING),
    "notification_dead": Event(WARNING, ("target", "kind")),
    "notification_failed": Event(INFO, ("target", "kind")),
    "notification_sent": Event(INFO, ("target", "kind")),
    "notifications_recovered": Event(INFO),
    "notifications_unavailable": Event(WARNING),
    "notifier_broke": Event(WARNING),
    "notifier_leads": Event(INFO),
    "open_learned": Event(DEBUG, invalidates=TICKER),
    "open_source_failed": Event(DEBUG),
    "past_bars_known": Event(DEBUG),
    "past_fetch_failed": Event(DEBUG),
    "past_open_learned": Event(DEBUG),
    "plan_changed": Event(DEBUG, invalidates=ALL),
    "plan_probed": Event(INFO),
    "predicted": Event(DEBUG),
    "provider_pauses_us": Event(WARNING),
    "provider_reached": Event(DEBUG, invalidates=ALL),
    "record_can_forget": Event(WARNING),
    "record_changed": Event(ERROR),
    "running_day_shared": Event(INFO),
    "running_day_unshared": Event(WARNING),
    "signal_locked": Event(INFO, ("ticker", "action"), TICKER),
    "snapshot_refused": Event(DEBUG),
    "spans_lost": Event(WARNING),
    "spans_sent": Event(INFO),
    "stale_bars_served": Event(DEBUG),
    "socket_connected": Event(DEBUG, ("recovered",)),
    "socket_ended": Event(DEBUG, ("reason",)),
    "socket_message": Event(DEBUG, ("event", "outcome")),
    "socket_refused": Event(DEBUG, ("code",)),
    "store_degraded": Event(WARNING, invalidates=ALL),
    "store_recovered": Event(INFO, invalidates=ALL),
    "subscriber_failed": Event(ERROR),
    "workers_apart": Event(WARNING),
}
"""Every event by name."""

UNKNOWN: Final = Event(WARNING)
"""How an event is handled that is not in the table."""


class Events:
    """The event bus. `counts[name,]`: how often an event was emitted; `counts_by_field[name]`: the same by the values of its
    counted fields. Safe between threads. Emitting never raises."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, ...]] = Counter()
        self.counts_by_field: dict[str, Counter[tuple[str, ...]]] = {
            name: Counter() for name, event in EVENTS.items() if event.counted
        }
        self._changed = threading.Condition()
        self._revision = 0
        self._revisions: Counter[str] = Counter()
        self._handlers: defaultdict[str, list[Handler]] = defaultdict(list)

    def subscribe(self, name: str, handler: Handler) -> None:
        """Call `handler(**fields)` for each event `name`, in the thread that emits it. What it raises is logged."""
        self._handlers[name].append(handler)

    def emit(self, name: str, /, **fields: Any) -> None:
        """Log and count one event and pass it to its subscribers. fields: those in the table, and others that explain the log
        line."""
        event = EVENTS.get(name, UNKNOWN)
        self._count(name, event, fields)
        for handler in self._handlers.get(name, ()):
            self._call(name, handler, fields)
        if log.isEnabledFor(event.level):
            log.log(event.level, "%s %s", name, " ".join(f"{key}={value}" for key, value in fields.items()))

    __call__ = emit

    def revision(self, tickers: Collection[str] = ()) -> int:
        """A number that increases whenever an answer about one of `tickers` may have changed; without tickers, whenever any
        answer may have changed."""
        if not tickers:
            return self._revision + sum(self._revisions.values())
        return self._revision + sum(self._revisions[ticker] for ticker in tickers)

    def wait(self, ticker: str, since: int, timeout_s: float) -> int:
        """Wait until the revision of `ticker` is above `since`, for `timeout_s` real seconds at most. Returns the revision."""
        with self._changed:
            self._changed.wait_for(lambda: self.revision((ticker,)) > since, timeout_s)
            return self.revision((ticker,))

    def _count(self, name: str, event: Event, fields: Mapping[str, Any]) -> None:
        with self._changed:
            self.counts[name,] += 1
            if event.counted:
                self.counts_by_field[name][tuple(str(fields.get(field, "")) for field in event.counted)] += 1
            if event.invalidates is TICKER and "ticker" in fields:
                self._revisions[fields["ticker"]] += 1
            elif event.invalidates is not Invalidates.NOTHING:
                self._revision += 1
            else:
                return
            self._changed.notify_all()

    def _call(self, name: str, handler: Handler, fields: Mapping[str, Any]) -> None:
        try:
            handler(**fields)
        except Exception as exc:  # a subscriber must not break the code that emits
            if name != "subscriber_failed":
                self.emit("subscriber_failed", event=name, error=f"{type(exc).__name__}: {exc}")
