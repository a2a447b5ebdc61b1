"""Several servers on one DATA_DIR, or on one Redis with folders of their own: the provider is asked as often as by one, and all
give the same answers."""

from __future__ import annotations

import time as real
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.clock import Clock, Timer
from app.factory import Core, build, create_app
from app.market.bars import Span, to_ms
from app.market.feed_transport import FeedTransport
from app.market.lease import LEASE_S
from app.market.polygon import Reply, Transport
from app.market.sqlite_shared_day import SqliteSharedDay
from app.simulator.server import PolygonSimulator
from tests.provider.world import KEY, Answers
from tests.redis_server import PATIENT, RedisServer
from tests.support import CALENDAR, FakeClock, FakeTimer, demo_feed, new_york, settings, wait_until_none_is_under_way

DAY = new_york("2025-03-11 00:00").date()
HOLIDAYS = "/v1/marketstatus/upcoming"
PATHS = ("/trading_directions", "/mtf", "/daily_signals", "/swing", "/replay?date=2025-03-10&time=12:05&ticker=SPY")


@dataclass
class Servers:
    """Servers on one folder, or on one Redis with a folder each, in front of one provider, on one clock. Those in `dead` do
    nothing any more."""

    folder: Path
    provider: PolygonSimulator
    answers: Answers
    clock: FakeClock
    time: FakeTimer
    patch: pytest.MonkeyPatch
    redis_url: str | None = None
    cores: list[Core] = field(default_factory=list)
    clients: list[Any] = field(default_factory=list)
    dead: set[int] = field(default_factory=set)

    def start(self, ahead_s: float = 0.0, **values: Any) -> int:
        """One more server, whose market clock runs so far ahead of the provider's; its number."""
        timer = Timer(now=lambda: self.time.at, epoch=lambda: self.time.at, sleep=lambda seconds: real.sleep(0.002))

        def clock() -> datetime:
            return self.clock.at + timedelta(seconds=ahead_s)

        def keeping(*args: Any, **kwargs: Any) -> Core:
            self.cores.append(build(*args, **kwargs))
            return self.cores[-1]

        folder = self.folder if self.redis_url is None else self.folder / str(len(self.cores))
        known = {"polygon_base_url": self.provider.address, "polygon_api_key": KEY, "data_dir": folder, **values}
        known["redis_url"] = self.redis_url
        with self.patch.context() as patch:
            patch.setattr("app.factory.build", keeping)
            self.clients.append(create_app(settings(**known), clock=clock, timer=timer).test_client())
        return len(self.cores) - 1

    def living(self) -> list[int]:
        return [number for number in range(len(self.cores)) if number not in self.dead]

    def step(self, seconds: float) -> None:
        self.settle()
        self.clock.forward(seconds=seconds)
        self.time.forward(seconds)
        for _ in range(2):  # the second one reads what the first one brought
            with self.answers.held():
                for number in self.living():
                    self.cores[number].follower.step()
            self.settle()

    def settle(self) -> None:
        """Until all that was started is done: fetches outlast the answers that began them."""
        cores = [self.cores[number] for number in self.living()]
        wait_until_none_is_under_way(
            *(core.follower.waiting for core in cores), *(core.source.fetches.waiting for core in cores)
        )

    def run(self, seconds: float, *, every_s: float = 20.0) -> None:
        for _ in range(round(seconds / every_s)):
            self.step(every_s)

    def get(self, number: int, path: str) -> Any:
        answer = self.clients[number].get(path).get_json()
        self.settle()
        return answer

    def role(self, number: int) -> str:
        role: str = self.get(number, "/health")["operations"]["follower"]["role"]
        return role

    def agree(self, path: str) -> Any:
        """The answer of all living servers, which is one."""
        answers = [_timeless(self.get(number, path)) for number in self.living()]
        assert all(answer == answers[0] for answer in answers), path
        return answers[0]


def _timeless(body: Any) -> Any:
    return {key: value for key, value in body.items() if key not in ("generated_at", "timestamp")}


class WithRunningMinute:
    """A provider that also delivers the running minute, whose prices still move (polygon.md 3.11)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ended = FeedTransport(demo_feed(), CALENDAR, clock)
        self._begun = FeedTransport(demo_feed(), CALENDAR, lambda: clock() + timedelta(minutes=1))

    def __call__(self, path: str, params: Mapping[str, str]) -> Reply:
        reply, now = self._ended(path, params), to_ms(self._clock())
        if "/range/1/minute/" not in path or not reply.body.get("results"):
            return reply
        begun = self._begun(path, params).body["results"][-1]
        if not begun["t"] <= now < begun["t"] + Span.MINUTE.ms:
            return reply
        running = {**begun, "h": begun["o"] * 1.004, "l": begun["o"] * 0.996, "c": begun["o"] * 1.004}
        rows = [*reply.body["results"], running]
        return reply._replace(body={**reply.body, "results": rows, "resultsCount": len(rows)})


@contextmanager
def servers(
    folder: Path,
    patch: pytest.MonkeyPatch,
    at: str,
    count: int,
    provided: Callable[[Clock], Transport] | None = None,
    redis_url: str | None = None,
) -> Iterator[Servers]:
    """`provided(clock)`: what the provider answers; by default the demo market."""
    clock, time = FakeClock(new_york(at)), FakeTimer()
    transport = FeedTransport(demo_feed(), CALENDAR, clock) if provided is None else provided(clock)
    answers = Answers(time)
    with PolygonSimulator(transport, key=KEY, clock=clock, now=answers.now) as provider:
        found = Servers(folder, provider, answers, clock, time, patch, redis_url)
        for _ in range(count):
            found.start()
        yield found
        provider.clear_fault()
        for core in found.cores:
            core.close()


@pytest.fixture(params=["one folder", "one redis"])
def emptied(request: pytest.FixtureRequest) -> Callable[[], str | None]:
    """The address of an empty Redis that servers share; None where they share a folder."""
    if request.param == "one folder":
        return lambda: None
    server = request.getfixturevalue("redis_server")

    def flushed() -> str:
        server.flush()
        return f"{server.url}{PATIENT}"

    return flushed


@pytest.mark.parametrize(
    "counts", [(1, 3), pytest.param((1, 2, 4), marks=pytest.mark.soak)], ids=["up to three", "up to four"]
)
@pytest.mark.parametrize(
    ("emptied", "together"),
    [
        pytest.param("one folder", False, id="one folder, one after the other"),
        pytest.param("one redis", True, id="one redis, at once"),
        pytest.param("one folder", True, id="one folder, at once", marks=pytest.mark.soak),
        pytest.param("one redis", False, id="one redis, one after the other", marks=pytest.mark.soak),
    ],
    indirect=["emptied"],
)
def test_calls_do_not_grow_with_processes_and_all_answer_the_same(
    together: bool,
    counts: tuple[int, ...],
    emptied: Callable[[], str | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each way to share and each way to start is in CI once; the soak has all of them together."""
    calls = {}
    for count in counts:
        begun, at = count if together else 1, "2025-03-11 10:57:31"
        with servers(tmp_path / str(count), monkeypatch, at, begun, redis_url=emptied()) as found:
            found.step(0)
            for path in PATHS:
                found.agree(path)
            found.run(60)
            while len(found.cores) < count:
                found.start()
                found.step(0)
            for _ in range(4):
                for path in PATHS:
                    found.agree(path)
                found.run(60)
            board = found.agree("/trading_directions")
            assert {entry["locked_at"][11:16] for entry in board["tickers"].values()} == {"11:00"}
            assert not board["data_status"]["stale"]
            assert sorted(found.role(number) for number in range(count)) == ["leader"] + ["reader"] * (count - 1)
            calls[count] = sorted(call.path for call in found.provider.calls)
            assert calls[count].count(HOLIDAYS) == 1
    print({count: len(paths) for count, paths in calls.items()})
    assert all(calls[count] == calls[1] for count in counts)


def minute_calls(found: Servers, since: datetime) -> Counter[tuple[str, str]]:
    """The calls for bars of the running minute from a moment on, by ticker and minute."""
    calls = [call for call in found.provider.calls if call.provider_time is not None and call.provider_time >= since]
    return Counter(
        (call.path.split("/")[4], f"{call.provider_time:%H:%M}") for call in calls if "/range/1/minute/" in call.path
    )


def test_servers_on_one_redis_fetch_each_ticker_once_a_minute_in_all(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers(tmp_path, monkeypatch, "2025-03-11 11:20:31", 3, redis_url=redis_url) as found:
        found.step(0)
        since = found.clock.at
        for _ in range(5):
            found.agree("/trading_directions")
            found.run(60)
        calls = minute_calls(found, since)
        assert {ticker for ticker, _ in calls} == {"SPY", "QQQ", "IWM"}
        assert len(calls) >= 15
        assert set(calls.values()) == {1}
        assert not list(tmp_path.rglob("budget.sqlite3"))
        assert not list(tmp_path.rglob("running_day.sqlite3"))


@pytest.mark.parametrize(
    "fault", [pytest.param("paused longer than a lease", marks=pytest.mark.soak), "killed", "restarted empty"]
)
def test_while_their_redis_fails_servers_follow_for_themselves_and_then_one_for_all_again(
    fault: str, own_redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = own_redis.url if fault.startswith("paused") else f"{own_redis.url}{PATIENT}"
    with servers(tmp_path, monkeypatch, "2025-03-11 11:20:31", 2, redis_url=address) as found:
        found.step(0)
        found.agree("/trading_directions")
        found.run(60)
        {"paused longer than a lease": own_redis.pause, "killed": own_redis.kill, "restarted empty": own_redis.restart}[
            fault
        ]()
        for _ in range(2):
            found.run(60)
            for number in (0, 1):
                assert not found.get(number, "/trading_directions")["data_status"]["stale"]
                if fault != "restarted empty":
                    health = found.get(number, "/health")
                    assert "follower_unshared" in health["degraded"]
                    assert health["operations"]["budget"]["in_memory"]
        if fault == "killed":
            own_redis.start()
        own_redis.resume()
        found.run(60)
        since = found.clock.at
        for _ in range(3):
            found.run(60)
            assert not found.agree("/trading_directions")["data_status"]["stale"]
        assert sorted(found.role(number) for number in (0, 1)) == ["leader", "reader"]
        assert set(minute_calls(found, since).values()) == {1}
        assert not any(found.get(number, "/health")["operations"]["budget"]["in_memory"] for number in (0, 1))


def test_what_the_clients_of_a_reader_ask_for_is_followed_by_the_leader(
    emptied: Callable[[], str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers(tmp_path, monkeypatch, "2025-03-11 11:20:31", 2, redis_url=emptied()) as found:
        found.run(60)
        assert found.get(0, "/health")["operations"]["follower"]["tickers"] == []
        found.get(1, "/trading_directions?ticker=IWM")
        found.step(4)
        assert found.get(0, "/health")["operations"]["follower"]["tickers"] == ["IWM"]
        found.run(400)
        assert found.get(0, "/health")["operations"]["follower"]["tickers"] == []


def test_a_leader_that_dies_is_replaced_in_seconds_without_a_gap(
    emptied: Callable[[], str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers(tmp_path, monkeypatch, "2025-03-11 11:20:31", 2, redis_url=emptied()) as found:
        found.step(0)
        found.agree("/trading_directions")
        found.run(60)
        found.dead.add(0)
        for seconds in [2] * 20 + [10] * 8:
            found.step(seconds)
            body = found.get(1, "/trading_directions")
            assert not body["data_status"]["stale"]
            assert body["data_status"]["age_s"] < 130
            if found.time.at > 1_000_060 + LEASE_S + 4:
                assert found.role(1) == "leader"
        probes = [call for call in found.provider.calls if "snapshot" in call.path]
        assert len(probes) == 1, "the new leader has the plan that the old one found"


def test_a_leader_that_stops_hands_over_at_once(
    emptied: Callable[[], str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers(tmp_path, monkeypatch, "2025-03-11 11:20:31", 2, redis_url=emptied()) as found:
        found.step(0)
        assert [found.role(0), found.role(1)] == ["leader", "reader"]
        found.cores[0].close()
        found.dead.add(0)
        found.cores[1].follower.step()
        assert found.role(1) == "leader"


def signals(board: Any) -> list[tuple[Any, ...]]:
    return [(entry["action"], entry["probability"], entry["price_11am"]) for entry in board["tickers"].values()]


def test_a_process_whose_clock_is_fast_locks_no_minute_that_still_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took over the difference of the leader's clock, and locked 11:00 at 10:59:32. Alone it did so before it knew any."""
    with servers(tmp_path / "right", monkeypatch, "2025-03-11 10:57:30", 1, WithRunningMinute) as found:
        found.step(0)
        found.run(240)
        right = signals(found.get(0, "/trading_directions?ticker=SPY"))
    for leads in (True, False):
        with servers(tmp_path / str(leads), monkeypatch, "2025-03-11 10:57:30", int(leads), WithRunningMinute) as found:
            found.run(60)
            fast = found.start(ahead_s=90)
            found.clock.forward(seconds=62)
            found.time.forward(62)
            early = found.get(fast, "/trading_directions?ticker=SPY")
            assert [entry["price_11am"] for entry in early["tickers"].values()] == [None], "it is 10:59:32"
            assert "11:00" not in {(entry["locked_at"] or "")[11:16] for entry in early["tickers"].values()}
            assert found.get(fast, "/health")["operations"]["plan"]["clock_ahead_s"] == 90.0
            found.run(60)
            assert signals(found.get(fast, "/trading_directions?ticker=SPY")) == right


@pytest.mark.parametrize("ahead_s", [(90, 0), (0, 90), (0, -90), pytest.param((20, -20), marks=pytest.mark.soak)])
def test_a_reader_has_the_newest_bars_however_the_clocks_differ(
    ahead_s: tuple[float, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leader 90 s fast starved a reader whose clock was right, which did not say that its data were stale."""
    with servers(tmp_path, monkeypatch, "2025-03-11 11:06:30", 0, WithRunningMinute) as found:
        for seconds in ahead_s:
            found.start(ahead_s=seconds)
        found.step(0)
        found.get(0, "/trading_directions")
        found.get(1, "/replay?date=2025-03-10&time=12:05")
        for number in (0, 1):
            found.get(number, "/trading_directions")
        for _ in range(8):
            found.run(60)
            boards = [found.get(number, "/trading_directions") for number in (0, 1)]
            for board, ahead in zip(boards, ahead_s, strict=True):
                newest = found.clock.at + timedelta(seconds=min(ahead, 0))
                assert board["data_status"]["as_of"] == newest.replace(second=0).isoformat()
                assert not board["data_status"]["stale"]
        roles = [found.role(number) for number in (0, 1)]
        assert roles == ["leader", "reader"]


@pytest.mark.parametrize("ahead_s", [90, -90])
def test_a_reader_that_has_made_no_call_yet_reads_no_minute_that_runs_and_says_when_it_is_stale(
    ahead_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it calls the provider it does not know how far its clock is off."""
    with servers(tmp_path, monkeypatch, "2025-03-11 10:57:30", 1, WithRunningMinute) as found:
        found.step(0)
        found.get(0, "/trading_directions")
        found.run(20)
        reader = found.start(ahead_s=ahead_s)
        found.step(0)
        for _ in range(30):
            found.step(10)
            boards = [found.get(number, "/trading_directions") for number in (0, reader)]
            own = found.clock.at + timedelta(seconds=ahead_s)
            newest = min(found.clock.at, own).replace(second=0).isoformat()
            shown = boards[1]["data_status"]
            assert shown["as_of"] <= newest
            assert shown["age_s"] <= 140 or shown["stale"]
            hours = [{entry["locked_at"] for entry in board["tickers"].values()} for board in boards]
            assert hours[0] != hours[1] or signals(boards[0]) == signals(boards[1])
        assert found.role(reader) == "reader"
        assert hours == [{"2025-03-11T11:00:00-04:00"}] * 2


def test_a_reader_of_a_leader_whose_clock_is_slow_says_that_its_bars_are_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers(tmp_path, monkeypatch, "2025-03-11 11:06:30", 0) as found:
        for ahead_s in (-90, 0):
            found.start(ahead_s=ahead_s)
        found.step(0)
        stale = set()
        for _ in range(30):
            found.step(10)
            shown = found.get(1, "/trading_directions")["data_status"]
            assert shown["age_s"] <= 140 or shown["stale"]
            stale.add(shown["stale"])
        assert True in stale


@pytest.mark.parametrize(
    ("emptied", "fault"),
    [
        ("one folder", "403"),
        ("one redis", "500"),
        pytest.param("one folder", "500", marks=pytest.mark.soak),
        pytest.param("one redis", "403", marks=pytest.mark.soak),
    ],
    indirect=["emptied"],
)
def test_an_outage_costs_no_more_calls_with_more_processes(
    fault: str, emptied: Callable[[], str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal opens no circuit, and a failure does: what one process found out the others do not find out by calls."""
    calls = {}
    for count in (1, 3):
        with servers(tmp_path / str(count), monkeypatch, "2025-03-11 11:20:31", count, redis_url=emptied()) as found:
            found.step(0)
            found.agree("/trading_directions")
            found.provider.inject_fault(fault, only="/minute/")
            before = len(found.provider.calls)
            for _ in range(3):
                found.run(60)
                for number in range(count):
                    found.get(number, "/trading_directions")
            calls[count] = sum("/minute/" in call.path for call in found.provider.calls[before:])
    assert calls[1] == calls[3] > 0


def test_an_incomplete_past_day_is_asked_for_again_by_one_of_all(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever had asked for it first asked again for itself alone."""
    minutes = "/SPY/range/1/minute/2025-03-10"
    with servers(tmp_path, monkeypatch, "2025-03-11 11:20:31", 2, redis_url=redis_url) as found:
        found.step(0)
        found.provider.inject_fault("midday-hole", only=minutes)
        for calls, waited_s in enumerate((0, 90, 330), start=1):
            found.run(waited_s, every_s=30)
            for number in (0, 1, 0):
                found.get(number, "/replay?date=2025-03-10&time=12:05&ticker=SPY")
            assert sum(minutes in call.path for call in found.provider.calls) == calls


def test_a_server_that_does_not_know_the_plan_yet_makes_no_other_wait_for_its_budget(
    emptied: Callable[[], str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the plan for the smallest one, and the calls of those that know better have spent that."""
    with servers(tmp_path, monkeypatch, "2025-03-11 11:20:31", 2, redis_url=emptied()) as found:
        for _ in range(2):
            found.cores[0].follower.step()
            found.settle()
        for day in ("07", "06", "05"):
            assert found.clients[0].get(f"/v2/bars/SPY?span=5m&day=2025-03-{day}").status_code == 200
        path = "/v2/bars/QQQ?span=5m&day=2025-03-04"
        assert found.get(1, path)["error_code"] == "RATE_LIMITED"
        assert found.get(0, path)["bars"]
        found.cores[1].follower.step()
        assert found.get(1, path)["bars"]


def test_processes_that_cannot_share_follow_for_themselves_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.market.sqlite_shared_day.SCHEMA", "CREATE TABLE broken (")
    with servers(tmp_path, monkeypatch, "2025-03-11 11:20:31", 1) as found:
        found.step(0)
        found.start()  # it has the plan that the first one found, and waits for no turn of a small one
        found.step(0)
        for number in (0, 1):
            assert all(entry["locked_at"] for entry in found.get(number, "/trading_directions")["tickers"].values())
        found.run(60)
        for number in (0, 1):
            health = found.get(number, "/health")
            assert "follower_unshared" in health["degraded"]
            assert health["operations"]["follower"]["role"] == "unshared"
            assert not found.get(number, "/trading_directions")["data_status"]["stale"]


def test_a_file_that_cannot_be_written_any_more_costs_sharing_and_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers(tmp_path, monkeypatch, "2025-03-11 11:20:31", 1) as found:
        found.step(0)
        found.agree("/trading_directions")
        running_day = found.cores[0].running_day
        assert running_day is not None
        assert isinstance(running_day._day, SqliteSharedDay)
        db = running_day._day.db
        db.write("PRAGMA query_only = 1")
        found.run(60)
        assert found.role(0) == "unshared"
        assert not found.get(0, "/trading_directions")["data_status"]["stale"]
        db.write("PRAGMA query_only = 0")
        found.run(60)
        assert found.role(0) == "leader"
        assert "follower_unshared" not in found.get(0, "/health")["degraded"]


def test_after_a_split_every_server_replays_with_the_eleven_oclock_price_on_the_new_basis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers(tmp_path, monkeypatch, "2025-03-11 11:01:31", 2) as found:
        found.step(0)
        found.run(60, every_s=20)
        before = found.agree("/trading_directions")["tickers"]
        midnight = new_york("2025-03-12 00:00")
        found.provider.inject_fault("split", only="/SPY/", factor=2, before=to_ms(midnight))
        found.time.forward((new_york("2025-03-12 09:35:07") - found.clock.at).total_seconds())
        found.clock.set("2025-03-12 09:35:07")
        found.step(0)
        found.run(120, every_s=20)
        for path in ("/replay?date=2025-03-11&time=14:30", "/replay?date=2025-03-11&time=16:30"):
            replayed = found.agree(path)["tickers"]
            assert replayed["SPY"]["price_11am"] == pytest.approx(before["SPY"]["price_11am"] / 2, abs=0.006)
            assert replayed["QQQ"]["price_11am"] == before["QQQ"]["price_11am"]


def test_a_server_whose_only_call_failed_learns_from_another_that_the_provider_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers(tmp_path, monkeypatch, "2025-03-11 11:20:31", 2) as found:
        found.step(0)
        found.run(60)
        reader = next(n for n in (0, 1) if found.role(n) == "reader")
        found.provider.inject_fault("reset", only="2025-02-1")
        failed = found.get(reader, "/replay?date=2025-02-11&time=12:05&ticker=SPY")
        assert failed["tickers"]["SPY"]["error_code"] == "DATA_FETCH_ERROR"
        found.provider.clear_fault()
        found.run(80, every_s=20)
        found.agree("/trading_directions")
        health = found.get(reader, "/health")
        assert (health["degraded"], health["operations"]["provider"]["answered"]) == ([], True)


def test_bars_of_a_server_that_is_gone_do_not_show_that_the_provider_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers(tmp_path, monkeypatch, "2025-03-11 11:20:31", 1) as found:
        found.step(0)
        found.run(60, every_s=20)
        found.dead.add(0)
        found.cores[0].close()
        found.provider.inject_fault("reset")
        number = found.start()
        found.run(120, every_s=20)
        assert found.get(number, "/health")["operations"]["provider"]["answered"] is False
