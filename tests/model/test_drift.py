"""What the model reads now beside what it was fitted on."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.extra import numpy as some

from app.config.settings import ARTEFACTS
from app.factory import POLICY, build
from app.factory.telemetry import drift_of
from app.live.events import Events
from app.market.bars import Floats
from app.model.drift import BINS, ENOUGH, WINDOW, Bins, Drift, Reference, bins_of, outside, reference_of, stability
from app.model.features import DECISION_HOURS, FEATURES, INPUTS, Features
from app.model.served import load_models
from app.model.v6 import V6Model
from tests.support import FakeClock, ScriptedMarket, settings
from tests.waiting import PATIENCE_S

READ = ("time_pct", "gap", "open_move_sigma", "gap_sigma")
WIDTH = len(READ)
LATE = 13
TICKERS = ("SPY", "QQQ", "IWM")
values = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0])
few = examples(max_examples=40)
samples = some.arrays(np.float64, st.tuples(st.integers(1, 40), st.just(WIDTH)), elements=values)


def known_bins(values: Floats) -> Bins:
    record = bins_of(values)
    return Bins(*record["range"], np.array(record["edges"]), np.array(record["shares"]))


def reference(sample: Floats) -> Reference:
    """Of a model that reads READ at every hour, as the artefact of this training sample has it."""
    bins = {name: known_bins(column) for name, column in zip(READ, sample.T, strict=True)}
    return Reference(bins, dict.fromkeys(DECISION_HOURS, frozenset(READ)))


def all_inputs(row: Floats, others: float = 0.0) -> Floats:
    """Everything that a model may read, with `row` where READ stands."""
    inputs = np.full(len(INPUTS), others)
    inputs[[INPUTS.index(name) for name in READ]] = row
    return inputs


def ordinary(n: int, seed: int = 7) -> Floats:
    return np.random.default_rng(seed).normal(size=(n, WIDTH))


# --- the two measures ---


@few
@given(samples)
def test_the_training_sample_itself_has_not_moved(sample: Floats) -> None:
    known = reference(sample)
    assert outside(known, sample) == 0.0
    assert stability(known, sample) == pytest.approx(0.0, abs=1e-12)


@few
@given(samples, samples)
def test_whatever_comes_the_measures_stay_in_their_bounds(sample: Floats, now: Floats) -> None:
    known = reference(sample)
    assert 0.0 <= outside(known, now) <= 1.0
    assert 0.0 <= stability(known, now) < np.inf


@few
@given(samples)
def test_shares_are_shares_and_edges_ascend(sample: Floats) -> None:
    for column in sample.T:
        found = bins_of(column)
        assert len(found["shares"]) == len(found["edges"]) + 1 <= BINS
        assert all(0.0 <= share <= 1.0 for share in found["shares"])
        assert sum(found["shares"]) == pytest.approx(1.0)
        assert all(a < b for a, b in pairwise(found["edges"]))
        assert found["range"] == [column.min(), column.max()]


def test_a_sample_without_repeats_falls_into_equal_bins() -> None:
    assert bins_of(ordinary(1000)[:, 0])["shares"] == pytest.approx([1 / BINS] * BINS)


def test_another_draw_of_the_same_population_counts_as_not_moved() -> None:
    known = reference(ordinary(2000))
    assert stability(known, ordinary(2000, seed=8)) < 0.1
    assert outside(known, ordinary(2000, seed=8)) < 0.01


def test_the_further_the_values_move_the_more_is_told() -> None:
    known, shifts = reference(ordinary(1000)), (0.0, 0.3, 1.0, 2.0, 4.0)
    moved = [ordinary(1000, seed=8) + shift for shift in shifts]
    by_stability, by_range = ([measure(known, now) for now in moved] for measure in (stability, outside))
    assert by_stability == sorted(by_stability)
    assert by_range == sorted(by_range)
    assert by_stability[0] < 0.1 < 0.25 < by_stability[2]
    assert by_range[-1] > 0.5


def test_one_feature_that_moves_alone_tells_its_share_of_the_mean() -> None:
    sample = ordinary(1000)
    known, now = reference(sample), sample.copy()
    now[:, 3] += 100.0
    assert outside(known, now) == pytest.approx(1 / WIDTH)
    far = sample + 100.0
    assert stability(known, now) == pytest.approx(stability(known, far) / WIDTH, rel=0.2)


def test_the_index_is_that_of_the_formula() -> None:
    """Two bins, half and half before, 3 to 1 now (an edge is of the upper bin): 0.25 ln(0.75 / 0.5) - 0.25 ln(0.25 / 0.5)."""
    bins = {"gap": Bins(0.0, 1.0, np.array([0.5]), np.array([0.5, 0.5]))}
    known = Reference(bins, {LATE: frozenset(bins)})
    assert stability(known, np.array([[0.9], [0.8], [0.5], [0.1]])) == pytest.approx(0.25 * np.log(3))


def test_the_ends_of_the_training_range_are_inside_it() -> None:
    known = reference(np.array([[0.0] * WIDTH, [1.0] * WIDTH]))
    assert outside(known, np.array([[0.0] * WIDTH, [1.0] * WIDTH])) == 0.0
    assert outside(known, np.array([[-1e-9] * WIDTH, [1.0 + 1e-9] * WIDTH])) == 1.0


@pytest.mark.parametrize(("often", "rarely"), [(0.0, 1.0), (1.0, 0.0), (-1.0, 1.0)])
def test_of_two_values_it_is_told_when_the_rare_one_becomes_the_usual_one(often: float, rarely: float) -> None:
    sample = ordinary(200)
    sample[:, 0] = np.tile([often] * 4 + [rarely], 40)
    known, now = reference(sample), sample.copy()
    assert stability(known, sample) == 0.0
    now[:, 0] = np.tile([often] + [rarely] * 4, 40)
    assert stability(known, now) == pytest.approx(1.2 * np.log(4) / WIDTH)
    assert outside(known, now) == 0.0


def test_a_value_that_never_changed_is_told_when_it_does() -> None:
    sample = ordinary(200)
    sample[:, 0] = 5.0
    known = reference(sample)
    assert (stability(known, sample), outside(known, sample)) == (0.0, 0.0)
    for other in (4.0, 6.0):
        now = sample.copy()
        now[:, 0] = other
        assert outside(known, now) == pytest.approx(1 / WIDTH)


def test_an_empty_bin_does_not_make_the_index_infinite() -> None:
    known = reference(np.arange(1000.0).repeat(WIDTH).reshape(1000, WIDTH))
    assert 1.0 < stability(known, np.full((1, WIDTH), 5.0)) < 100.0


# --- the last decisions ---


def seen(n: int, shift: float = 0.0) -> Drift:
    drift = Drift({"SPY": reference(ordinary(500))})
    for row in ordinary(n, seed=9) + shift:
        drift.saw("SPY", LATE, all_inputs(row))
    return drift


def test_before_the_first_decision_nothing_is_told() -> None:
    drift = seen(0)
    assert (drift.decisions(), drift.outside(), drift.stability()) == ({"SPY": 0}, {}, {})


def test_the_index_is_told_from_enough_decisions_on_and_the_range_from_the_first() -> None:
    assert seen(1).outside().keys() == {"SPY"}
    assert seen(ENOUGH - 1).stability() == {}
    assert seen(ENOUGH).stability().keys() == {"SPY"}


def test_no_more_than_a_window_of_decisions_is_looked_back_on() -> None:
    drift = seen(3 * WINDOW, shift=50.0)
    assert drift.decisions() == {"SPY": WINDOW}
    assert drift.outside() == {"SPY": 1.0}
    for row in ordinary(WINDOW, seed=10):
        drift.saw("SPY", LATE, all_inputs(row))
    assert drift.outside()["SPY"] < 0.02, "the old ones are forgotten"
    assert drift.stability()["SPY"] < 0.25


def test_enough_decisions_fit_into_the_window() -> None:
    assert ENOUGH <= WINDOW


def test_a_ticker_without_a_reference_is_left_out() -> None:
    drift = seen(1)
    drift.saw("QQQ", LATE, all_inputs(ordinary(1)[0]))
    assert drift.decisions() == {"SPY": 1}


def test_what_no_slot_reads_does_not_count_however_far_it_moves() -> None:
    drift = Drift({"SPY": reference(ordinary(500))})
    for row in ordinary(ENOUGH, seed=9):
        drift.saw("SPY", LATE, all_inputs(row, others=1e9))
    assert drift.outside()["SPY"] < 0.02
    assert drift.stability()["SPY"] < 0.25


def test_an_input_counts_at_the_hours_alone_whose_slots_read_it() -> None:
    bins = {name: known_bins(np.array([0.0, 1.0])) for name in ("gap", "p11_move_sigma")}
    early, late = frozenset(["gap"]), frozenset(bins)
    drift = Drift({"SPY": Reference(bins, {10: early, **dict.fromkeys(DECISION_HOURS[1:], late)})})
    inputs = np.zeros(len(INPUTS))
    inputs[INPUTS.index("p11_move_sigma")] = 50.0
    drift.saw("SPY", 10, inputs)
    assert drift.outside() == {"SPY": 0.0}, "before 11:00 nothing reads it"
    drift.saw("SPY", 11, inputs)
    assert drift.outside() == {"SPY": pytest.approx(1 / 3)}, "one of the three values that were read"


def test_threads_may_decide_and_read_at_once() -> None:
    drift = Drift({ticker: reference(ordinary(500)) for ticker in TICKERS})
    faults: list[BaseException] = []

    def work(ticker: str) -> None:
        try:
            for row in ordinary(60):
                drift.saw(ticker, LATE, all_inputs(row))
                assert all(0.0 <= share <= 1.0 for share in drift.outside().values())
                drift.stability()
        except BaseException as exc:
            faults.append(exc)

    threads = [threading.Thread(target=work, args=(TICKERS[n % 3],)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert faults == []
    assert drift.decisions() == dict.fromkeys(TICKERS, 120)


# --- the shipped models ---


def shipped(ticker: str = "SPY") -> V6Model:
    return load_models(ARTEFACTS, TICKERS, POLICY).models[ticker]


@pytest.mark.parametrize("ticker", TICKERS)
def test_the_reference_of_a_shipped_model_is_of_what_its_slots_read_and_of_nothing_else(ticker: str) -> None:
    model = shipped(ticker)
    known = reference_of(model)
    assert known is not None
    variance = {*model.metadata["variance"]["inputs"], "log_time_left"}
    assert set(known.bins) == variance | {"current_vs_open", "current_vs_11am"}
    assert set(model.metadata["feature_bins"]) == set(known.bins)
    assert known.hours[10] == variance | {"current_vs_open"}
    assert {known.hours[hour] for hour in DECISION_HOURS[1:]} == {frozenset(known.bins)}
    for bins in known.bins.values():
        assert bins.low <= bins.high
        assert len(bins.shares) == len(bins.edges) + 1
        assert bins.shares.sum() == pytest.approx(1.0)
        assert (np.diff(bins.edges) > 0).all()


@pytest.mark.parametrize("name", INPUTS)
def test_whatever_moves_the_prediction_counts_and_nothing_else_does(name: str) -> None:
    """Each input in turn is moved far: the measure moves exactly if a probability does."""
    model = shipped()
    known = reference_of(model)
    assert known is not None
    usual = np.zeros(len(INPUTS))
    for read, bins in known.bins.items():
        usual[INPUTS.index(read)] = np.median(bins.edges) + 0.001
    moved = usual.copy()
    moved[INPUTS.index(name)] += 0.9
    for hour in DECISION_HOURS:
        one, other = (model.predict(hour, features(inputs)) for inputs in (usual, moved))
        row, far = known.row(hour, usual), known.row(hour, moved)
        assert (not np.array_equal(row, far, equal_nan=True)) == (one != other), (name, hour)


def features(inputs: Floats) -> Features:
    return Features(inputs[: len(FEATURES)], inputs, 500.0, None, 0.01, 300)


def test_an_input_without_a_coefficient_is_not_read() -> None:
    model = shipped()
    late, none = model.slots["late_a"], np.zeros(len(model.variance.columns))
    further = replace(late, columns=np.array([0, 1]), coef=np.array([0.0, 1.0]))
    assert further.read == {"current_vs_open", INPUTS[1]}
    assert replace(model.variance, coef=np.tile(none, (len(DECISION_HOURS), 1))).read == {"log_time_left"}


@pytest.mark.parametrize("damage", ["none", "of other inputs", "one is missing"])
def test_a_model_without_a_reference_for_what_it_reads_has_none(damage: str) -> None:
    model = shipped()
    bins = model.metadata["feature_bins"]
    kept = {
        "none": None,
        "of other inputs": {"edges": [], "shares": []},
        "one is missing": {name: about for name, about in bins.items() if name != "gap_sigmas"},
    }[damage]
    assert reference_of(replace(model, metadata={**model.metadata, "feature_bins": kept})) is None


def test_a_server_sees_every_decision_that_it_computes(
    clock: FakeClock, market: ScriptedMarket, tmp_path: Path
) -> None:
    values = {"market": "polygon", "polygon_api_key": "k", "data_dir": tmp_path}
    core = build(settings(**values), clock=clock, transport=market, events=Events())
    drift = drift_of(core)
    for ticker in ("SPY", "SPY", "QQQ"):
        core.pipeline.signal(ticker, clock())
    assert drift.decisions() == {"SPY": 1, "QQQ": 1, "IWM": 0}, "one that is in the record is not computed again"
    assert set(drift.outside()) == {"SPY", "QQQ"}
    core.close()
