"""When garbage is collected: not while many clients come or leave."""

from __future__ import annotations

import gc

import pytest

from serving.garbage import DUE, FEW, QUIET_LOOKS, Garbage

QUIET = [0] * (QUIET_LOOKS - 1)


@pytest.mark.parametrize(
    ("clients", "collected"),
    [
        ([*QUIET, 0], True),
        ([*QUIET, FEW], True),
        ([*QUIET, FEW + 1], False),
        ([0, 1000, *[1000] * (QUIET_LOOKS - 1)], False),
        ([0, 1000, *[1000] * QUIET_LOOKS], True),
    ],
    ids=["nobody", "few come", "many come", "many have just come", "many have been here for a while"],
)
def test_what_is_due_is_collected_after_some_quiet_looks(
    monkeypatch: pytest.MonkeyPatch, clients: list[int], collected: bool
) -> None:
    collections: list[bool] = []
    monkeypatch.setattr(gc, "get_count", lambda: (0, 0, DUE))
    monkeypatch.setattr(gc, "collect", lambda: collections.append(True))
    garbage = Garbage()
    *before, last = clients
    for number in before:
        garbage.look(number)
    collections.clear()
    assert garbage.look(last) is collected
    assert bool(collections) is collected


def test_what_is_not_due_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "get_count", lambda: (0, 0, DUE - 1))
    garbage = Garbage()
    assert not any(garbage.look(0) for _ in range(QUIET_LOOKS + 1))
