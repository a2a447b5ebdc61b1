"""Logarithms, exponentials and weighted sums that are the same bits on every processor.

NumPy computes its own by other instructions where a processor has AVX-512, and adds up the products of a matrix in another
order, so that the last digit differs from machine to machine. What a signal is made of must not: it is computed again elsewhere
and is the same there. Those of the C library, and a sum in one order, are. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from app.market.bars import Floats

FloatOrFloats = TypeVar("FloatOrFloats", float, Floats)


def log(x: FloatOrFloats) -> FloatOrFloats:
    """The natural logarithm of one number or of each of many, all above 0. Raises ValueError for others."""
    return _of_each(math.log, x)


def log1p(x: FloatOrFloats) -> FloatOrFloats:
    """ln(1 + x) of one number or of each of many, all above -1. Raises ValueError for others."""
    return _of_each(math.log1p, x)


def exp(x: FloatOrFloats) -> FloatOrFloats:
    """e^x of one number or of each of many. Raises OverflowError beyond 709."""
    return _of_each(math.exp, x)


def weighted_sum(x: Floats, weights: Floats) -> Floats:
    """The sums of x (..., k) times weights (k,), (...)."""
    return np.asarray((x * weights).sum(axis=-1))


def _of_each(function: Callable[[float], float], x: FloatOrFloats) -> FloatOrFloats:
    if isinstance(x, float):
        return function(x)
    return np.fromiter(map(function, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)
