"""Rows, procedure and walk-forward: what a fold may know, and that the baselines are what they are called."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import date

import numpy as np
import pytest

from app.config.settings import ARTEFACTS
from app.factory import POLICY
from app.market.bars import Span
from app.market.calendar import Calendar
from app.market.recorded import RecordedBars
from app.model import building, evaluation, training
from app.model.building import reports_agree
from app.model.evaluation import as_record, quarters, random_walk, walk_forward
from app.model.features import DECISION_HOURS, INPUTS
from app.model.served import load_models
from app.model.training import Rows, build_rows, candidates, fit_slot, log_loss, slot_rows
from app.model.verdicts import Verdict


@pytest.fixture(scope="module")
def rows(recorded_file: object) -> Rows:
    recorded = RecordedBars(recorded_file, Calendar())  # type: ignore[arg-type]
    found, _ = build_rows(recorded.all_bars("SPY", Span.FIVE_MINUTES), recorded.all_bars("SPY", Span.DAY), Calendar())
    recorded.close()
    return found


def test_the_bars_give_the_report_that_the_model_of_spy_carries(recorded: RecordedBars) -> None:
    """Those of all three tickers are compared by `predict evaluate` (tests/test_cli.py, soak)."""
    carried = load_models(ARTEFACTS, ["SPY"], POLICY).models["SPY"].metadata["evaluation"]["cells"]
    found = [as_record(cell) for cell in building.study(recorded, "SPY", Calendar()).cells]
    assert reports_agree(found, carried)


def until(rows: Rows, day: date) -> Rows:
    return rows.where(rows.day < day.toordinal())


def test_rows_are_one_per_day_and_decision_hour(rows: Rows) -> None:
    keys = list(zip(rows.day.tolist(), rows.hour.tolist(), strict=True))
    assert len(set(keys)) == len(keys)
    assert keys == sorted(keys)
    assert set(rows.hour.tolist()) == set(DECISION_HOURS)
    assert np.isfinite(rows.x).all()


def test_short_days_have_three_rows(rows: Rows) -> None:
    assert sorted(rows.hour[rows.day == date(2023, 11, 24).toordinal()].tolist()) == [10, 11, 12]


def test_a_day_that_lacks_its_bars_has_no_rows_and_is_listed(recorded: RecordedBars) -> None:
    found, excluded = build_rows(
        recorded.all_bars("SPY", Span.FIVE_MINUTES), recorded.all_bars("SPY", Span.DAY), Calendar()
    )
    assert 11 not in found.hour[found.day == date(2024, 12, 23).toordinal()]
    assert any("2024-12-23 12:00" in days for days in excluded.values())


def test_labels_are_against_the_official_open_and_the_eleven_oclock_price(rows: Rows, recorded: RecordedBars) -> None:
    daily = recorded.all_bars("SPY", Span.DAY)
    closes = {date.fromtimestamp(t / 1000 + 43_200): c for t, c in zip(daily.t.tolist(), daily.c.tolist(), strict=True)}
    late = rows.where(rows.hour >= 11)
    c0 = np.array([closes[date.fromordinal(d)] for d in late.day.tolist()])
    assert (late.a == (c0 > late.open)).all()
    assert (late.b == (c0 > late.eleven)).all()
    assert (late.now == (c0 > late.price)).all()
    assert not rows.b[rows.hour < 11].any()


def test_fitting_twice_gives_the_same_bits(rows: Rows) -> None:
    chosen, labels = slot_rows(until(rows, date(2021, 6, 1)), "late_b")
    one, two = (fit_slot(chosen, labels, candidates("late_b")) for _ in range(2))
    assert one.coef.tobytes() == two.coef.tobytes()
    assert (one.intercept, one.platt, one.candidate) == (two.intercept, two.platt, two.candidate)


def test_a_fold_knows_nothing_of_its_test_days(rows: Rows) -> None:
    """Turning every label and input after the first block's start upside down changes no earlier prediction."""
    start, end = date(2022, 1, 1), date(2022, 4, 1)
    future = rows.day >= end.toordinal()
    changed = replace(
        rows,
        a=np.where(future, ~rows.a, rows.a),
        x=np.where(future[:, None], -rows.x, rows.x),
        remaining=np.where(future, 0.9, rows.remaining),
    )
    one = walk_forward("SPY", rows, start, date(2022, 3, 31))
    two = walk_forward("SPY", changed, start, date(2022, 3, 31))
    assert one == two


def test_the_day_before_a_block_is_not_trained_on(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = training.fit_slot

    def spy(train: Rows, *rest: object) -> object:
        seen.append(int(train.day.max()))
        return real(train, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluation, "fit_slot", spy)
    walk_forward("SPY", rows, date(2022, 1, 1), date(2022, 3, 31))
    assert date.fromordinal(max(seen)) == date(2021, 12, 30)


def test_there_are_twelve_quarterly_blocks_to_the_end_of_2024() -> None:
    blocks = list(quarters(evaluation.FIRST_TEST, evaluation.LAST_TEST))
    assert [name for *_, name in blocks][:2] == ["2022Q1", "2022Q2"]
    assert len(blocks) == 12
    assert blocks[-1] == (date(2024, 10, 1), date(2025, 1, 1), "2024Q4")


def test_the_random_walk_is_a_coin_at_the_reference_and_surer_later(rows: Rows) -> None:
    at_open = replace(rows, price=rows.open.copy())
    assert random_walk(rows, at_open, "late_a") == pytest.approx(np.full(len(rows), 0.5))
    up = replace(rows, price=rows.open * 1.005)
    p = random_walk(rows, up, "late_a")
    by_hour = [float(p[rows.hour == hour].mean()) for hour in DECISION_HOURS]
    assert by_hour == sorted(by_hour)
    assert by_hour[0] > 0.5


def synthetic(n_days: int = 400) -> Rows:
    """Rows whose label A follows one input with known odds: p = 0.8 where it is positive."""
    dice = np.random.default_rng(3)
    days = np.repeat(date(2021, 1, 1).toordinal() + np.arange(n_days), 2)
    x = np.zeros((2 * n_days, len(INPUTS)))
    signal = np.repeat(dice.choice([-1.0, 1.0], n_days), 2)
    x[:, INPUTS.index("open_move_sigma")] = signal
    label = np.repeat(dice.random(n_days) < 0.8, 2) == (signal > 0)
    columns = {field.name: np.zeros(2 * n_days) for field in fields(Rows)}
    return Rows(
        **{**columns, "day": days, "hour": np.tile([11, 12], n_days), "x": x, "a": label, "b": label, "now": label}
    )


def test_a_real_edge_is_found_and_stated_at_its_size() -> None:
    rows = synthetic()
    fitted = fit_slot(rows, rows.a, candidates("late_a"))
    p = fitted.probabilities(rows.x)
    up = rows.x[:, INPUTS.index("open_move_sigma")] > 0
    assert p[up].mean() == pytest.approx(rows.a[up].mean(), abs=0.04)
    assert log_loss(p, rows.a) < 0.55


def test_days_weigh_one_however_many_rows_they_have() -> None:
    rows = synthetic(5)
    lopsided = rows.where(np.array([True] * 9 + [False]))
    assert training.day_weights(lopsided).tolist() == [0.5] * 8 + [1.0]


def test_a_claim_needs_an_interval_beside_zero(rows: Rows) -> None:
    cells = walk_forward("SPY", rows, date(2022, 1, 1), date(2022, 12, 31))
    for cell in cells:
        assert cell.skill_low <= cell.skill <= cell.skill_high
        assert (cell.verdict is Verdict.BETTER) == (cell.skill_low > 0)
        assert (cell.verdict is Verdict.WORSE) == (cell.skill_high < 0)
        assert cell.n == sum(quarter["n"] for quarter in cell.quarters.values())
    assert {(c.target, c.hour) for c in cells} == {("A", h) for h in DECISION_HOURS} | {("B", h) for h in range(11, 16)}


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
