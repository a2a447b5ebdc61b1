"""When garbage is collected: not while many clients come or leave."""

from __future__ import annotations

import gc

import pytest

from serving.garbage import DUE, FEW, Garbage


@pytest.mark.parametrize(
    ("clients", "collected"),
    [([0, 0], True), ([0, FEW], True), ([0, FEW + 1], False), ([1000, 500], False), ([1000, 500, 500], True)],
)
def test_what_is_due_is_collected_at_the_first_quiet_look(
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
    assert not Garbage().look(0)
