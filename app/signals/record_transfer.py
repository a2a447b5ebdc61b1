"""An exported record against a store: what is added to it, and where the two differ. Nothing here overwrites anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from app.signals.record import Record
from app.signals.record_entry import Entry

BATCH: Final = 200
"""Entries that are added at a time."""


def add_all(record: Record, entries: Iterable[Entry], on_difference: Callable[[Entry], None]) -> Counter[str]:
    """Adds what a record does not hold. on_difference: called with each entry in whose place the record has something else.
    Returns how many entries are `added`, `there` already, and `different`, which stay as the record has them."""
    counts: Counter[str] = Counter()
    remaining = iter(entries)
    while batch := list(islice(remaining, BATCH)):
        for entry, (before, after) in zip(batch, record.add_many(batch), strict=True):
            outcome = _outcome(entry, before, after)
            counts[outcome] += 1
            if outcome == "different":
                on_difference(entry)
    return counts


def _outcome(entry: Entry, before: Entry | None, after: Entry | None) -> str:
    if before is not None:
        return "there" if before == entry else "different"
    return "added" if after == entry else "different"


def paired(one: Iterator[Entry], other: Iterator[Entry]) -> Iterator[tuple[Entry | None, Entry | None]]:
    """The entries of two ordered streams by their places, None where a stream has nothing."""
    left, right = next(one, None), next(other, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left.place < right.place):
            yield left, None
            left = next(one, None)
        elif left is None or right.place < left.place:
            yield None, right
            right = next(other, None)
        else:
            yield left, right
            left, right = next(one, None), next(other, None)
