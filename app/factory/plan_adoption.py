"""Takes over what is known of the provider's plan: what this process probed, or what another process kept."""

from __future__ import annotations

from app.market.budget import PAID_PLAN, SMALL_PLAN, Budget
from app.market.ledger import KeptPlan
from app.market.market_data import MarketData
from app.market.plan import Entitlement


class PlanAdoption:
    """Applies a plan to the source and to the budget. budget: None for markets without a provider; has_own_limit: whether the
    operator set the number of calls a minute, which the plan then does not change."""

    def __init__(self, source: MarketData, budget: Budget | None, *, has_own_limit: bool) -> None:
        self._source = source
        self._budget = budget
        self._has_own_limit = has_own_limit
        self._adopted: KeptPlan | None = None

    def adopt_probed(self, entitlement: Entitlement) -> None:
        """Apply what the probe found, and keep it for other processes and later starts."""
        self._adopt(entitlement)
        if self._budget is not None:
            self._budget.keep_plan(entitlement)

    def adopt_kept(self) -> bool:
        """Apply the plan that was kept, if there is one that has not been applied yet. Returns whether there was."""
        kept = None if self._budget is None else self._budget.kept_plan()
        if kept is None or kept == self._adopted:
            return False
        self._adopted = kept
        self._adopt(kept.entitlement)
        return True

    def _adopt(self, entitlement: Entitlement) -> None:
        """The budget first: the source forgets what was refused before, and nothing may be refused by the old limit after."""
        if self._budget is not None and not self._has_own_limit:
            self._budget.limit = PAID_PLAN if entitlement.has_intraday else SMALL_PLAN
        self._source.apply_entitlement(entitlement)
