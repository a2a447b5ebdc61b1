"""A state comes part by part: in one order, each part when it is asked for, none taken back, live as replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from app.clock import Timer
from app.market.polygon import Reply
from app.pipeline import DataPart, Pipeline, RpePart, State, Step, V6Part
from app.pipeline.alignment import alignment_of
from app.signals.policy import SUPPORTED, Gate
from app.structure.terms import Bias
from blueprints.services import EXTENSION
from tests.support import FakeClock, ScriptedMarket, new_york

Serve = Callable[..., Flask]
MOMENTS = (
    *("2025-03-11 03:00", "2025-03-11 08:15:07", "2025-03-11 09:45:07", "2025-03-11 10:00:10", "2025-03-11 10:40:07"),
    *("2025-03-11 11:05:30", "2025-03-11 13:59:40", "2025-03-11 15:59:07", "2025-03-11 16:20", "2025-03-15 12:00"),
)
"""Night, before the open, before the first signal, at its hour, early, late, at the end, after the close, a Saturday."""


def pipeline_of(app: Flask) -> Pipeline:
    found: Pipeline = app.extensions[EXTENSION].pipeline
    return found


def typed(parts: list[Step]) -> tuple[DataPart, RpePart, V6Part, State]:
    data, rpe, v6, state = parts
    assert isinstance(data, DataPart)
    assert isinstance(rpe, RpePart)
    assert isinstance(v6, V6Part)
    assert isinstance(state, State)
    return data, rpe, v6, state


def check_parts(parts: list[Step]) -> State:
    """The parts are those that their names say, and the state, which is the last, takes nothing back."""
    assert [part.part for part in parts] == ["data", "rpe", "v6", "signal"]
    data, rpe, v6, state = typed(parts)
    assert (state.data, state.rpe, state.v6) == (data, rpe, v6)
    assert {part.ticker for part in parts} == {state.ticker}
    assert state.signal.quote == data.quote
    assert (rpe.session is None) == (v6.intraday is None)
    if rpe.session is not None and v6.intraday is not None:
        assert v6.intraday.northstar == rpe.session.northstar
        sent = {name: getattr(rpe.session.rpe, name) for name in rpe.session.rpe.__dataclass_fields__}
        assert sent == {name: getattr(v6.intraday.rpe, name) for name in sent}
    decision = state.signal.decision
    assert (v6.probabilities is None) == (decision is None)
    if decision is not None and v6.probabilities is not None:
        assert (v6.probabilities.target_a, v6.probabilities.target_b) == (decision.p_a, decision.p_b)
        assert (v6.hour, v6.in_sample) == (decision.hour, decision.in_sample)
    return state


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_last_step_is_the_state_and_what_the_board_says(serve: Serve, clock: FakeClock, moment: str) -> None:
    clock.set(moment)
    pipeline = pipeline_of(serve())
    states = {ticker: check_parts(list(pipeline.steps(ticker, clock()))) for ticker in SUPPORTED}
    for ticker, state in states.items():
        assert pipeline.state(ticker, clock()) == state
    assert pipeline.states(SUPPORTED, clock()) == states
    assert pipeline.board(SUPPORTED, clock()).tickers == {ticker: state.signal for ticker, state in states.items()}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_replayed_state_is_the_live_one(serve: Serve, clock: FakeClock, moment: str, tmp_path: Any) -> None:
    at = new_york(moment)
    clock.set(moment)
    live = check_parts(list(pipeline_of(serve()).steps("SPY", at)))
    replayed = {}
    clock.set("2025-03-20 18:00")
    for kept, folder in ((True, tmp_path), (False, tmp_path / "other")):
        replayed[kept] = check_parts(list(pipeline_of(serve(data_dir=folder)).steps("SPY", at, keep=False)))
    assert replayed[True].signal.recorded == live.signal.recorded
    assert not replayed[False].signal.recorded
    for state in replayed.values():
        assert replace(state, signal=replace(state.signal, recorded=live.signal.recorded)) == live


@pytest.mark.parametrize("at", ["2024-06-12 10:30", "2024-06-12 13:30", "2024-06-12 17:00"])
def test_the_same_holds_on_recorded_bars(serve_recorded: Serve, clock: FakeClock, at: str) -> None:
    clock.set(at)
    pipeline = pipeline_of(serve_recorded())
    for ticker in SUPPORTED:
        live = check_parts(list(pipeline.steps(ticker, clock())))
        assert pipeline.board([ticker], clock()).tickers[ticker] == live.signal
        assert check_parts(list(pipeline.steps(ticker, clock(), keep=False))) == live


def test_a_part_is_yielded_before_the_next_is_computed(serve: Serve, clock: FakeClock, market: ScriptedMarket) -> None:
    """The record shows when the model is asked; the stages' histogram shows when structure is."""
    app = serve()
    pipeline = pipeline_of(app)

    def computed() -> list[str]:
        text, _ = app.extensions[EXTENSION].metrics(None, [])
        names = ("compute-structure", "compute-rpe", "compute-v6", "policy")
        return [name for name in names if f'predict_stage_seconds_count{{stage="{name}"}} 1.0' in text]

    def locked() -> bool:
        return pipeline.store.get("SPY", clock().date(), 11) is not None

    steps = pipeline.steps("SPY", clock())
    assert market.calls == []
    assert next(steps).part == "data"
    assert market.calls
    assert (computed(), locked()) == ([], False)
    assert next(steps).part == "rpe"
    assert (computed(), locked()) == (["compute-structure", "compute-rpe"], False)
    assert next(steps).part == "v6"
    assert (computed(), locked()) == (["compute-structure", "compute-rpe", "compute-v6", "policy"], True)
    assert next(steps).part == "signal"
    assert next(steps, None) is None


def test_all_parts_together_wait_as_long_as_one_answer_and_a_slow_caller_costs_them_nothing(
    serve: Serve, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ruling A2, seconds: each part takes four here, and the caller sixty before it asks for the next."""
    times, allowed = iter([0.0, 4.0, 64.0, 68.0, 128.0, 132.0, 192.0, 196.0, 256.0, 256.0]), []

    @contextmanager
    def recorded(seconds: float) -> Iterator[None]:
        allowed.append(seconds)
        yield

    pipeline = pipeline_of(serve())
    monkeypatch.setattr("app.pipeline.pipeline.REAL_TIME", Timer(now=lambda: next(times)))
    monkeypatch.setattr("app.pipeline.pipeline.deadline", recorded)
    assert len(list(pipeline.steps("SPY", clock()))) == 4
    assert allowed == [10.0, 6.0, 2.0, 0.0, 0.0]


def test_the_model_speaks_as_it_is_locked_even_if_another_process_was_first(serve: Serve, clock: FakeClock) -> None:
    pipeline = pipeline_of(serve())
    own = pipeline.state("SPY", clock(), keep=False).signal.decision
    assert own is not None
    steps = pipeline.steps("SPY", clock())
    parts = [next(steps), next(steps)]
    other = pipeline.store.put(replace(own, p_a=0.91, p_b=0.93, action="LONG"))
    state = check_parts([*parts, *steps])
    assert state.signal.decision == other
    assert state.v6.probabilities is not None
    assert state.v6.probabilities.target_b == 0.93
    assert state.v6.intraday is not None
    assert state.v6.intraday.rpe.phase5_learning_forecasting.horizons[2].confidence == pytest.approx((0.91 + 0.93) / 2)


def test_data_that_cannot_be_had_end_in_a_gate_and_no_part_is_missing(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    market.fault = lambda path: Reply(500, None)
    state = check_parts(list(pipeline_of(serve()).steps("SPY", clock())))
    assert state.signal.gate is Gate.DATA_FETCH_ERROR
    assert state.data.fault is not None
    assert state.rpe == RpePart("SPY")
    assert state.data.stale


def test_an_unsupported_ticker_has_a_state_without_a_call(
    serve: Serve, clock: FakeClock, market: ScriptedMarket
) -> None:
    state = check_parts(list(pipeline_of(serve()).steps("TSLA", clock())))
    assert state.signal.gate is Gate.UNSUPPORTED_TICKER
    assert market.calls == []


def test_before_eleven_target_b_says_nothing_to_do(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-11 10:30")
    pipeline = pipeline_of(serve())
    early = pipeline.state("SPY", clock())
    clock.set("2025-03-11 11:30")
    late = pipeline.state("SPY", clock())
    assert (early.v6.action_a is None, early.v6.action_b is None) == (False, True)
    assert (late.v6.action_a is None, late.v6.action_b is None) == (False, False)
    assert (early.signal.active_target, late.signal.active_target) == ("A", "B")


def test_a_closed_market_permits_nothing_whatever_the_analysis_allows(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-11 16:20")
    state = pipeline_of(serve()).state("SPY", clock())
    assert state.intraday is not None
    phase4 = replace(state.intraday.northstar.phase4, allowed=True, bias=Bias.LONG)
    analysis = replace(state.intraday, northstar=replace(state.intraday.northstar, phase4=phase4))
    state = replace(state, v6=replace(state.v6, intraday=analysis))
    assert state.northstar_allows
    assert state.northstar_permission is not None
    assert not state.northstar_permission.is_given
    opened = replace(state, signal=replace(state.signal, gate=None))
    assert opened.northstar_permission is not None
    assert opened.northstar_permission.is_given
    assert opened.northstar_permission.has_side


@pytest.mark.parametrize(
    ("intraday", "swing", "status", "direction"),
    [
        ("LONG", "LONG", "ALIGNED", "LONG"),
        ("SHORT", "SHORT", "ALIGNED", "SHORT"),
        ("LONG", "SHORT", "CONFLICT", None),
        ("NEUTRAL", "LONG", "PARTIAL", None),
        ("NEUTRAL", "NEUTRAL", "PARTIAL", None),
    ],
)
def test_session_and_days_agree_on_a_side_or_not(intraday: str, swing: str, status: str, direction: str | None) -> None:
    found = alignment_of(Bias(intraday), Bias(swing))
    assert (found.status, found.direction) == (status, direction)


def test_a_signal_is_compared_with_the_bars_once_those_up_to_its_hour_are_in_the_answer(
    serve: Serve, clock: FakeClock
) -> None:
    """In the seconds after the hour another process may have locked it already: what bars before the hour say of it is null,
    whichever process answers."""
    pipeline = pipeline_of(serve())
    signal = pipeline.signal("SPY", clock.at)
    assert signal.decision is not None
    assert signal.bars_agree is True
    before = replace(signal.quote, as_of=signal.decision.locked_at - timedelta(minutes=1))
    for recorded in (False, True):
        told = replace(signal, recorded=recorded, bars_agree=None)
        assert pipeline._signals.quoted(told, clock.at, before, None, keep=False).bars_agree is None
