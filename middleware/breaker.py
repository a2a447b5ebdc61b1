"""Stops calling a provider that keeps failing, one circuit per kind of call, and tries it again one call at a time.

Stands on the circuitbreaker package, which counts and opens, and mends what it lets through: a single probe while half
open, results of before a change of state, exceptions that say nothing of the provider, and answers that are good but too
slow. Holds its lock for decisions only, never during a call; never sleeps and never retries.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

from circuitbreaker import CircuitBreaker

from app.errors import Upstream

R = TypeVar("R")
T = TypeVar("T")
State = Literal["closed", "open", "half_open"]
MAX_KINDS = 16
OTHER = "other"
PROBE_RETRY_S = 2.0
"""What callers are told to wait while the probe is out."""


@dataclass(frozen=True, slots=True)
class CircuitState:
    """One circuit now: consecutive failures, seconds in this state, seconds until a probe may go (0 unless open), and how
    often it opened so far."""

    state: State
    failures: int
    since_s: float
    retry_in_s: float
    opened: int


class Permit(NamedTuple):
    """Leave to call, given in a generation of the circuit; of an older generation the result no longer counts."""

    generation: int
    is_probe: bool


class Circuit(CircuitBreaker):  # type: ignore[misc]
    """The package's circuit on our clock, with generations and one probe at a time. Not safe between threads by itself."""

    def __init__(self, kind: str, failures: int, rest_s: float, now: Callable[[], float]) -> None:
        super().__init__(failures, rest_s, Upstream, kind)
        self._now = now
        self._changed = self._opened = now()
        self._generation = 0
        self._times_opened = 0
        self._probe_since: float | None = None

    @property
    def open_remaining(self) -> float:
        return float(self._opened + self._recovery_timeout - self._now())

    def admit(self) -> Permit:
        """Leave to call. Raises Upstream while open, and while half open for all but one."""
        if self.closed:
            return Permit(self._generation, is_probe=False)
        wait = self.open_remaining if self.opened else PROBE_RETRY_S if self._is_probed() else 0.0
        if wait > 0:
            said = f"the market-data provider keeps failing; no calls for another {max(1, round(wait))} s"
            raise Upstream(said, retry_after=max(1.0, wait))
        self._probe_since = self._now()
        self._enter()
        return Permit(self._generation, is_probe=True)

    def settle(self, permit: Permit, failure: Upstream | None) -> None:
        """A call ended, with this failure or well."""
        if permit.generation != self._generation:
            return
        was_closed = self.closed
        self.__exit__(None if failure is None else type(failure), failure, None)
        if self.closed == was_closed and not permit.is_probe:
            return
        self._probe_since = None
        self._enter()
        if not self.closed:
            self._opened = self._now()
            self._times_opened += 1

    def give_back(self, permit: Permit) -> None:
        """A call ended in a way that says nothing of the provider."""
        if permit.is_probe and permit.generation == self._generation:
            self._probe_since = None

    def seen(self) -> CircuitState:
        state: State = "closed" if self.closed else "open" if self.opened else "half_open"
        wait = self.open_remaining if state == "open" else 0.0
        return CircuitState(state, self.failure_count, self._now() - self._changed, wait, self._times_opened)

    def _is_probed(self) -> bool:
        """Whether a probe is out; one that does not come back is given up after the time of a rest."""
        return self._probe_since is not None and self._now() - self._probe_since < self._recovery_timeout

    def _enter(self) -> None:
        self._generation += 1
        self._changed = self._now()


class Breaker(Generic[R]):
    """A provider call behind a circuit per kind. `failed(answer)`: whether an answer counts as a failure, though it is
    handed on; so does Upstream. All other exceptions pass and count for nothing.

    Raises Upstream without a call while the circuit of that kind is open. `notice("breaker_changed", ...)` hears of every
    change of state.
    """

    def __init__(
        self,
        call: Callable[[str, Mapping[str, str]], R],
        *,
        kind_of: Callable[[str], str],
        failed: Callable[[R], bool],
        notice: Callable[..., None],
        now: Callable[[], float] = time.monotonic,
        failures: int = 5,
        rest_s: float = 30.0,
    ) -> None:
        self._call = call
        self._kind_of = kind_of
        self._failed = failed
        self._notice = notice
        self._new: Callable[[str], Circuit] = lambda kind: Circuit(kind, failures, rest_s, now)
        self._circuits: dict[str, Circuit] = {}
        self._told: dict[str, State] = {}
        self._lock = threading.Lock()

    def __call__(self, path: str, params: Mapping[str, str]) -> R:
        circuit = self._circuit(self._kind_of(path))
        permit = self._deciding(circuit, circuit.admit)
        try:
            answer = self._call(path, params)
        except Upstream as exc:
            failure = exc
            self._deciding(circuit, lambda: circuit.settle(permit, failure))
            raise
        except BaseException:
            self._deciding(circuit, lambda: circuit.give_back(permit))
            raise
        slow_or_bad = Upstream("the answer was late or bad") if self._failed(answer) else None
        self._deciding(circuit, lambda: circuit.settle(permit, slow_or_bad))
        return answer

    def states(self) -> dict[str, CircuitState]:
        """The circuits by kind, as far as that kind was called."""
        with self._lock:
            return {kind: circuit.seen() for kind, circuit in self._circuits.items()}

    def _circuit(self, kind: str) -> Circuit:
        with self._lock:
            if kind not in self._circuits and len(self._circuits) >= MAX_KINDS - 1:
                kind = OTHER
            if kind not in self._circuits:
                self._circuits[kind] = self._new(kind)
                self._told[kind] = "closed"
            return self._circuits[kind]

    def _deciding(self, circuit: Circuit, decide: Callable[[], T]) -> T:
        """A decision about `circuit` under the lock; what it changed is told afterwards."""
        changed: CircuitState | None = None
        try:
            with self._lock:
                try:
                    return decide()
                finally:
                    changed = self._change(circuit)
        finally:
            if changed is not None:
                self._notice("breaker_changed", kind=circuit.name, state=changed.state, failures=changed.failures)

    def _change(self, circuit: Circuit) -> CircuitState | None:
        """The circuit's state if it has not been told yet."""
        found = circuit.seen()
        if self._told[circuit.name] == found.state:
            return None
        self._told[circuit.name] = found.state
        return found
