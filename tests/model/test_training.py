"""Rows, procedure and walk-forward: what a fold may know, that the baselines are what they are called, and no leak."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from app.errors import BrokenData
from app.market.bars import Floats, Span
from app.market.calendar import Calendar
from app.market.recorded import RecordedBars
from app.model import training, walk_forward
from app.model.building import reports_agree, samples_of
from app.model.diagnostics import calibration_by_hour, drift_by_block, gains_by_month, importance
from app.model.evaluation import Cell, by_target, evaluate
from app.model.features import DECISION_HOURS, INPUTS
from app.model.other_members import MEMBERS, estimates, tried_members
from app.model.report import pooled_lines
from app.model.samples import Rows, build_rows, joined, slot_rows
from app.model.scoring import losses, mean_by_days, simplest
from app.model.training import Candidate, Choice, choose, fit, fit_slot, forecasts, slot_probabilities
from app.model.v6 import LOG_TIME_LEFT
from app.model.verdicts import Verdict
from app.model.walk_forward import FIRST_TEST, LAST_TEST, WalkForward, blocks_between, random_walk
from app.signals.policy import SUPPORTED
from tests.support import new_york

BLOCKS = blocks_between(FIRST_TEST, LAST_TEST)[:2]
PLAIN = Choice(False, {name: Candidate("z") for name in ("early_a", "late_a", "late_b")}, {})


@pytest.fixture(scope="module")
def rows(recorded_file: Path) -> Rows:
    """The rows of all tickers up to the end of the first two blocks."""
    recorded, end = RecordedBars(recorded_file, Calendar()), new_york("2022-07-01 00:00")
    parts = []
    for ticker, name in enumerate(SUPPORTED):
        five, daily = (recorded.all_bars(name, span).until(end) for span in (Span.FIVE_MINUTES, Span.DAY))
        parts.append(build_rows(five, daily, Calendar(), ticker)[0])
    recorded.close()
    return joined(parts)


@pytest.fixture(scope="module")
def spy(rows: Rows) -> Rows:
    return rows.where(rows.ticker == 0)


@pytest.fixture(scope="module")
def walked(rows: Rows) -> WalkForward:
    """The first two blocks."""
    return walk_forward.walk_forward(rows, BLOCKS, PLAIN)


def test_rows_are_one_per_ticker_day_and_decision_hour(rows: Rows) -> None:
    keys = list(zip(rows.ticker.tolist(), rows.day.tolist(), rows.hour.tolist(), strict=True))
    assert len(set(keys)) == len(keys)
    assert keys == sorted(keys)
    assert set(rows.hour.tolist()) == set(DECISION_HOURS)
    assert np.isfinite(rows.x).all()


def test_short_days_have_three_rows(spy: Rows) -> None:
    assert sorted(spy.hour[spy.day == date(2021, 11, 26).toordinal()].tolist()) == [10, 11, 12]


def test_a_day_that_lacks_its_bars_has_no_rows_and_is_listed(recorded: RecordedBars) -> None:
    five, daily = (recorded.all_bars("SPY", span) for span in (Span.FIVE_MINUTES, Span.DAY))
    december = five.since(new_york("2024-12-16 00:00")).until(new_york("2024-12-28 00:00"))
    found, excluded = build_rows(december, daily, Calendar())
    assert 11 not in found.hour[found.day == date(2024, 12, 23).toordinal()]
    assert any("2024-12-23 12:00" in days for days in excluded.values())


def test_labels_are_against_the_official_open_and_the_eleven_oclock_price(spy: Rows, recorded: RecordedBars) -> None:
    daily = recorded.all_bars("SPY", Span.DAY)
    closes = {date.fromtimestamp(t / 1000 + 43_200): c for t, c in zip(daily.t.tolist(), daily.c.tolist(), strict=True)}
    late = spy.where(spy.hour >= 11)
    c0 = np.array([closes[date.fromordinal(d)] for d in late.day.tolist()])
    assert (late.close == c0).all()
    assert (late.a == (c0 > late.open)).all()
    assert (late.b == (c0 > late.eleven)).all()
    assert (late.now == (c0 > late.price)).all()
    assert not spy.b[spy.hour < 11].any()


def test_high_and_low_enclose_the_close_and_the_price(rows: Rows) -> None:
    to_close = np.log(rows.close / rows.price)
    assert (rows.high >= np.maximum(to_close, 0)).all()
    assert (rows.low <= np.minimum(to_close, 0)).all()
    assert (rows.variance > 0).all()


def test_fitting_twice_gives_the_same_bits(rows: Rows) -> None:
    one, two = (fit(rows, choose(rows)) for _ in range(2))
    assert one.choice == two.choice
    assert [v.coef.tobytes() for v in one.variances] == [v.coef.tobytes() for v in two.variances]
    assert [(s.slope, s.bend, s.offset) for own in one.slots for s in own.values()] == [
        (s.slope, s.bend, s.offset) for own in two.slots for s in own.values()
    ]


# --- leaks ---


def turned_from(rows: Rows, day: date) -> Rows:
    """The rows with every label, input and fact from `day` on turned into something else."""
    future = rows.day >= day.toordinal()
    return replace(
        rows,
        a=np.where(future, ~rows.a, rows.a),
        b=np.where(future, ~rows.b, rows.b),
        now=np.where(future, ~rows.now, rows.now),
        x=np.where(future[:, None], -rows.x, rows.x),
        remaining=np.where(future, 0.9, rows.remaining),
        variance=np.where(future, 7.0, rows.variance),
        high=np.where(future, 7.0, rows.high),
    )


@pytest.mark.parametrize("choice", [PLAIN, None], ids=["frozen", "chosen anew"])
def test_a_block_knows_nothing_of_its_test_days_or_of_later_ones(rows: Rows, choice: Choice | None) -> None:
    one, two = (
        walk_forward.walk_forward(changed, BLOCKS[:1], choice).fitted["2022Q1"]
        for changed in (rows, turned_from(rows, BLOCKS[0].start))
    )
    assert one.variances[0].coef.tobytes() == two.variances[0].coef.tobytes()
    assert one.ranges.up.tobytes() == two.ranges.up.tobytes()
    assert [(s.slope, s.offset) for s in one.slots[2].values()] == [(s.slope, s.offset) for s in two.slots[2].values()]


def test_a_quarter_that_is_removed_changes_no_prediction_of_earlier_ones(rows: Rows, walked: WalkForward) -> None:
    removed = rows.where(rows.day < BLOCKS[1].start.toordinal())
    without = walk_forward.walk_forward(removed, BLOCKS, PLAIN)
    for slot, scored in without.scored.items():
        first = walked.scored[slot].quarter == "2022Q1"
        assert scored.p.tobytes() == walked.scored[slot].p[first].tobytes()


def test_the_day_before_a_block_is_not_trained_on(rows: Rows) -> None:
    past, test = walk_forward.split(rows, BLOCKS[0])
    assert date.fromordinal(int(past.day.max())) == date(2021, 12, 30)
    assert date.fromordinal(int(test.day.min())) == date(2022, 1, 3)
    assert date.fromordinal(int(test.day.max())) == date(2022, 3, 31)


def test_labels_shuffled_within_the_hour_give_chance(rows: Rows) -> None:
    """The shuffled label is that of another day of the ticker, so that nothing of the day can help."""
    dice, order = np.random.default_rng(5), np.arange(len(rows))
    for ticker in range(len(SUPPORTED)):
        for hour in DECISION_HOURS:
            at = np.flatnonzero((rows.ticker == ticker) & (rows.hour == hour))
            order[at] = dice.permutation(at)
    shuffled = replace(rows, a=rows.a[order], b=rows.b[order])
    found = evaluate(walk_forward.walk_forward(shuffled, BLOCKS, PLAIN), SUPPORTED)
    for pooled in found.pooled:
        assert pooled.log_loss > np.log(2) - 0.01, pooled.target
        assert pooled.accuracy < max(pooled.base_rate, 1 - pooled.base_rate) + 0.02


def test_a_feature_that_is_the_label_is_caught_by_its_gain(rows: Rows) -> None:
    """What the report would show of a leak: a gain that is far beyond what volatility can give."""
    leaking = rows.x.copy()
    leaking[:, INPUTS.index("current_vs_open")] = np.where(rows.a, 0.01, -0.01)
    found = evaluate(walk_forward.walk_forward(replace(rows, x=leaking), BLOCKS, PLAIN), SUPPORTED)
    assert {pooled.target: pooled.is_plausible for pooled in found.pooled}["A"] is False
    honest = evaluate(walk_forward.walk_forward(rows, BLOCKS, PLAIN), SUPPORTED)
    assert all(pooled.is_plausible for pooled in honest.pooled)


def test_the_variance_forecast_never_sees_the_variance_that_is_to_come(rows: Rows, walked: WalkForward) -> None:
    model, test = walked.fitted["2022Q1"], walked.tests["2022Q1"]
    wild = replace(
        test, variance=test.variance * 1e6, high=test.high + 1, close=test.close * 2, remaining=1 - test.remaining
    )
    assert model.log_variance(test).tobytes() == model.log_variance(wild).tobytes()


# --- the procedure ---


def test_the_variance_that_comes_is_forecast_better_than_by_sigma(walked: WalkForward) -> None:
    """Errors of the logarithm, out of sample, beside those of the best constant multiple of sigma squared for each hour."""
    scored = walked.scored["late_a"]
    rows, came = scored.rows, np.log(scored.rows.variance)
    forecast = np.concatenate(
        [walked.fitted[q].log_variance(slot_rows(walked.tests[q], "late_a")) for q in walked.tests]
    )
    naive = 2 * np.log(rows.sigma)
    for hour in DECISION_HOURS[1:]:
        at = rows.hour == hour
        naive[at] += (came - naive)[at].mean()
    assert ((came - forecast) ** 2).mean() < 0.85 * ((came - naive) ** 2).mean()


def test_on_days_that_close_early_less_variance_is_forecast(rows: Rows) -> None:
    model = fit(rows, PLAIN)
    half, whole = rows.x[rows.hour == 10][:1].copy(), rows.x[rows.hour == 10][:1].copy()
    half[:, LOG_TIME_LEFT], whole[:, LOG_TIME_LEFT] = np.log(0.5), 0.0
    at_ten = [float(model.variances[0].log_variance(10, x)[0]) for x in (half, whole)]
    assert at_ten[0] == pytest.approx(at_ten[1] + np.log(0.5))


def test_there_are_twelve_quarterly_blocks_to_the_end_of_2024() -> None:
    blocks = blocks_between(FIRST_TEST, LAST_TEST)
    assert [block.name for block in blocks][:2] == ["2022Q1", "2022Q2"]
    assert len(blocks) == 12
    assert blocks[-1] == (date(2024, 10, 1), date(2025, 1, 1), "2024Q4")


def test_a_short_span_is_cut_into_months_from_its_first_to_its_last_day() -> None:
    blocks = blocks_between(date(2026, 2, 10), date(2026, 4, 15))
    assert [(block.start, block.last, block.name) for block in blocks] == [
        (date(2026, 2, 10), date(2026, 2, 28), "2026-02"),
        (date(2026, 3, 1), date(2026, 3, 31), "2026-03"),
        (date(2026, 4, 1), date(2026, 4, 15), "2026-04"),
    ]


def test_the_random_walk_is_a_coin_at_the_reference_and_surer_later(rows: Rows) -> None:
    at_open = replace(rows, price=rows.open.copy())
    assert random_walk(rows, at_open, "late_a") == pytest.approx(np.full(len(rows), 0.5))
    up = replace(rows, price=rows.open * 1.005)
    p = random_walk(rows, up, "late_a")
    by_hour = [float(p[rows.hour == hour].mean()) for hour in DECISION_HOURS]
    assert by_hour == sorted(by_hour)
    assert by_hour[0] > 0.5


def synthetic(n_days: int = 400) -> Rows:
    """Rows whose label A follows the distance from the open with known odds: p = 0.8 where it is positive. The variance that
    comes is always the same."""
    dice = np.random.default_rng(3)
    days = np.repeat(date(2021, 1, 1).toordinal() + np.arange(n_days), 2)
    x = np.zeros((2 * n_days, len(INPUTS)))
    signal = np.repeat(dice.choice([-1.0, 1.0], n_days), 2)
    x[:, INPUTS.index("current_vs_open")] = np.expm1(0.01 * signal)
    label = np.repeat(dice.random(n_days) < 0.8, 2) == (signal > 0)
    columns = {field.name: np.zeros(2 * n_days) for field in fields(Rows)}
    known = {"day": days, "hour": np.tile([11, 12], n_days), "ticker": np.zeros(2 * n_days, dtype=np.int64), "x": x}
    return Rows(**{**columns, **known, "a": label, "b": label, "now": label, "variance": np.full(2 * n_days, 1e-4)})


def test_a_real_edge_is_found_and_stated_at_its_size() -> None:
    rows = synthetic()
    log_variance = np.log(rows.variance)
    slots = fit_slot(rows, log_variance, "late_a", Candidate("z"))
    p = slot_probabilities(slots, rows, log_variance)
    up = rows.x[:, INPUTS.index("current_vs_open")] > 0
    assert p[up].mean() == pytest.approx(rows.a[up].mean(), abs=0.04)
    assert losses(p, rows.a).mean() < 0.55


def test_the_simplest_wins_unless_another_is_better_by_more_than_a_standard_error() -> None:
    dice = np.random.default_rng(4)
    plain = dice.random(300)
    noise = dice.normal(0, 0.1, 300)
    noise -= noise.mean()
    a_little, clearly = plain - 0.001 + noise, plain - 0.05 + noise

    def standard_error(values: Floats) -> float:
        return float(values.std() / np.sqrt(len(values)))

    assert simplest([plain, a_little], standard_error) == 0
    assert simplest([plain, a_little, clearly], standard_error) == 2


def test_tickers_share_what_is_fitted_and_differ_where_they_were_given_a_constant(rows: Rows) -> None:
    variances = training.fit_variance(rows, has_tickers=False)
    log_variance = forecasts(variances, rows)
    shared = fit_slot(rows, log_variance, "late_b", Candidate("z"))
    own = fit_slot(rows, log_variance, "late_b", Candidate("z, tickers", has_tickers=True))
    assert len({slot.offset for slot in shared}) == 1
    assert len({slot.offset for slot in own}) == len(SUPPORTED)
    assert len({slot.slope for slot in own}) == 1


def test_days_weigh_one_however_many_rows_they_have() -> None:
    rows = synthetic(5)
    lopsided = rows.where(np.array([True] * 9 + [False]))
    assert training.day_weights(lopsided).tolist() == [0.5] * 8 + [1.0]


@pytest.mark.soak
def test_the_forest_that_the_inner_validation_liked_is_no_better_out_of_sample(recorded: RecordedBars) -> None:
    """The one member that it prefers by more than a standard error, at the slot where it does, over the first evaluation."""
    rows = samples_of(recorded, SUPPORTED, Calendar()).rows
    gains, days = [], []
    for block in blocks_between(FIRST_TEST, LAST_TEST):
        past, test = walk_forward.split(rows, block)
        plain, forest = estimates("late_b", past, test, [MEMBERS["z, random forest"]])
        own = slot_rows(test, "late_b")
        gains.append(losses(plain, own.b) - losses(forest, own.b))
        days.append(own.day)
    gain = mean_by_days(np.concatenate(gains), np.concatenate(days))
    print(f"log-loss gained by the forest: {gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]")
    assert gain.low < 0


# --- the report ---


def test_loaded_models_score_a_span_as_the_walk_forward_scored_it(rows: Rows, walked: WalkForward) -> None:
    block = BLOCKS[1]
    found = walk_forward.score_span(walked.fitted[block.name], rows, block.start, block.last)
    for slot, scored in found.scored.items():
        then = walked.scored[slot].quarter == block.name
        assert scored.p.tobytes() == walked.scored[slot].p[then].tobytes()
        assert scored.walk == pytest.approx(walked.scored[slot].walk[then], abs=1e-3)


@pytest.mark.parametrize("first", [date(2031, 1, 1), date(2022, 6, 20), date(2020, 7, 28)])
def test_a_span_of_too_few_days_or_without_days_before_it_is_refused(
    rows: Rows, walked: WalkForward, first: date
) -> None:
    with pytest.raises(BrokenData, match="fewer than 20 days"):
        walk_forward.score_span(walked.fitted["2022Q1"], rows, first, first.replace(year=first.year + 1))


def test_of_too_few_days_nothing_is_said_of_whether_rates_agree(rows: Rows, walked: WalkForward) -> None:
    found = walk_forward.score_span(walked.fitted["2022Q2"], rows, date(2022, 6, 1), date(2022, 6, 30))
    pooled = evaluate(found, SUPPORTED).pooled
    assert [one.agreement["agrees"] for one in pooled] == [None] * 3
    assert any("too few days to say" in line for line in pooled_lines(pooled, ()))


def test_what_the_pictures_show_agrees_with_the_figures(rows: Rows, walked: WalkForward) -> None:
    found = evaluate(walked, SUPPORTED)
    for pooled in found.pooled:
        scored = by_target(walked)[pooled.target]
        months = gains_by_month(scored)
        assert list(months) == [f"2022-0{month}" for month in range(1, 7)]
        assert sum(month["over_b2"] for month in months.values()) == pytest.approx(pooled.skill * pooled.n, abs=0.1)
        hours = calibration_by_hour(scored)
        assert sum(hour["n"] for hour in hours.values()) == pooled.n
    read = importance(walked)
    assert max(read, key=read.__getitem__) == "current_vs_open"
    assert set(drift_by_block(walked, rows)) == {"2022Q1", "2022Q2"}


@pytest.mark.soak
def test_trees_lose_to_z_alone_or_are_named(rows: Rows) -> None:
    """Nothing of what is tried beside the model may be missing from the table of what was tried."""
    tried = tried_members(rows.where(rows.day < date(2021, 3, 1).toordinal()))
    assert {slot: [one.name for one in members] for slot, members in tried.items()} == {
        slot: ["z", "z, gradient boosting", "z, random forest", "z, extra trees"]
        for slot in ("early_a", "late_a", "late_b")
    }
    assert all(members[0].excess == 0 for members in tried.values())


def test_a_claim_needs_an_interval_beside_zero(walked: WalkForward) -> None:
    found = evaluate(walked, SUPPORTED)
    for figures in (*found.cells, *found.pooled):
        assert figures.skill_low <= figures.skill <= figures.skill_high
        assert (figures.verdict is Verdict.BETTER) == (figures.skill_low > 0)
        assert (figures.verdict is Verdict.WORSE) == (figures.skill_high < 0)
        assert figures.n == sum(quarter["n"] for quarter in figures.quarters.values())
        assert figures.n == sum(third["n"] for third in figures.terciles.values())
    cells: dict[str, list[Cell]] = {ticker: found.of(ticker) for ticker in SUPPORTED}
    every = {("A", hour) for hour in DECISION_HOURS} | {("B", hour) for hour in range(11, 16)}
    assert all({(cell.target, cell.hour) for cell in own} == every for own in cells.values())


def test_the_control_that_asks_for_the_way_from_here_is_near_chance(walked: WalkForward) -> None:
    for cell in evaluate(walked, SUPPORTED).cells:
        assert abs(cell.b4_log_loss - np.log(2)) < 0.05
        assert cell.b3_log_loss < 0.8


def test_a_logistic_regression_converges_from_far_away() -> None:
    """Where the labels have nothing to do with the first column, its coefficient rests far from where it ends."""
    dice = np.random.default_rng(6)
    design = np.column_stack([3 * dice.normal(size=4000), np.ones(4000)])
    theta = training.logistic(design, dice.random(4000) < 0.5, np.ones(4000), np.ones(2))
    assert np.abs(theta).max() < 0.1


def test_at_eleven_the_rules_have_no_side_on_target_b(walked: WalkForward) -> None:
    for cell in evaluate(walked, SUPPORTED).cells:
        if (cell.target, cell.hour) == ("B", 11):
            assert (cell.b1_accuracy, cell.b2_accuracy) == (0.5, 0.5)
            assert cell.b2_log_loss == pytest.approx(np.log(2), abs=1e-5)


def test_reports_agree_on_every_word_and_on_figures_to_rounding() -> None:
    one = [
        {
            "n": 5,
            "verdict": "no measurable difference",
            "accuracy": 0.61234,
            "auc": None,
            "quarters": {"2022Q1": {"n": 3}},
        }
    ]
    assert reports_agree(one, [{**one[0], "accuracy": 0.61236}])
    assert not reports_agree(one, [{**one[0], "accuracy": 0.614}])
    assert not reports_agree(one, [{**one[0], "n": 6}])
    assert not reports_agree(one, [{**one[0], "verdict": "measurably better than the random walk"}])
    assert not reports_agree(one, [{**one[0], "quarters": {}}])
    assert not reports_agree(one, [])
