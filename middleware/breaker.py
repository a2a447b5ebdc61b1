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
Call = Callable[[str, Mapping[str, str]], R]
State = Literal["closed", "open", "half_open"]
MAX_KINDS = 16
"""So many kinds have a circuit of their own; the rest share OTHER's."""
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
        self._closed_at = self._opened = now()
        self._generation = 0
        self._times_opened = 0
        self._probe_since: float | None = None
        self._told: State = "closed"

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
        self._generation += 1
        return Permit(self._generation, is_probe=True)

    def settle(self, permit: Permit, *, failed: bool) -> None:
        """A call ended, badly or well."""
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

    def give_back(self, permit: Permit) -> None:
        """A call ended in a way that says nothing of the provider."""
        if permit.is_probe and permit.generation == self._generation:
            self._probe_since = None

    def seen(self) -> CircuitState:
        state: State = self.state
        since = {"closed": self._closed_at, "open": self._opened, "half_open": self._opened + self._recovery_timeout}
        wait = max(0.0, self.open_remaining) if state == "open" else 0.0
        return CircuitState(state, self.failure_count, self._now() - since[state], wait, self._times_opened)

    def untold(self) -> CircuitState | None:
        """The state, the first time it is asked for since it changed."""
        found = self.seen()
        if found.state == self._told:
            return None
        self._told = found.state
        return found

    def _is_probed(self) -> bool:
        """Whether a probe is out; one that does not come back is given up after the time of a rest."""
        return self._probe_since is not None and self._now() - self._probe_since < self._recovery_timeout


class Breaker(Generic[R]):
    """A provider call behind a circuit per kind. `failed(answer)`: whether an answer counts as a failure, though it is
    handed on; so does Upstream. All other exceptions pass and count for nothing.

    Raises Upstream without a call while the circuit of that kind is open. `emit("breaker_changed", ...)` hears of every
    change of state.
    """

    def __init__(
        self,
        call: Call[R],
        *,
        kind_of: Callable[[str], str],
        failed: Callable[[R], bool],
        emit: Callable[..., None],
        now: Callable[[], float] = time.monotonic,
        failures: int = 5,
        rest_s: float = 30.0,
    ) -> None:
        self._call = call
        self._kind_of = kind_of
        self._failed = failed
        self._emit = emit
        self._new: Callable[[str], Circuit] = lambda kind: Circuit(kind, failures, rest_s, now)
        self._circuits: dict[str, Circuit] = {}
        self._lock = threading.Lock()

    def __call__(self, path: str, params: Mapping[str, str]) -> R:
        try:
            circuit, permit, change = self._admit(self._kind_of(path))
        except Upstream:
            self._emit("call_withheld", reason="breaker")
            raise
        try:
            self._tell(circuit, change)
            answer = self._call(path, params)
            failed = self._failed(answer)
        except Upstream:
            self._settle(circuit, permit, failed=True)
            raise
        except BaseException:
            with self._lock:
                circuit.give_back(permit)
            raise
        self._settle(circuit, permit, failed=failed)
        return answer

    def states(self) -> dict[str, CircuitState]:
        """The circuits by kind, as far as that kind was called."""
        with self._lock:
            return {kind: circuit.seen() for kind, circuit in self._circuits.items()}

    def _admit(self, kind: str) -> tuple[Circuit, Permit, CircuitState | None]:
        with self._lock:
            circuit = self._circuit(kind)
            return circuit, circuit.admit(), circuit.untold()

    def _circuit(self, kind: str) -> Circuit:
        if kind not in self._circuits and len(self._circuits) >= MAX_KINDS:
            kind = OTHER
        if kind not in self._circuits:
            self._circuits[kind] = self._new(kind)
        return self._circuits[kind]

    def _settle(self, circuit: Circuit, permit: Permit, *, failed: bool) -> None:
        with self._lock:
            circuit.settle(permit, failed=failed)
            change = circuit.untold()
        self._tell(circuit, change)

    def _tell(self, circuit: Circuit, change: CircuitState | None) -> None:
        if change is not None:
            self._emit("breaker_changed", kind=circuit.name, state=change.state, failures=change.failures)
