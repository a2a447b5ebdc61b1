"""Logarithms, exponentials and weighted sums whose bits do not depend on whether a processor has AVX-512.

Where it has, NumPy computes its own by other instructions and adds up the products of a matrix in another order, so that the
last digit differs from machine to machine. What a signal is made of must not: elsewhere it is computed again, and is the same
there. The functions of the C library, and sums in one order, are the same where the library is and the processor multiplies and
adds in one step (FMA), which those of the last ten years do. What has no value is infinite or not a number, as in NumPy. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from app.market.bars import Floats

FloatOrFloats = TypeVar("FloatOrFloats", float, Floats)


def log(x: FloatOrFloats) -> FloatOrFloats:
    """The natural logarithm of one number or of each of many."""
    return _of_each(_log, x)


def log1p(x: FloatOrFloats) -> FloatOrFloats:
    """ln(1 + x) of one number or of each of many."""
    return _of_each(_log1p, x)


def exp(x: FloatOrFloats) -> FloatOrFloats:
    """e^x of one number or of each of many."""
    return _of_each(_exp, x)


def weighted_sum(x: Floats, weights: Floats) -> Floats:
    """The sums of x (..., k) times weights (k,), (...): of a row among others as of the row alone."""
    return np.asarray(np.ascontiguousarray(x * weights).sum(axis=-1))


def _of_each(function: Callable[[float], float], x: FloatOrFloats) -> FloatOrFloats:
    if isinstance(x, float):
        return function(x)
    return np.fromiter(map(function, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)


def _log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf if x == 0 else math.nan


def _log1p(x: float) -> float:
    return math.log1p(x) if x > -1 else -math.inf if x == -1 else math.nan


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf
