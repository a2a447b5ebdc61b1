"""The circuit breaker around calls to the provider: one circuit per kind of call, and one probe at a time while half open.

The package circuitbreaker counts failures and opens circuits. This module adds what it lacks: a single probe while half open;
results of calls from before a change of state do not count, nor do exceptions that say nothing about the provider; a reply that
is good but too slow counts as a failure. The lock is held for decisions only, never during a call. Nothing here sleeps or
retries.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

from circuitbreaker import CircuitBreaker

from app.errors import Upstream

R = TypeVar("R")
Call = Callable[[str, Mapping[str, str]], R]
State = Literal["closed", "open", "half_open"]
MAX_KINDS = 16
"""Number of kinds that have a circuit of their own; all others share the circuit OTHER."""

OTHER = "other"
PROBE_RETRY_S = 2.0
"""The `retry_after` of callers while a probe is under way."""


@dataclass(frozen=True, slots=True)
class CircuitState:
    """One circuit now: consecutive failures, seconds in this state, seconds until a probe is allowed (0 unless open), and how
    often the circuit has opened."""

    state: State
    failures: int
    since_s: float
    retry_in_s: float
    opened: int


class Permit(NamedTuple):
    """Permission to call, from a generation of the circuit. The result counts only if the generation is still the same."""

    generation: int
    is_probe: bool


class Circuit(CircuitBreaker):  # type: ignore[misc]
    """The package's circuit with the clock `now`, generations, and one probe at a time. Not safe between threads by itself."""

    def __init__(self, kind: str, failures: int, recovery_s: float, now: Callable[[], float]) -> None:
        super().__init__(failures, recovery_s, Upstream, kind)
        self._now = now
        self._closed_at = self._opened = now()
        self._generation = 0
        self._times_opened = 0
        self._probe_since: float | None = None
        self._reported: State = "closed"

    @property
    def open_remaining(self) -> float:
        return float(self._opened + self._recovery_timeout - self._now())

    def admit(self) -> Permit:
        """Permission to call. Raises Upstream while open, and while half open for all calls but the probe."""
        if self.closed:
            return Permit(self._generation, is_probe=False)
        wait = self.open_remaining if self.opened else PROBE_RETRY_S if self._is_probed() else 0.0
        if wait > 0:
            message = (
                f"the market-data provider keeps failing, so no calls are made for another {max(1, round(wait))} s"
            )
            raise Upstream(message, retry_after=max(1.0, wait))
        self._probe_since = self._now()
        self._generation += 1
        return Permit(self._generation, is_probe=True)

    def settle(self, permit: Permit, *, failed: bool) -> None:
        """Count the result of a call."""
        if permit.generation != self._generation:
            return
        was_closed = self.closed
        self.__exit__(Upstream if failed else None, None, None)
        if self.closed == was_closed and not permit.is_probe:
            return
        self._probe_since = None
        self._generation += 1
        if self.closed:
            self._closed_at = self._now()
        else:
            self._opened = self._now()
            self._times_opened += 1

    def cancel(self, permit: Permit) -> None:
        """A call ended in a way that says nothing about the provider, so that its result does not count."""
        if permit.is_probe and permit.generation == self._generation:
            self._probe_since = None

    def snapshot(self) -> CircuitState:
        state: State = self.state
        since = {"closed": self._closed_at, "open": self._opened, "half_open": self._opened + self._recovery_timeout}
        wait = max(0.0, self.open_remaining) if state == "open" else 0.0
        return CircuitState(state, self.failure_count, self._now() - since[state], wait, self._times_opened)

    def unreported_change(self) -> CircuitState | None:
        """The state if it has changed since the last call."""
        snapshot = self.snapshot()
        if snapshot.state == self._reported:
            return None
        self._reported = snapshot.state
        return snapshot

    def _is_probed(self) -> bool:
        """Whether a probe is under way. A probe that does not end is given up after the recovery time."""
        return self._probe_since is not None and self._now() - self._probe_since < self._recovery_timeout


class Breaker(Generic[R]):
    """A call to the provider behind one circuit per kind. `is_failure(reply)`: whether a reply counts as a failure, although
    the caller gets it. Upstream counts as a failure, too; other exceptions do not count.

    Raises Upstream without a call while the circuit of that kind is open. Emits `breaker_changed` at every change of state.
    """

    def __init__(
        self,
        call: Call[R],
        *,
        kind_of: Callable[[str], str],
        is_failure: Callable[[R], bool],
        emit: Callable[..., None],
        now: Callable[[], float],
        failures: int = 5,
        recovery_s: float = 30.0,
    ) -> None:
        self._call = call
        self._kind_of = kind_of
        self._is_failure = is_failure
        self._emit = emit
        self._new: Callable[[str], Circuit] = lambda kind: Circuit(kind, failures, recovery_s, now)
        self._circuits: dict[str, Circuit] = {}
        self._lock = threading.Lock()

    def __call__(self, path: str, params: Mapping[str, str]) -> R:
        try:
            circuit, permit, change = self._admit(self._kind_of(path))
        except Upstream:
            self._emit("call_withheld", reason="breaker")
            raise
        try:
            self._emit_change(circuit, change)
            reply = self._call(path, params)
            failed = self._is_failure(reply)
        except Upstream:
            self._settle(circuit, permit, failed=True)
            raise
        except BaseException:
            with self._lock:
                circuit.cancel(permit)
            raise
        self._settle(circuit, permit, failed=failed)
        return reply

    def states(self) -> dict[str, CircuitState]:
        """The circuits of the kinds that have been called."""
        with self._lock:
            return {kind: circuit.snapshot() for kind, circuit in self._circuits.items()}

    def _admit(self, kind: str) -> tuple[Circuit, Permit, CircuitState | None]:
        with self._lock:
            circuit = self._circuit(kind)
            return circuit, circuit.admit(), circuit.unreported_change()

    def _circuit(self, kind: str) -> Circuit:
        if kind not in self._circuits and len(self._circuits) >= MAX_KINDS:
            kind = OTHER
        if kind not in self._circuits:
            self._circuits[kind] = self._new(kind)
        return self._circuits[kind]

    def _settle(self, circuit: Circuit, permit: Permit, *, failed: bool) -> None:
        with self._lock:
            circuit.settle(permit, failed=failed)
            change = circuit.unreported_change()
        self._emit_change(circuit, change)

    def _emit_change(self, circuit: Circuit, change: CircuitState | None) -> None:
        if change is not None:
            self._emit("breaker_changed", kind=circuit.name, state=change.state, failures=change.failures)
