"""Where the time of an answer goes: stages, told to whoever listens; by default nobody does.

The core opens a stage and says what it is about; what becomes of that (a span, a figure, nothing) is the factory's choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Stage(Protocol):
    """A stage under way."""

    def set(self, **fields: object) -> None:
        """Say more about it."""
        ...

    def last_until(self, futures: Sequence[Future[Any]]) -> None:
        """It does not end with its block but when all of these are done."""
        ...

    def skip(self) -> None:
        """There was nothing to do: how long that took says nothing."""
        ...


class Stages(Protocol):
    """Opens stages. A stage that is opened inside another is part of it, in the same thread or in one that `carried` led to."""

    def __call__(self, name: str, **fields: object) -> AbstractContextManager[Stage]:
        """A stage of what is under way in this thread; outside of anything, of nothing."""
        ...

    def root(self, name: str, **fields: object) -> AbstractContextManager[Stage]:
        """The outermost stage of work that no request asked for."""
        ...

    def note(self, **fields: object) -> None:
        """Say more about the stage that this thread is in."""
        ...

    def carried(self, work: Callable[[], T]) -> Callable[[], T]:
        """`work`, to be run in another thread as part of the stage that this one is in."""
        ...

    def mark(self) -> object:
        """Names the stage that this thread is in, for `link`; None if nobody listens."""
        ...

    def link(self, mark: object) -> None:
        """The stage that this thread is in waits for that one, which another request began."""
        ...


class _Silence:
    """Nobody listens. Stage and stages in one; holds nothing, so one serves all."""

    def __call__(self, name: str, **fields: object) -> _Silence:
        return self

    root = __call__

    def __enter__(self) -> _Silence:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def set(self, **fields: object) -> None:
        return None

    note = set

    def last_until(self, futures: Sequence[Future[Any]]) -> None:
        return None

    def skip(self) -> None:
        return None

    def carried(self, work: Callable[[], T]) -> Callable[[], T]:
        return work

    def mark(self) -> object:
        return None

    def link(self, mark: object) -> None:
        return None


SILENT = _Silence()
