"""An hour of following must not leave anything behind."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import pytest

from tests.provider.world import world

MOST_GROWTH = 4 * 2**20
"""Bytes: a session's minutes of three tickers, their caches, and the allocator's slack."""


@pytest.mark.soak
def test_an_hour_of_following_keeps_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(tmp_path, monkeypatch, "2025-03-11 11:20:07") as found:

        def ask() -> None:
            found.directions()
            found.get("/mtf")
            found.told.clear()
            found.provider.calls.clear()
            found.timer.slept.clear()

        found.run(10, every_s=5, ask=ask)
        tracemalloc.start()
        before = _held()
        found.run(60, every_s=5, ask=ask)
        after = _held()
        tracemalloc.stop()
        rss_kib = int(Path("/proc/self/statm").read_text().split()[1]) * 4 if Path("/proc/self/statm").exists() else 0
        print(f"an hour of following: {(after - before) / 2**20:+.2f} MiB held, {rss_kib / 1024:.0f} MiB resident")
        assert after - before < MOST_GROWTH


def _held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]
