"""The follower's jobs: each is tried now and then, runs on a bounded pool of threads, and ends within its time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from app.clock import Timer
from app.errors import PredictError
from app.market.single_flight import LruCache, SingleFlight, deadline
from app.telemetry.stages import Stages

MAX_TRIED = 256
"""Jobs of which it is kept when they were last tried."""

JOB_S = 20.0


class Jobs:
    """Runs jobs by key, one of each key at a time. Emits `follower_failed` for those that raise."""

    def __init__(self, workers: int, emit: Callable[..., None], stages: Stages, timer: Timer) -> None:
        self._flight: SingleFlight[Any] = SingleFlight(workers)
        self._emit = emit
        self._stages = stages
        self._timer = timer
        self._tried: LruCache[tuple[datetime, float]] = LruCache(MAX_TRIED)

    def __len__(self) -> int:
        """How many jobs are remembered with the moment at which they were last tried."""
        return len(self._tried)

    def is_time(self, key: object, at: datetime, every: timedelta) -> bool:
        """Whether `key` was not tried in the last `every`, of market time or of real time. If so, it counts as tried now."""
        tried, now = self._tried.get(key), self._timer.now()
        if tried is not None and timedelta(0) <= at - tried[0] < every and now - tried[1] < every.total_seconds():
            return False
        self._tried.put(key, (at, now))
        return True

    def start(self, key: object, job: Callable[[], object]) -> None:
        """Run `job` in the background unless one of the same key is running."""

        def limited() -> None:
            with deadline(JOB_S), self._stages.root("follow", what=str(key)):
                try:
                    job()
                except PredictError as exc:
                    self._emit("follower_failed", what=str(key), error=exc.detail)

        self._flight.start(key, limited)

    def runs(self, key: object) -> bool:
        """Whether a job of this key is running or queued."""
        return self._flight.runs(key)

    def waiting(self) -> int:
        """How many jobs are running or queued."""
        return self._flight.waiting()

    def close(self) -> None:
        """Start no more jobs."""
        self._flight.close()
