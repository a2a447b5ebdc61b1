"""Which model set is served, out of those that were promoted.

The newest one is, unless it lacks a model that the one before it has: then the one before stays, whole. Models of two sets are
never mixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from app.errors import BrokenData
from app.market.single_flight import LruCache
from app.model.artefact import ModelSet, PolicyStamp
from app.model.promotions import Promotion
from app.model.registry import Registry

MAX_LOADED: Final = 8
"""Sets in memory, those of the hours of a day and one more; no more of them are compared."""


class Choice(NamedTuple):
    """The set that is served. refused: why that is not the newest one."""

    models: ModelSet
    refused: str | None = None


class ServableSets:
    """Loads the sets of a registry, each once for each of its promotions, and chooses between them."""

    def __init__(self, registry: Registry, tickers: tuple[str, ...], policy: PolicyStamp) -> None:
        self.registry = registry
        self._tickers = tickers
        self._policy = policy
        self._loaded: LruCache[ModelSet] = LruCache(MAX_LOADED)

    def newest(self) -> Choice:
        """What is served of all promotions there are. Without any no ticker has a model."""
        try:
            return self.choose(self.registry.promotions().history)
        except BrokenData as exc:
            return self.none(exc.message)

    def none(self, why: str) -> Choice:
        return Choice(ModelSet({}, dict.fromkeys(self._tickers, why)))

    def choose(self, promotions: Sequence[Promotion]) -> Choice:
        """What is served once these promotions were made, newest first. What lacks a model is compared with what would be
        served without it."""
        newest, earlier = self._load(promotions[0]), promotions[1:MAX_LOADED]
        if not newest.missing or not earlier:
            return Choice(newest)
        kept = self.choose(earlier).models
        lost = [member for member in newest.missing if member not in kept.missing]
        if not lost:
            return Choice(newest)
        return Choice(kept, f"the promoted set {newest.name} is not served: {newest.missing[lost[0]]}")

    def _load(self, promotion: Promotion) -> ModelSet:
        models = self._loaded.get(promotion)
        if models is None:
            whole = (known for known in self._loaded.values() if known.name == promotion.name and not known.missing)
            models = next(whole, None) or self.registry.load(promotion.name, self._tickers, self._policy)
            self._loaded.put(promotion, models)
        return models


def load_models(folder: Path, tickers: tuple[str, ...], policy: PolicyStamp) -> ModelSet:
    """Every ticker's model of the set that the registry in `folder` has promoted, or why it is refused. Never raises."""
    return ServableSets(Registry(folder), tickers, policy).newest().models
