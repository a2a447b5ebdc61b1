"""One ticker's analysis on one core: a full 390-bar session of the demo market at 15:59, nothing fetched, nothing stored.

Median and 99th percentile per stage in microseconds, and the cost of each 30-minute step of the day.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from datetime import date, time
from time import perf_counter_ns

import numpy as np

from app.config.settings import ARTEFACTS
from app.factory import POLICY
from app.market.bars import Span
from app.market.calendar import Calendar, midnight_ms, ny
from app.market.demo import DemoFeed
from app.model.features import MIN_DAYS, decision_moment, v6_features
from app.model.registry import Registry
from app.model.served import load_models
from app.model.variances import variance_features
from app.signals.lock import validity
from app.signals.policy import SUPPORTED, Basis, atr, decide
from app.structure import QUIET, Probabilities, analyse, analyse_swing, view_at
from app.structure.health import health_of
from app.structure.levels import measure
from app.structure.northstar import northstar
from app.structure.rpe import rpe_phases, with_forecast
from app.structure.truth import base_truth

DAY = date(2025, 3, 11)
ROUNDS = 3000


def main(rounds: int = ROUNDS) -> None:
    """Print the table."""
    calls = stages()
    name_of_set = Registry(ARTEFACTS).promotions().promoted
    largest = max(path.stat().st_size for path in (ARTEFACTS / name_of_set).iterdir())
    print(f"one ticker, 390 minute bars, one core ({os.cpu_count()} in the machine), {rounds} rounds; microseconds")
    print(f"{'stage':44} {'median':>8} {'99th':>8}")
    for name, call in calls.items():
        median, late = _microseconds(call, rounds)
        print(f"{name:44} {median:8.1f} {late:8.1f}")
    loading, _ = _microseconds(lambda: Registry(ARTEFACTS).load(name_of_set, SUPPORTED, POLICY), max(20, rounds // 100))
    print(
        f"loading all models of the shipped set: {loading / 1000:.0f} ms; its largest file: {largest / 2**20:.2f} MiB"
    )


def stages() -> dict[str, Callable[[], object]]:
    """Each stage as a call, and all of them as the server runs them."""
    calendar, feed = Calendar(), DemoFeed(Calendar())
    day = midnight_ms(DAY)
    minutes, daily = feed.bars("SPY", Span.MINUTE, day, day + Span.DAY.ms), feed.bars("SPY", Span.DAY, 0, day)
    session, at = calendar.session(DAY), ny(DAY, time(16))
    assert session is not None
    official, before = feed.official_open("SPY", DAY), calendar.days_before(DAY, MIN_DAYS)
    assert official is not None
    model = load_models(ARTEFACTS, ("SPY",), POLICY).models["SPY"]
    view = view_at(minutes, daily, session, at, official_open=official)
    levels = measure(view)
    truth = base_truth(view, levels)
    health = health_of(truth, QUIET)
    window = validity(session, 15)

    features = v6_features(session, 15, minutes, daily, official, before)
    hour = decision_moment(session, 15)
    regular = minutes.until(hour).since(session.open)

    def signal() -> object:
        found = v6_features(session, 15, minutes, daily, official, before)
        basis = Basis(
            "SPY", session, 15, found, official, atr(daily), model.model_id, model.engine_version, False, *window
        )
        return decide(basis, model.predict(15, found))

    def everything() -> object:
        decision = signal()
        seen = view_at(minutes, daily, session, at, official_open=official)
        v6 = Probabilities(decision.p_a, decision.p_b, early=False)  # type: ignore[attr-defined]
        return analyse("SPY", seen, v6=v6), analyse_swing("SPY", seen)

    return {
        "view (cut, today's bar rebuilt)": lambda: view_at(minutes, daily, session, at, official_open=official),
        "levels, truth and health (shared)": lambda: health_of(base_truth(view, measure(view)), QUIET),
        "Northstar beyond the shared": lambda: northstar("SPY", view, levels, truth, health, QUIET),
        "RPE beyond the shared": lambda: with_forecast(
            rpe_phases("SPY", view, levels, truth, health, QUIET), view, None
        ),
        "Northstar and RPE with the shared": lambda: analyse("SPY", view),
        "swing": lambda: analyse_swing("SPY", view),
        "features of an hour": lambda: v6_features(session, 15, minutes, daily, official, before),
        "of these the variances": lambda: variance_features(regular, session, hour, daily, official, 0.01),
        "prediction of an hour, with ranges": lambda: model.predict(15, features),
        "features, model and policy": signal,
        "all of it": everything,
    }


def _microseconds(call: Callable[[], object], rounds: int) -> tuple[float, float]:
    for _ in range(rounds // 10):
        call()
    taken = np.empty(rounds)
    gc.disable()
    try:
        for i in range(rounds):
            start = perf_counter_ns()
            call()
            taken[i] = perf_counter_ns() - start
    finally:
        gc.enable()
    median, late = np.percentile(taken / 1000, (50, 99))
    return float(median), float(late)
