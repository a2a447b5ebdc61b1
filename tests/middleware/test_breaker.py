"""The breaker: five failures open a circuit, thirty seconds later exactly one call tries (ruling A3; polygon.md 6)."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import middleware
from app.errors import BudgetSpent, NotEntitled, Unavailable, Upstream
from middleware.breaker import MAX_KINDS, Breaker, Circuit, CircuitState, Permit
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]


class Provider:
    """A provider whose answers a test sets, behind a breaker on a clock that a test moves."""

    def __init__(self) -> None:
        self.at = 0.0
        self.calls = 0
        self.answer: Callable[[], str] = lambda: "good"
        self.heard: list[tuple[str, str]] = []
        self.hearing: Callable[[], object] = lambda: None
        self.judge: Callable[[str], bool] = lambda answer: answer in ("bad", "slow")
        self.breaker: Breaker[str] = Breaker(
            self._call,
            kind_of=lambda path: path,
            is_failure=lambda answer: self.judge(answer),
            emit=self._emit,
            now=lambda: self.at,
        )

    def _call(self, path: str, params: Mapping[str, str]) -> str:
        self.calls += 1
        return self.answer()

    def _emit(self, event: str, *, kind: str = "", state: str = "", failures: int = 0, reason: str = "") -> None:
        if event == "call_withheld":
            assert reason == "breaker"
            return
        assert event == "breaker_changed"
        self.heard.append((kind, state))
        self.hearing()

    def ask(self, path: str = "bars") -> str:
        return self.breaker(path, {})

    def state(self, path: str = "bars") -> str:
        return self.breaker.states()[path].state

    def fail(self, times: int, path: str = "bars") -> None:
        self.answer = raising(Upstream("down"))
        for _ in range(times):
            with pytest.raises(Upstream):
                self.ask(path)
        self.answer = lambda: "good"

    def opened(self) -> Provider:
        self.fail(5)
        assert self.state() == "open"
        return self


def raising(exc: BaseException) -> Callable[[], str]:
    def answer() -> str:
        raise exc

    return answer


@pytest.fixture
def provider() -> Provider:
    return Provider()


def refused(provider: Provider) -> Upstream:
    before = provider.calls
    with pytest.raises(Upstream) as caught:
        provider.ask()
    assert provider.calls == before, "the provider was spared"
    return caught.value


def test_five_failures_in_a_row_open_it_and_four_do_not(provider: Provider) -> None:
    provider.fail(4)
    assert provider.ask() == "good"
    provider.fail(4)
    assert provider.state() == "closed"
    provider.fail(1)
    assert refused(provider).retry_after == 30.0


def test_an_answer_that_counts_as_failed_is_handed_on_and_counts(provider: Provider) -> None:
    provider.answer = lambda: "slow"
    assert [provider.ask() for _ in range(5)] == ["slow"] * 5
    refused(provider)


def test_other_kinds_of_call_go_on(provider: Provider) -> None:
    provider.opened()
    assert provider.ask("snapshot") == "good"


def test_the_refusal_counts_down(provider: Provider) -> None:
    provider.opened()
    provider.at = 25.0
    assert refused(provider).retry_after == 5.0
    assert provider.breaker.states()["bars"].retry_in_s == 5.0


def test_after_thirty_seconds_a_good_probe_closes_it(provider: Provider) -> None:
    provider.opened()
    provider.at = 30.0
    assert provider.ask() == "good"
    assert provider.state() == "closed"
    provider.fail(4)
    assert provider.state() == "closed", "the count began anew"


def test_a_bad_probe_opens_it_for_another_thirty_seconds(provider: Provider) -> None:
    provider.opened()
    provider.at = 30.0
    provider.fail(1)
    provider.at = 59.0
    refused(provider)
    provider.at = 60.0
    assert provider.ask() == "good"
    assert provider.breaker.states()["bars"].opened == 2


def test_of_fifty_that_wait_one_reaches_the_provider_half_open(provider: Provider) -> None:
    provider.opened()
    provider.at, before = 30.0, provider.calls
    barrier, let_go, waits = threading.Barrier(50), threading.Event(), list[float]()
    refusals = threading.Semaphore(0)

    def answer() -> str:
        assert let_go.wait(PATIENCE_S)
        return "good"

    def ask() -> str:
        barrier.wait(PATIENCE_S)
        try:
            return provider.ask()
        except Upstream as exc:
            waits.append(exc.retry_after)
            refusals.release()
            return "refused"

    provider.answer = answer
    with ThreadPoolExecutor(50) as pool:
        asked = [pool.submit(ask) for _ in range(50)]
        in_time = all(refusals.acquire(timeout=PATIENCE_S) for _ in range(49))
        let_go.set()
        answers = [future.result() for future in asked]
    assert in_time, "nobody waits for the probe"
    assert sorted(answers) == ["good"] + ["refused"] * 49
    assert all(1.0 <= wait <= 5.0 for wait in waits)
    assert provider.calls == before + 1
    assert provider.state() == "closed"


GEVENT = """
from gevent import monkey
monkey.patch_all()
import gevent
from app.errors import Upstream
from middleware.breaker import Breaker

def call(path, params):
    calls.append(path)
    if at[0] < 30.0:
        raise Upstream("down")
    let_go.wait(180)
    return "good"

def ask():
    try:
        return breaker("bars", {})
    except Upstream:
        return "refused"

calls, at, let_go = [], [0.0], gevent.event.Event()
breaker = Breaker(call, kind_of=str, is_failure=lambda a: False, emit=lambda *a, **f: gevent.sleep(0), now=lambda: at[0])
assert [ask() for _ in range(6)] == ["refused"] * 6
assert len(calls) == 5
at[0] = 30.0
asked = [gevent.spawn(ask) for _ in range(50)]
assert len(gevent.wait(asked, timeout=180, count=49)) == 49
let_go.set()
gevent.joinall(asked, timeout=180)
assert sorted(g.value for g in asked) == ["good"] + ["refused"] * 49
assert len(calls) == 6
assert breaker.states()["bars"].state == "closed"
at[0] = 0.0
assert [ask() for _ in range(5)] == ["refused"] * 5
at[0] = 30.0
let_go.clear()
assert gevent.with_timeout(0.01, ask, timeout_value="timed out") == "timed out"
assert breaker.states()["bars"].state == "half_open"
let_go.set()
assert ask() == "good"
"""


def test_among_greenlets_one_probe_goes_and_one_that_times_out_gives_its_place_back() -> None:
    done = subprocess.run([sys.executable, "-c", GEVENT], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr


NEUTRAL: list[BaseException] = [
    *(BudgetSpent("spent"), Unavailable("no", part="api_key"), NotEntitled("plan")),
    *(ZeroDivisionError(), KeyboardInterrupt(), GeneratorExit(), gevent.Timeout()),
]


@pytest.mark.parametrize("neutral", NEUTRAL, ids=lambda exc: type(exc).__name__)
def test_an_exception_that_says_nothing_of_the_provider_counts_for_nothing(
    provider: Provider, neutral: BaseException
) -> None:
    provider.fail(4)
    provider.answer = raising(neutral)
    for _ in range(10):
        with pytest.raises(type(neutral)):
            provider.ask()
    assert provider.breaker.states()["bars"].failures == 4
    provider.fail(1)
    assert provider.state() == "open"


@pytest.mark.parametrize("neutral", NEUTRAL, ids=lambda exc: type(exc).__name__)
def test_a_probe_that_says_nothing_gives_its_place_back(provider: Provider, neutral: BaseException) -> None:
    provider.opened()
    provider.at = 30.0
    provider.answer = raising(neutral)
    with pytest.raises(type(neutral)):
        provider.ask()
    assert provider.state() == "half_open"
    provider.answer = lambda: "good"
    assert provider.ask() == "good"


def test_a_probe_whose_answer_cannot_be_judged_gives_its_place_back(provider: Provider) -> None:
    provider.opened()
    provider.at, judge = 30.0, provider.judge
    provider.judge = lambda answer: 1 // 0 > 0
    with pytest.raises(ZeroDivisionError):
        provider.ask()
    provider.judge = judge
    assert provider.ask() == "good"


def test_a_probe_that_cannot_be_told_gives_its_place_back(provider: Provider) -> None:
    provider.opened()
    provider.at, provider.hearing = 30.0, raising(gevent.Timeout())
    with pytest.raises(gevent.Timeout):
        provider.ask()
    provider.hearing = lambda: None
    assert provider.ask() == "good"
    assert provider.heard == [("bars", "open"), ("bars", "half_open"), ("bars", "closed")]


def in_the_middle(provider: Provider, then: Callable[[], None], end: Callable[[], str]) -> Callable[[], str]:
    """An answer during which `then` happens."""

    def answer() -> str:
        provider.answer = lambda: "good"
        then()
        return end()

    return answer


def test_a_late_success_does_not_close_an_open_circuit(provider: Provider) -> None:
    provider.answer = in_the_middle(provider, lambda: provider.fail(5), lambda: "good")
    assert provider.ask() == "good"
    assert provider.state() == "open"


def test_a_late_failure_does_not_open_a_circuit_just_closed(provider: Provider) -> None:
    def heal() -> None:
        provider.fail(5)
        provider.at = 30.0
        provider.ask()
        provider.fail(4)

    provider.answer = in_the_middle(provider, heal, raising(Upstream("old")))
    with pytest.raises(Upstream, match="old"):
        provider.ask()
    assert provider.state() == "closed"


def test_a_probe_that_never_comes_back_is_given_up(provider: Provider) -> None:
    provider.opened()
    provider.at = 30.0

    def meanwhile() -> None:
        provider.at = 59.0
        refused(provider)
        provider.at = 60.0
        assert provider.ask() == "good"

    provider.answer = in_the_middle(provider, meanwhile, raising(Upstream("old")))
    with pytest.raises(Upstream, match="old"):
        provider.ask()
    assert provider.state() == "closed"


@pytest.mark.parametrize("end", ["good", "bad", "neutral"])
def test_the_end_of_a_probe_given_up_leaves_its_successor_alone(end: str) -> None:
    at = [0.0]
    circuit = Circuit("bars", 1, 30.0, lambda: at[0])
    circuit.settle(circuit.admit(), failed=True)
    at[0] = 30.0
    lost = circuit.admit()
    at[0] = 60.0
    successor = circuit.admit()
    if end == "neutral":
        circuit.cancel(lost)
    else:
        circuit.settle(lost, failed=end == "bad")
    with pytest.raises(Upstream):
        circuit.admit()
    assert circuit.snapshot().state == "half_open"
    circuit.settle(successor, failed=False)
    assert circuit.snapshot().state == "closed"


def test_every_change_is_told_once(provider: Provider) -> None:
    provider.opened()
    refused(provider)
    refused(provider)
    provider.at = 30.0
    provider.fail(1)
    provider.at = 60.0
    provider.ask()
    told = ["open", "half_open", "open", "half_open", "closed"]
    assert provider.heard == [("bars", state) for state in told]


def test_changes_are_told_outside_the_lock(provider: Provider) -> None:
    during: list[dict[str, CircuitState]] = []
    provider.hearing = lambda: during.append(provider.breaker.states())
    with ThreadPoolExecutor(1) as pool:
        pool.submit(provider.opened).result(PATIENCE_S)
    assert [states["bars"].state for states in during] == ["open"]


def test_the_state_says_since_when_and_until_when(provider: Provider) -> None:
    def at(moment: float) -> CircuitState:
        provider.at = moment
        return provider.breaker.states()["bars"]

    provider.at = 3.0
    provider.ask()
    assert at(10.0) == CircuitState("closed", failures=0, since_s=7.0, retry_in_s=0.0, opened=0)
    provider.opened()
    assert at(15.0) == CircuitState("open", failures=5, since_s=5.0, retry_in_s=25.0, opened=1)
    assert at(50.0) == CircuitState("half_open", failures=5, since_s=10.0, retry_in_s=0.0, opened=1)
    provider.answer = lambda: at(55.0).state
    assert provider.ask() == "half_open"
    assert at(60.0) == CircuitState("closed", failures=0, since_s=5.0, retry_in_s=0.0, opened=1)


def test_the_number_of_circuits_is_bounded(provider: Provider) -> None:
    kinds = [f"kind-{n}" for n in range(100)]
    for kind in kinds:
        provider.ask(kind)
    assert list(provider.breaker.states()) == [*kinds[:MAX_KINDS], "other"]
    provider.fail(4, kinds[20])
    provider.fail(1, kinds[21])
    assert provider.state("other") == "open"


def test_wrap_puts_a_call_behind_the_breaker() -> None:
    heard: list[str] = []
    call = middleware.with_breaker(
        lambda path, params: f"{path} {params['a']}",
        kind_of=lambda path: path[:4],
        is_failure=lambda answer: True,
        emit=lambda event, **f: heard.append(f"{f['kind']} {f['state']} {f['failures']}"),
        now=lambda: 0.0,
    )
    assert [call("bars/x", {"a": "1"}) for _ in range(5)] == ["bars/x 1"] * 5
    assert heard == ["bars open 5"]


EVENTS = st.lists(st.sampled_from(["good", "bad", "neutral", "wait"]), max_size=80)


@given(EVENTS)
def test_it_behaves_like_its_description(events: list[str]) -> None:
    provider, failures, open_until = Provider(), 0, None
    for event in events:
        if event == "wait":
            provider.at += 12.0
            continue
        answers: dict[str, Any] = {"good": lambda: "good", "bad": lambda: "bad", "neutral": raising(BudgetSpent("x"))}
        provider.answer, before = answers[event], provider.calls
        with suppress(Upstream, BudgetSpent):
            provider.ask()
        refusing = open_until is not None and provider.at < open_until
        assert provider.calls == before + (not refusing)
        if refusing or event == "neutral":
            continue
        probing = open_until is not None
        failures = 0 if event == "good" else failures + 1
        open_until = provider.at + 30.0 if event == "bad" and (probing or failures >= 5) else None


class Overlapping(RuleBasedStateMachine):
    """Calls that begin and end in any order, against a model of the open circuit and its one probe."""

    def __init__(self) -> None:
        super().__init__()
        self.at = 0.0
        self.circuit = Circuit("bars", 5, 30.0, lambda: self.at)
        self.out: list[tuple[Permit, int, float]] = []
        self.epoch = self.failures = self.opened = 0
        self.open_until: float | None = None

    @property
    def state(self) -> str:
        return "closed" if self.open_until is None else "open" if self.at < self.open_until else "half_open"

    def probes(self) -> int:
        return sum(p.is_probe and epoch == self.epoch and self.at - begun < 30.0 for p, epoch, begun in self.out)

    @rule(seconds=st.sampled_from([1.0, 10.0, 29.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.at += seconds

    @rule()
    def a_call_begins(self) -> None:
        may = self.state == "closed" or (self.state == "half_open" and self.probes() == 0)
        if not may:
            with pytest.raises(Upstream) as refusal:
                self.circuit.admit()
            assert 1.0 <= refusal.value.retry_after <= 30.0
            return
        permit = self.circuit.admit()
        assert permit.is_probe == (self.state == "half_open")
        self.epoch += permit.is_probe
        self.out.append((permit, self.epoch, self.at))

    @precondition(lambda self: self.state == "closed")
    @rule()
    def five_calls_fail(self) -> None:
        for _ in range(5 - self.failures):
            self.circuit.settle(self.circuit.admit(), failed=True)
            self._counts(bad=True)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), end=st.sampled_from(["good", "bad", "bad", "neutral"]))
    def a_call_ends(self, data: st.DataObject, end: str) -> None:
        permit, epoch, _ = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        if end == "neutral":
            self.circuit.cancel(permit)
            return
        self.circuit.settle(permit, failed=end == "bad")
        if epoch == self.epoch:
            self._counts(bad=end == "bad")

    def _counts(self, *, bad: bool) -> None:
        was_open = self.open_until is not None
        self.failures = self.failures + 1 if bad else 0
        opens = bad and (was_open or self.failures == 5)
        self.open_until = self.at + 30.0 if opens else None
        self.opened += opens
        self.epoch += opens or was_open

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        seen = self.circuit.snapshot()
        assert (seen.state, seen.failures, seen.opened) == (self.state, self.failures, self.opened)
        assert self.probes() <= 1


TestOverlapping = Overlapping.TestCase
