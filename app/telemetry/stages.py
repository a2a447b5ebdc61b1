"""The stages of an answer. The core opens a stage around each part of its work and says what it is about. What becomes of it (a
span, a duration, nothing) is the choice of the factory; by default nothing does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol, TypeVar

T = TypeVar("T")


class Stage(Protocol):
    """A stage in progress."""

    def set(self, **fields: object) -> None:
        """Add fields to it."""
        ...

    def part(self) -> Callable[[], None]:
        """Begin a part of it in another thread, which ends when what is returned is called. The stage ends with the last of its
        parts, not with its block."""
        ...

    def skip(self) -> None:
        """Do not count its duration: there was nothing to do."""
        ...


class Stages(Protocol):
    """Opens stages. A stage that is opened inside another is part of it, in the same thread or in work that
    `in_current_stage` returned."""

    def __call__(self, name: str, **fields: object) -> AbstractContextManager[Stage]:
        """A stage of the work of this thread."""
        ...

    def root(self, name: str, **fields: object) -> AbstractContextManager[Stage]:
        """The outermost stage of work that no request caused."""
        ...

    def annotate(self, **fields: object) -> None:
        """Add fields to the current stage of this thread."""
        ...

    def in_current_stage(self, work: Callable[[], T]) -> Callable[[], T]:
        """`work` as part of the current stage of this thread, to be run in another thread."""
        ...

    def current(self) -> object:
        """The current stage of this thread, as an argument for `link`; None if stages are not recorded."""
        ...

    def link(self, stage: object) -> None:
        """Note that the current stage of this thread waits for `stage`, which another request began."""
        ...


class NullStages:
    """Stages that are not measured. It is also the stage that it opens, and it holds nothing, so that one object is enough."""

    def __call__(self, name: str, **fields: object) -> NullStages:
        return self

    root = __call__

    def __enter__(self) -> NullStages:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def set(self, **fields: object) -> None:
        return None

    annotate = set

    def part(self) -> Callable[[], None]:
        return self.skip

    def skip(self) -> None:
        return None

    def in_current_stage(self, work: Callable[[], T]) -> Callable[[], T]:
        return work

    def current(self) -> object:
        return None

    def link(self, stage: object) -> None:
        return None


NULL_STAGES: Final = NullStages()
