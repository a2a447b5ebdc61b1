"""The breaker: five failures open a circuit, thirty seconds later exactly one call tries (ruling A3; polygon.md 6)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import BudgetSpent, Unavailable, Upstream
from middleware.breaker import MAX_KINDS, Breaker


class Provider:
    """A provider whose answers a test sets, behind a breaker on a clock that a test moves."""

    def __init__(self) -> None:
        self.at = 0.0
        self.calls = 0
        self.answer: Callable[[], str] = lambda: "good"
        self.heard: list[tuple[str, str]] = []
        self.breaker: Breaker[str] = Breaker(
            self._call,
            kind_of=lambda path: path,
            failed=lambda answer: answer in ("bad", "slow"),
            notice=lambda event, **f: self.heard.append((f["kind"], f["state"])),
            now=lambda: self.at,
        )

    def _call(self, path: str, params: Mapping[str, str]) -> str:
        self.calls += 1
        return self.answer()

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

    def answer() -> str:
        assert let_go.wait(10)
        return "good"

    def ask() -> str:
        barrier.wait(10)
        try:
            return provider.ask()
        except Upstream as exc:
            waits.append(exc.retry_after)
            return "refused"

    provider.answer = answer
    with ThreadPoolExecutor(50) as pool:
        asked = [pool.submit(ask) for _ in range(50)]
        while sum(future.done() for future in asked) < 49:
            pass
        let_go.set()
        answers = [future.result() for future in asked]
    assert sorted(answers) == ["good"] + ["refused"] * 49
    assert all(1.0 <= wait <= 5.0 for wait in waits)
    assert provider.calls == before + 1
    assert provider.state() == "closed"


@pytest.mark.parametrize(
    "neutral", [BudgetSpent("spent"), Unavailable("no", part="api_key"), ZeroDivisionError(), KeyboardInterrupt()]
)
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


def test_a_probe_that_says_nothing_gives_its_place_back(provider: Provider) -> None:
    provider.opened()
    provider.at = 30.0
    provider.answer = raising(BudgetSpent("spent"))
    with pytest.raises(BudgetSpent):
        provider.ask()
    assert provider.state() == "half_open"
    provider.answer = lambda: "good"
    assert provider.ask() == "good"


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


def test_the_number_of_circuits_is_bounded(provider: Provider) -> None:
    for n in range(100):
        provider.ask(f"kind-{n}")
    assert len(provider.breaker.states()) == MAX_KINDS
    assert "other" in provider.breaker.states()


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
