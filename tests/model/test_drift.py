"""What the model reads now beside what it was fitted on."""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.extra import numpy as some

from app.config import ARTEFACTS
from app.factory import POLICY, _drift, build
from app.market.bars import Floats
from app.model.artefact import load_models
from app.model.drift import BINS, ENOUGH, WINDOW, Drift, Reference, bins_of, outside, reference_of, stability
from app.model.features import FEATURES
from app.news import News
from tests.support import FakeClock, ScriptedMarket, settings

WIDTH = len(FEATURES)
TICKERS = ("SPY", "QQQ", "IWM")
values = st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0])
few = examples(max_examples=40)
samples = some.arrays(np.float64, st.tuples(st.integers(1, 40), st.just(WIDTH)), elements=values)


def reference(sample: Floats) -> Reference:
    """As an artefact of this training sample has it."""
    ranges = {name: [column.min(), column.max()] for name, column in zip(FEATURES, sample.T, strict=True)}
    found = reference_of({"feature_ranges": ranges, "feature_bins": bins_of(sample)})
    assert found is not None
    return found


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
    found = bins_of(sample)
    assert len(found["edges"]) == len(found["shares"]) == WIDTH
    for edges, shares in zip(found["edges"], found["shares"], strict=True):
        assert len(shares) == len(edges) + 1 <= BINS
        assert all(0.0 <= share <= 1.0 for share in shares)
        assert sum(shares) == pytest.approx(1.0)
        assert all(a < b for a, b in pairwise(edges))


def test_a_sample_without_repeats_falls_into_equal_bins() -> None:
    found = bins_of(ordinary(1000))
    assert all(shares == pytest.approx([1 / BINS] * BINS) for shares in found["shares"])


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
    known = Reference(np.zeros(1), np.ones(1), [np.array([0.5])], [np.array([0.5, 0.5])])
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
        drift.saw("SPY", row)
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
        drift.saw("SPY", row)
    assert drift.outside()["SPY"] < 0.02, "the old ones are forgotten"
    assert drift.stability()["SPY"] < 0.25


def test_enough_decisions_fit_into_the_window() -> None:
    assert ENOUGH <= WINDOW


def test_a_ticker_without_a_reference_is_left_out() -> None:
    drift = seen(1)
    drift.saw("QQQ", ordinary(1)[0])
    assert drift.decisions() == {"SPY": 1}


def test_what_a_model_reads_beside_the_features_does_not_count() -> None:
    drift = Drift({"SPY": reference(ordinary(500))})
    drift.saw("SPY", np.concatenate([ordinary(500)[0], [1e9, 1e9]]))
    assert drift.outside() == {"SPY": 0.0}


def test_threads_may_decide_and_read_at_once() -> None:
    drift = Drift({ticker: reference(ordinary(500)) for ticker in TICKERS})
    faults: list[BaseException] = []

    def work(ticker: str) -> None:
        try:
            for row in ordinary(60):
                drift.saw(ticker, row)
                assert all(0.0 <= share <= 1.0 for share in drift.outside().values())
                drift.stability()
        except BaseException as exc:
            faults.append(exc)

    threads = [threading.Thread(target=work, args=(TICKERS[n % 3],)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    assert drift.decisions() == dict.fromkeys(TICKERS, 120)


# --- the shipped models ---


def test_the_shipped_models_have_a_reference_of_whole_shares() -> None:
    models = load_models(ARTEFACTS, TICKERS, POLICY).models
    assert set(models) == set(TICKERS)
    for model in models.values():
        known = reference_of(model.metadata)
        assert known is not None
        assert len(known.edges) == len(known.shares) == len(known.low) == len(known.high) == WIDTH
        assert (known.low <= known.high).all()
        for edges, shares in zip(known.edges, known.shares, strict=True):
            assert len(shares) == len(edges) + 1
            assert shares.sum() == pytest.approx(1.0)
            assert (np.diff(edges) > 0).all()


@pytest.mark.parametrize("part", ["feature_ranges", "feature_bins"])
def test_a_model_made_before_there_were_references_has_none(part: str) -> None:
    metadata = load_models(ARTEFACTS, TICKERS, POLICY).models["SPY"].metadata
    assert reference_of({name: value for name, value in metadata.items() if name != part}) is None


def test_a_server_sees_every_decision_that_it_computes(
    clock: FakeClock, market: ScriptedMarket, tmp_path: Path
) -> None:
    values = {"market": "polygon", "polygon_api_key": "k", "data_dir": tmp_path}
    core = build(settings(**values), clock=clock, transport=market, news=News())
    drift = _drift(core)
    for ticker in ("SPY", "SPY", "QQQ"):
        core.pipeline.signal(ticker, clock())
    assert drift.decisions() == {"SPY": 1, "QQQ": 1, "IWM": 0}, "one that is in the record is not computed again"
    assert set(drift.outside()) == {"SPY", "QQQ"}
    core.close()
