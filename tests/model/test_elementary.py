"""The functions whose bits do not depend on AVX-512: those of the C library, and sums in one order."""

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


def test_what_has_no_value_is_as_in_numpy() -> None:
    odd = np.array([0.0, -1.0, -2.0, 1000.0, math.nan, math.inf, -math.inf])
    with np.errstate(all="ignore"):
        for ours, numpys in ((log, np.log), (log1p, np.log1p), (exp, np.exp)):
            assert ours(odd) == pytest.approx(numpys(odd), nan_ok=True)
            assert [ours(x) for x in odd.tolist()] == pytest.approx(ours(odd).tolist(), nan_ok=True)


def test_a_row_among_others_has_the_sum_that_it_has_alone() -> None:
    weights = NUMBERS[:, 0]
    for rows in (NUMBERS.T.copy(), NUMBERS.T, NUMBERS.T.copy()[:, np.arange(40)]):
        alone = [float(weighted_sum(row.copy(), weights)) for row in rows]
        assert weighted_sum(rows, weights).tolist() == alone == pytest.approx((rows @ weights).tolist())
