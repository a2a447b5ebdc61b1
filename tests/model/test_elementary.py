"""The functions whose bits are the same on every processor: those of the C library, and sums in one order."""

from __future__ import annotations

import math

import numpy as np
import pytest

from app.model.elementary import exp, log, log1p, weighted_sum

NUMBERS = np.random.default_rng(7).uniform(0.01, 9.0, (40, 3))


@pytest.mark.parametrize(("ours", "library"), [(log, math.log), (log1p, math.log1p), (exp, math.exp)])
def test_one_number_and_each_of_many_are_those_of_the_c_library(ours, library) -> None:  # type: ignore[no-untyped-def]
    expected = [[library(x) for x in row] for row in NUMBERS.tolist()]
    assert ours(NUMBERS).tolist() == expected
    assert [[ours(x) for x in row] for row in NUMBERS.tolist()] == expected


def test_nothing_has_no_logarithm_and_is_refused() -> None:
    with pytest.raises(ValueError, match=r"math domain error|positive input"):
        log(np.array([1.0, 0.0]))


def test_a_row_among_others_has_the_sum_that_it_has_alone() -> None:
    weights = NUMBERS[:, 0]
    rows = NUMBERS.T.copy()
    assert weighted_sum(rows, weights).tolist() == [float(weighted_sum(row, weights)) for row in rows]
    assert weighted_sum(rows, weights) == pytest.approx(rows @ weights)
