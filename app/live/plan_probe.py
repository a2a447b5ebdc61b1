"""Probes the provider's plan once a day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta

from app.clock import Timer
from app.errors import PredictError
from app.live.jobs import Jobs
from app.market.budget import Priority, call_context
from app.market.calendar import ny_day
from app.market.fetching import BACKFILL_PATIENCE_S
from app.market.market_data import MarketData
from app.market.plan import Entitlement, probe, probe_history
from app.market.polygon import Polygon
from app.market.shared_fetches import REFUSED_FOR
from app.signals.policy import SUPPORTED

PROBE_AGAIN_AFTER = timedelta(seconds=60)
PROBE_PATIENCE_S = 90.0
"""Real seconds that a probe waits for the budget: one window of the smallest plan, and the time of a call."""


class PlanProbe:
    """The daily probe. `apply_entitlement` is called with its result; emits `plan_probed`. error: why the last probe failed."""

    def __init__(
        self,
        polygon: Polygon,
        source: MarketData,
        apply_entitlement: Callable[[Entitlement], None],
        timer: Timer,
        emit: Callable[..., None],
        jobs: Jobs,
    ) -> None:
        self._polygon = polygon
        self._source = source
        self._apply_entitlement = apply_entitlement
        self._timer = timer
        self._emit = emit
        self._jobs = jobs
        self._probed: date | None = None
        self.error: str | None = None

    def count_as_done(self, at: datetime) -> None:
        """Another process has probed the plan today."""
        self._probed = ny_day(at)

    def step(self, at: datetime) -> None:
        """Probe the plan once a day, and sooner if the probe failed or the plan seems to lack the running day, since a refusal
        may be temporary."""
        if self._source.plan.has_intraday and self._probed == ny_day(at):
            return
        unknown = self._source.observed_plan.entitlement is None
        if self._jobs.is_time("probe", at, PROBE_AGAIN_AFTER if unknown else REFUSED_FOR):
            self._jobs.start("probe", lambda: self.run(at))

    def run(self, at: datetime) -> None:
        """Probe the plan now. Raises what a call to the provider raises."""
        try:
            self._run_in_steps(ny_day(at))
        except PredictError as exc:
            self.error = exc.message
            raise
        self.error, self._probed = None, ny_day(at)

    def _run_in_steps(self, today: date) -> None:
        """Probe the most important fact first: whether the plan has the running day; then how far back its history goes. The
        history that was known is kept until then."""
        known = self._source.observed_plan.entitlement
        with call_context(Priority.PROBE, PROBE_PATIENCE_S, self._timer):
            entitlement = probe(self._polygon, SUPPORTED[0], today)
        if known is not None:
            history_from = (
                known.history_from if known.has_intraday == entitlement.has_intraday else entitlement.history_from
            )
            entitlement = replace(entitlement, history_from=history_from)
        self._apply_entitlement(entitlement)
        with call_context(Priority.BACKFILL, BACKFILL_PATIENCE_S, self._timer):
            entitlement = probe_history(entitlement, self._polygon, SUPPORTED[0], today)
        self._apply_entitlement(entitlement)
        self._emit("plan_probed", today=entitlement.has_intraday, history_from=entitlement.history_from)
