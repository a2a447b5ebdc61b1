"""Metrics of the messages about signals and states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Protocol

from app.telemetry.metrics import Metric, Values

KINDS = ("signal", "state")
OUTCOMES = ("sent", "failed", "dead")


class Status(Protocol):
    """What the notifier of this process does (`app.notify.notifier.Status`)."""

    @property
    def leads(self) -> bool: ...
    @property
    def waiting(self) -> Mapping[str, int]: ...
    @property
    def dead(self) -> Mapping[str, int]: ...


def notify_metrics(
    targets: Sequence[str], status: Callable[[], Status | None], counted: Callable[[str], Values]
) -> list[Metric]:
    """targets: their names; status(): None where nobody is told; counted(outcome): how often it came, by target and kind."""

    def outcomes() -> Values:
        begin = dict.fromkeys(product(targets, KINDS, OUTCOMES), 0.0)
        found = {(*labels, outcome): count for outcome in OUTCOMES for labels, count in counted(outcome).items()}
        return begin | found

    def of_leader(read: Callable[[Status], Mapping[str, int]]) -> Values:
        now = status()
        return {} if now is None or not now.leads else {(target,): count for target, count in read(now).items()}

    return [
        Metric(
            "predict_notifications_total",
            "Messages that were sent or given up (`dead`), and tries that failed",
            outcomes,
            ("target", "kind", "outcome"),
        ),
        Metric(
            "predict_notifications_waiting",
            "Messages that wait to be sent; of the process that sends",
            lambda: of_leader(lambda now: now.waiting),
            ("target",),
        ),
        Metric(
            "predict_notifications_dead",
            "Messages of the last week that were given up; of the process that sends",
            lambda: of_leader(lambda now: now.dead),
            ("target",),
        ),
    ]
