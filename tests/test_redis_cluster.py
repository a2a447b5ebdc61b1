"""All scripts on a Redis of a cluster: it refuses a script whose keys are not in one slot (CROSSSLOT)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest

from app.clock import REAL_TIME
from app.errors import Unavailable
from app.live.live_event import Position
from app.live.redis_event_log import RedisEventLog
from app.market.announcements.closures import Closure
from app.market.announcements.redis_store import RedisAnnouncements
from app.market.announcements.store import StoredAnnouncements
from app.market.ledger import Call, KeptPlan, Room
from app.market.opens import OfficialOpen
from app.market.plan import Entitlement
from app.market.redis_ledger import RedisLedger
from app.market.redis_shared_day import RedisSharedDay
from app.market.shared_day import FailureRow, SeriesRow
from app.redis_database import REDIRECT, RedisDatabase
from app.signals.redis_record import RedisRecord
from middleware.sliding_windows import RedisWindows
from tests.live.logs import event, filled, head, seqs
from tests.redis_server import RedisServer, skip_without_redis_server
from tests.signals.test_policy import decision
from tests.waiting import PATIENCE_S, wait_for

DAY = decision(0.6, 0.9).day
NEXT_DAY = DAY + timedelta(days=1)
SERIES = "SPY 1min 2025-03-11"


class ClusterNode(RedisServer):
    """A node of a cluster, which serves the slots from `first` to `last`."""

    def __init__(self, first: int = 0, last: int = 16383) -> None:
        super().__init__(options={"cluster-enabled": "yes", "cluster-require-full-coverage": "no"})
        self._slots = first, last

    def start(self) -> None:
        super().start()
        with self.client() as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", *self._slots)
            wait_for(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok", "the slots are served")


@pytest.fixture(scope="module")
def node() -> Iterator[ClusterNode]:
    skip_without_redis_server()
    with ClusterNode() as server:
        yield server


@pytest.fixture
def db(node: ClusterNode) -> Iterator[RedisDatabase]:
    node.flush()
    with closing(RedisDatabase(node.url, PATIENCE_S)) as found:
        yield found


def test_the_node_refuses_keys_that_are_apart(db: RedisDatabase) -> None:
    with pytest.raises(Unavailable) as raised:
        db.script("return 1")(["predict:{one}", "predict:{two}"], [])
    assert "Keys in request don't hash to the same slot" in str(raised.value.detail)


def test_a_record_is_kept(db: RedisDatabase) -> None:
    record = RedisRecord(db, "predict:record:polygon")
    said = decision(0.6, 0.9)
    for signal in (said, replace(said, ticker="QQQ")):
        assert record.lock(signal) == signal
        record.add_open(signal.ticker, DAY, OfficialOpen(500.1, "daily"))
        record.add_eleven(signal.ticker, DAY, 501.2)
    assert record.tickers() == ["QQQ", "SPY"]
    assert record.signals("SPY", (DAY, 0), NEXT_DAY, 9) == [said]
    record.forget_prices("SPY", NEXT_DAY)
    assert (record.opens("SPY"), record.elevens("SPY")) == ([], [])
    assert record.durability().persistence == "none"


def test_the_running_day_is_shared_under_leases(db: RedisDatabase) -> None:
    day = RedisSharedDay(db, "predict:day:{polygon}", "predict:lease:{polygon}", REAL_TIME)
    leases = [day.leases.acquire(name) for name in (SERIES, "follower")]
    assert leases == [day.leases.current(name) for name in (SERIES, "follower")]
    lease = leases[0]
    assert lease is not None
    row = SeriesRow(DAY, 1, False, b"bars", 0, None)
    assert day.put(SERIES, row, lease)
    assert day.series(SERIES) == row
    assert day.fetched(DAY) == {SERIES: 1}
    day.forget("SPY")
    day.fail(SERIES, FailureRow(1, 0.0, 60.0, "{}"))
    assert day.failure(SERIES) is not None
    day.forget_failures()
    day.ask_for({"SPY": 5})
    assert day.asked_for(4, 6) == ["SPY"]
    assert day.leases._end_after(1.0, [lease, leases[1]]) == [True, True], "leases are renewed together"  # type: ignore[list-item]
    day.leases.release(lease)


def test_holidays_are_asked_for_once(db: RedisDatabase) -> None:
    store = RedisAnnouncements(db, "predict:calendar:polygon")
    store.check()
    assert [store.claim(DAY, 0.0, 1_000.0) for _ in range(2)] == [True, False]
    announced = StoredAnnouncements({DAY: Closure(None, DAY)}, DAY, 1_000.0)
    store.write(announced)
    assert store.read() == announced
    store.write_closures({})
    assert store.read().closures == {}


def test_one_budget_is_spent(db: RedisDatabase) -> None:
    ledger = RedisLedger(db, "predict:budget:{polygon}", "key")
    ticket = ledger.take(1, 60.0, [Room(1, 1)])
    assert ticket is not None
    assert ledger.take(1, 60.0, [Room(1, 1)]) is None
    ledger.release(ticket)
    plan = KeptPlan(Entitlement(True, DAY), 5.0)
    ledger.keep_plan(plan)
    ledger.add([Call(-1.0, 2)], {"limit": 20.0})
    state = ledger.state(60.0)
    assert (len(state.calls), set(state.pauses), state.plan, state.processes) == (2, {"limit"}, plan, 1)


def test_live_events_are_told_of_each_ticker(db: RedisDatabase) -> None:
    log = RedisEventLog(db, "predict:live:polygon", REAL_TIME)
    filled(log, 2)
    assert log.append("SPY", Position("aaaaaaaa", 2), [event(3)], head(3))
    assert log.head("SPY") == head(3)
    assert seqs(log, 3) == [1, 2, 3]
    assert log.leads("QQQ")
    for ticker in ("SPY", "QQQ"):
        log.resign(ticker)


def test_requests_of_many_clients_are_counted_together(db: RedisDatabase) -> None:
    windows = RedisWindows(db.client, db.timeout_s)
    windows.connect()
    assert [windows.hit(f"client {n}", 1, 60).allowed for n in (1, 2, 1)] == [True, True, False]
    windows.clear("client 1")
    assert windows.hit("client 1", 1, 60).allowed


@pytest.mark.soak
def test_a_node_that_serves_a_part_of_the_slots_is_a_redis_that_cannot_be_used() -> None:
    """Redirects are not followed, and the log says what to do."""
    skip_without_redis_server()
    with (
        ClusterNode(0, 8191) as one,
        ClusterNode(8192, 16383) as two,
        closing(RedisDatabase(one.url, PATIENCE_S)) as db,
    ):
        with one.client() as client:
            client.execute_command("CLUSTER MEET", "127.0.0.1", two.port)
            wait_for(lambda: client.execute_command("CLUSTER INFO")["cluster_slots_assigned"] == "16384")
        with pytest.raises(Unavailable) as raised:
            db.read("GET", "foo")  # in slot 12182
        assert raised.value.detail == f"redis: {REDIRECT}"
