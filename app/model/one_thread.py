"""Linear algebra on one thread while something is fitted: the same sums whatever the number of cores."""

from __future__ import annotations

from contextlib import AbstractContextManager


def one_thread() -> AbstractContextManager[object]:
    """Limits the libraries' threads to one until it is left."""
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits
