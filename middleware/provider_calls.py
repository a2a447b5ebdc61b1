"""Measures calls to the provider, each attempt by itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from app.errors import Upstream
from app.telemetry.spans import MeasuredStage, SpanStages, UnmeasuredStage


class Reply(Protocol):
    """What a call to the provider returns."""

    @property
    def status(self) -> int: ...


R = TypeVar("R", bound=Reply)


class MeasuredCalls(Generic[R]):
    """Measures the duration of each call by its outcome, and records its span in the trace that caused it.
    `outcome_of(reply)`: `ok`, `slow`, `limited`, `refused` or `failed`; the outcome of a call that raises Upstream is
    `failed`. All other errors mean that no call was made."""

    def __init__(
        self,
        call: Callable[[str, Mapping[str, str]], R],
        stages: SpanStages,
        kind_of: Callable[[str], str],
        outcome_of: Callable[[R], str],
    ) -> None:
        self._call = call
        self._stages = stages
        self._kind_of = kind_of
        self._outcome_of = outcome_of

    def __call__(self, path: str, params: Mapping[str, str]) -> R:
        kind, began = self._kind_of(path), self._stages.now()
        with self._stages.provider_call(kind, path) as stage:
            try:
                reply = self._call(path, params)
            except Upstream:
                self._observe(stage, kind, "failed", began)
                raise
            self._observe(stage, kind, self._outcome_of(reply), began)
            return reply

    def _observe(self, stage: MeasuredStage | UnmeasuredStage, kind: str, outcome: str, began: float) -> None:
        self._stages.latencies.called(kind, outcome, self._stages.now() - began)
        stage.set(outcome=outcome)
