"""When clients come back that the server sends away."""

from __future__ import annotations

from collections import Counter

import pytest

from blueprints.shared.reconnecting import EARLIEST_MS, PACE_MS, SPREAD_MS, Spread


@pytest.mark.parametrize("clients", [10, 211, 1000, 2500])
def test_clients_come_back_evenly_over_a_time_that_grows_with_their_number(clients: int) -> None:
    spread = Spread(lambda: clients)
    moments = sorted(spread.next_ms() - EARLIEST_MS for _ in range(clients))
    whole_ms = max(SPREAD_MS, PACE_MS * clients)
    assert moments[0] >= 0
    assert moments[-1] < whole_ms
    tenths = Counter(moment * 10 // whole_ms for moment in moments)
    assert max(tenths.values()) <= clients // 10 + 2, tenths


def test_a_few_clients_wait_no_longer_than_a_short_while() -> None:
    spread = Spread(lambda: 3)
    assert all(EARLIEST_MS <= spread.next_ms() < EARLIEST_MS + SPREAD_MS for _ in range(100))
