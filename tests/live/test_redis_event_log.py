"""The log of live events in a real Redis that is lost, full, paused, a copy of another one, or brought back as it once was; and
what other processes hear of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.crc import key_slot

from app.errors import Unavailable
from app.factory import build, create_app
from app.live.append_listener import PAUSE_S, REFUSED_PAUSE_S, AppendListener
from app.live.event_log import EventLog, EventLogWithFallback
from app.live.live_event import Position
from app.live.redis_event_log import KEPT_S, RedisEventLog
from app.market.lease import LEASE_S
from app.sqlite import REOPEN_AFTER_S
from tests.live import racing
from tests.live.broadcasting import Told, bodies
from tests.live.logs import PREFIX, event, filled, head, redis_log, seqs
from tests.redis_faults import PASSWORD, SILENCE_S, allow_someone, url_of_someone
from tests.redis_relay import Relay
from tests.redis_server import PATIENT, RedisServer
from tests.support import FakeClock, FakeTimer, ScriptedMarket, settings
from tests.waiting import PATIENCE_S, wait_for

LAST = Position("aaaaaaaa", 3)


@pytest.fixture
def log(own_redis: RedisServer, timer: FakeTimer) -> Iterator[RedisEventLog]:
    with closing(redis_log(own_redis.url, timer)) as found:
        yield found


def append(log: EventLog, seq: int) -> bool:
    return log.append("SPY", Position("aaaaaaaa", seq - 1), [event(seq)], head(seq))


USES: dict[str, Callable[[EventLog], object]] = {
    "leads": lambda log: log.leads("SPY"),
    "head": lambda log: log.head("SPY"),
    "between": lambda log: log.between("SPY", Position("aaaaaaaa", 0), LAST),
    "append": lambda log: append(log, 4),
    "resign": lambda log: log.resign("SPY"),
}


# --- a Redis that fails ---


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_each_use_of_a_redis_that_is_gone_or_stands_still_says_so(
    fault: str, use: str, own_redis: RedisServer, timer: FakeTimer
) -> None:
    timeout_s = SILENCE_S if fault == "pause" else PATIENCE_S
    with closing(redis_log(own_redis.url, timer, timeout_s)) as log:
        filled(log, 3)
        getattr(own_redis, fault)()
        with pytest.raises(Unavailable) as caught:
            USES[use](log)
        assert caught.value.part == "store"


@pytest.fixture
def relay(own_redis: RedisServer) -> Iterator[Relay]:
    with Relay(own_redis) as found:
        yield found


@pytest.mark.parametrize("use", USES)
def test_one_answer_that_is_lost_moves_nothing_to_memory_and_repeats_nothing(
    use: str, relay: Relay, log: RedisEventLog, timer: FakeTimer
) -> None:
    heard: list[str] = []
    shared = redis_log(relay.url, timer)
    emit = lambda name, **fields: heard.append(name)  # noqa: E731
    both = EventLogWithFallback(lambda: shared, emit, timer.timer.now, is_redis=True)
    filled(both, 3)
    relay.lose_answers()
    found = USES[use](both)
    assert (relay.lost, heard, both.is_in_memory) == (1, [], False)
    assert found == USES[use](log) if use in ("head", "between") else found in (True, None)
    assert seqs(log, 9) == [1, 2, 3, *([4] if use == "append" else [])]
    assert append(both, 5 if use == "append" else 4) is (use != "resign")


def losing_an_answer(first: Callable[[], object], second: Callable[[], object]) -> Callable[[], str]:
    """Work whose first answer is lost. first, second: what happens in each try."""
    tries = [second, first]

    def work() -> str:
        tries.pop()()
        if tries:
            raise Unavailable("no answer", part="store")
        return "answer"

    return work


def test_each_of_two_tickers_whose_answers_are_lost_in_one_moment_asks_once_more(timer: FakeTimer) -> None:
    """The first answer of one ticker is lost while the other one asks once more."""
    log, asks, asks_again = redis_log("redis://127.0.0.1:1", timer), threading.Event(), threading.Event()

    def ask() -> None:
        asks.set()
        assert asks_again.wait(PATIENCE_S)

    def ask_again() -> None:
        asks_again.set()
        slow.exception(PATIENCE_S)

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(log._patiently, losing_an_answer(ask, bool))
        assert asks.wait(PATIENCE_S)
        assert log._patiently(losing_an_answer(bool, ask_again)) == "answer"
        assert slow.result() == "answer"


def test_an_append_that_was_done_and_extended_by_another_process_is_not_done_again(
    relay: Relay, log: RedisEventLog, timer: FakeTimer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is lost, and before it asks again another process has led on: it reads then what there is."""
    one = redis_log(relay.url, timer)
    filled(one, 3)
    script = one._append

    def late(keys: Sequence[str], args: Sequence[Any]) -> Any:
        try:
            return script(keys, args)
        except Unavailable:
            timer.forward(2 * LEASE_S)
            assert log.leads("SPY")
            assert append(log, 5)
            raise

    monkeypatch.setattr(one, "_append", late)
    relay.lose_answers()
    assert not append(one, 4)
    assert (one.head("SPY"), seqs(one, 9)) == (head(5), [1, 2, 3, 4, 5])


def test_a_redis_that_failed_twice_is_asked_once_at_a_time_until_it_answers(relay: Relay, timer: FakeTimer) -> None:
    log = redis_log(relay.url, timer)
    filled(log, 3)
    relay.lose_answers(3)
    for asked in (2, 3):
        with pytest.raises(Unavailable):
            log.head("SPY")
        assert relay.lost == asked
    assert log.head("SPY") == head(3)


def test_a_full_redis_takes_no_event_and_what_it_has_is_still_read(log: RedisEventLog, own_redis: RedisServer) -> None:
    filled(log, 3)
    with own_redis.client() as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(Unavailable, match="write") as full:
            append(log, 4)
        assert "maxmemory" in str(full.value.detail)
        assert (log.head("SPY"), seqs(log, 9)) == (head(3), [1, 2, 3])
        client.config_set("maxmemory", 0)
    assert append(log, 4)
    assert (log.head("SPY"), seqs(log, 9)) == (head(4), [1, 2, 3, 4])


def test_a_replica_that_may_not_be_written_takes_no_event(log: RedisEventLog, own_redis: RedisServer) -> None:
    filled(log, 3)
    with own_redis.client() as client:
        client.replicaof("127.0.0.1", 1)
        with pytest.raises(Unavailable, match="write") as caught:
            append(log, 4)
        assert "read only replica" in str(caught.value.detail)
        with pytest.raises(Unavailable, match="write"):
            log.leads("QQQ")
        client.replicaof("NO", "ONE")
    assert append(log, 4)
    assert seqs(log, 9) == [1, 2, 3, 4]


def test_a_redis_that_was_started_again_empty_has_no_sequence(log: RedisEventLog, own_redis: RedisServer) -> None:
    filled(log, 3)
    own_redis.restart()
    assert (log.head("SPY"), seqs(log, 9)) == (None, [])
    assert not append(log, 4), "it would begin in the middle"
    assert log.leads("SPY")
    assert log.append("SPY", None, [], head(0, "bbbbbbbb"))


@contextmanager
def brought_back(server: RedisServer) -> Iterator[None]:
    """What Redis holds now is what it holds after a restart: what was appended meanwhile is lost to it."""
    with closing(Redis.from_url(server.url)) as client:
        kept = {key: client.dump(key) for key in client.scan_iter()}
    yield
    server.restart()
    with closing(Redis.from_url(server.url)) as client:
        for key, value in kept.items():
            client.restore(key, 0, value)


def test_a_sequence_ends_with_the_run_of_the_redis_that_took_it(
    log: RedisEventLog, own_redis: RedisServer, timer: FakeTimer
) -> None:
    """A copy, or a file written a second ago, may lack events that clients have: their numbers must not be given again."""
    filled(log, 3)
    with brought_back(own_redis):
        assert append(log, 4)
    with closing(redis_log(own_redis.url, timer)) as other:
        for one in (log, other):
            assert one.head("SPY") is None
        assert log.leads("SPY")
        assert not log.append("SPY", LAST, [event(4, size=9)], head(4)), "nor behind what it knows"
        assert log.append("SPY", None, [], head(0, "bbbbbbbb"))
        assert (other.head("SPY"), seqs(other, 9)) == (head(0, "bbbbbbbb"), [])


def test_a_leader_that_was_stopped_past_its_lease_writes_nothing_when_it_wakes(redis_url: str) -> None:
    command = [sys.executable, "-m", "tests.live.racing", redis_url, "obey"]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stopped,
        closing(racing.opened(redis_url)) as successor,
    ):
        assert stopped.stdin is not None
        assert stopped.stdout is not None

        def tell(order: str) -> str:
            assert stopped.stdin is not None
            assert stopped.stdout is not None
            print(order, file=stopped.stdin, flush=True)
            return stopped.stdout.readline().strip()

        assert [tell(order) for order in ("lead", "append", "append")] == ["True", "None", "1-by-other"]
        os.kill(stopped.pid, signal.SIGSTOP)
        wait_for(lambda: successor.leads("SPY"), "the lease does not end")
        os.kill(stopped.pid, signal.SIGCONT)
        assert tell("append") == "None"
        assert racing.append(successor, "successor") == "2-by-successor"
        assert successor.leads("SPY"), "for another while"
        assert (tell("append"), tell("lead")) == ("None", "False")
        assert seqs(successor, 9) == [1, 2]
        stopped.stdin.close()


# --- what it costs ---


def test_what_it_keeps_ends_by_itself_and_lies_in_one_slot_for_each_ticker(
    log: RedisEventLog, own_redis: RedisServer
) -> None:
    filled(log, 3)
    assert log.leads("QQQ")
    with own_redis.client() as client:
        keys = list(client.scan_iter())
        assert sorted(keys) == [
            f"{PREFIX}:{{QQQ}}:lead",
            *(f"{PREFIX}:{{SPY}}:{n}" for n in ("events", "head", "lead")),
        ]
        assert len({key_slot(key.encode()) for key in keys if "SPY" in key}) == 1
        assert all(0 < client.ttl(key) <= KEPT_S for key in keys)
        client.expire(f"{PREFIX}:{{SPY}}:head", 10)
        assert append(log, 4)
        assert client.ttl(f"{PREFIX}:{{SPY}}:head") > KEPT_S - 60, "an append renews it"


def test_a_head_that_has_not_changed_is_not_sent_again(log: RedisEventLog, own_redis: RedisServer) -> None:
    filled(log, 3)
    large = head(3)._replace(snapshot=b"x" * 1_000_000)
    assert log.append("SPY", LAST, [], large)
    with own_redis.client() as client:
        before = client.info("stats")["total_net_output_bytes"]
        assert [log.head("SPY") for _ in range(20)] == [large] * 20
        assert client.info("stats")["total_net_output_bytes"] - before < 1_000_000


# --- what others hear ---


class Heard:
    """The tickers of which a listener was told, by an `emit` of its own. It tries again at once."""

    def __init__(self, log: RedisEventLog) -> None:
        self.tickers: list[str] = []
        self.listener = AppendListener(
            log.appended_elsewhere, ["SPY"], self._emit, lambda seconds: self._is_over.wait(0.02)
        )
        self._is_over = threading.Event()
        self.thread = threading.Thread(target=self.listener.run, daemon=True)
        self.thread.start()

    def _emit(self, name: str, ticker: str) -> None:
        assert name == "live_log_grew"
        self.tickers.append(ticker)

    def close(self) -> None:
        self.listener.close()
        self._is_over.set()


def listeners(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.pubsub_numsub(f"{PREFIX}:appended")[0][1])


@pytest.fixture
def heard(log: RedisEventLog, own_redis: RedisServer) -> Iterator[Heard]:
    found = Heard(log)
    wait_for(lambda: listeners(own_redis) == 1)
    yield found
    found.close()
    log._db.close()
    with own_redis.client() as client:
        client.publish(f"{PREFIX}:appended", "a last word, so that it need not wait for a silence")
    found.thread.join(PATIENCE_S)
    assert not found.thread.is_alive(), "it ends with the log"


def test_a_process_hears_what_others_append_and_resign_and_nothing_of_its_own(
    log: RedisEventLog, heard: Heard, own_redis: RedisServer, timer: FakeTimer
) -> None:
    with closing(redis_log(own_redis.url, timer)) as other:
        filled(other, 3)
        other.resign("SPY")
        wait_for(lambda: len(heard.tickers) == 3)
        assert log.leads("SPY")
        assert append(log, 4)
        log.resign("SPY")
        assert other.leads("SPY")
        assert append(other, 5)
        assert other.leads("QQQ")
        assert other.append("QQQ", None, [], head(0)), "a ticker that the listener does not know"
        assert append(other, 6)
        wait_for(lambda: len(heard.tickers) >= 5)
        assert heard.tickers == ["SPY"] * 5


def test_a_listener_hears_again_after_its_redis_was_gone(
    log: RedisEventLog, heard: Heard, own_redis: RedisServer, timer: FakeTimer
) -> None:
    own_redis.restart()
    wait_for(lambda: listeners(own_redis) == 1)
    with closing(redis_log(own_redis.url, timer)) as other:
        filled(other, 1)
    wait_for(lambda: heard.tickers)


def test_a_user_who_may_not_listen_is_told_once_and_hears_once_it_may(own_redis: RedisServer, timer: FakeTimer) -> None:
    allow_someone(own_redis)
    told: list[str] = []
    tries: list[float] = []

    def emit(name: str, **fields: object) -> None:
        told.append(f"{name} {fields.get('error', '')}".strip())

    log = redis_log(url_of_someone(own_redis), timer)
    listener = AppendListener(log.appended_elsewhere, ["SPY"], emit, lambda seconds: bool(tries.append(seconds)))
    thread = threading.Thread(target=listener.run, daemon=True)
    thread.start()
    wait_for(lambda: len(tries) > 2)
    assert listener.is_refused
    [refusal] = told
    assert refusal.startswith("live_log_unheard redis: ")
    assert "permission" in refusal
    assert PASSWORD not in refusal
    assert min(tries) >= REFUSED_PAUSE_S[0]
    with own_redis.client() as client:
        client.execute_command("ACL", "SETUSER", "someone", "allchannels")
        wait_for(lambda: told[1:] == ["live_log_heard"])
        assert not listener.is_refused
        listener.close()
        log._db.close()
        client.publish(f"{PREFIX}:appended", "a last word")
    thread.join(PATIENCE_S)


def test_a_server_that_may_not_listen_says_so_in_its_health(own_redis: RedisServer, tmp_path: Path) -> None:
    allow_someone(own_redis)
    url = f"{url_of_someone(own_redis)}{PATIENT}"
    services = create_app(settings(market="demo", data_dir=tmp_path, redis_url=url)).extensions["predict-server"]
    services.start()
    wait_for(lambda: services.operations()["live_log"]["subscription_refused"])
    assert services.operations()["live_log"]["in_memory"] is False
    services.close()


def test_a_listener_pauses_for_another_time_each_time_while_redis_is_gone() -> None:
    pauses: list[float] = []

    def gone() -> Iterator[str]:
        raise Unavailable("gone", part="store")

    def pause(seconds: float) -> bool:
        pauses.append(seconds)
        return len(pauses) == 50

    AppendListener(gone, ["SPY"], lambda *args, **fields: None, pause).run()
    assert all(PAUSE_S[0] <= seconds <= PAUSE_S[1] for seconds in pauses)
    assert len(set(pauses)) > 10


# --- what followers are told ---


@pytest.fixture
def told(
    log: RedisEventLog, tmp_path: Path, clock: FakeClock, market: ScriptedMarket, timer: FakeTimer
) -> Iterator[Told]:
    """A broadcaster on the log in Redis, with memory in its place while that is gone."""
    core = build(settings(market="polygon", polygon_api_key="k", data_dir=tmp_path), clock=clock, transport=market)
    clock.fetches.append(core.pipeline.fetches)
    both = EventLogWithFallback(lambda: log, core.events, timer.timer.now, is_redis=True)
    yield Told(core, clock, timer, both)
    core.close()


def snapshot_of(events: list[dict[str, Any]]) -> tuple[str, str | None]:
    (snapshot,) = events
    assert snapshot["kind"] == "snapshot"
    return snapshot["as_of"], snapshot["instead"]


def test_after_a_restart_that_lost_all_followers_get_a_snapshot_of_a_new_sequence(
    told: Told, own_redis: RedisServer
) -> None:
    told.at("10:30:07", "10:31:07", "10:32:07")
    old, listener = told.epoch(), told.listener()
    listener.take(0)
    own_redis.restart()
    told.at("10:33:07")
    assert snapshot_of(bodies(listener.take(0))) == ("11 10:33", "unknown_epoch")
    assert told.epoch() != old
    assert snapshot_of(bodies(told.listener(f"{old}-1").take(0))) == ("11 10:33", "unknown_epoch")
    told.at("10:34:07")
    assert [(e["as_of"], e["id"]) for e in bodies(listener.take(0))] == [("11 10:34", f"{told.epoch()}-1")]


def test_after_a_restart_that_lost_the_newest_events_nobody_goes_on_with_others_of_their_numbers(
    told: Told, own_redis: RedisServer
) -> None:
    told.at("10:30:07", "10:31:07")
    old = told.epoch()
    with brought_back(own_redis):
        told.at("10:32:07", "10:33:07")
        client = told.listener(f"{old}-2")
        assert [event["as_of"] for event in bodies(client.take(0))] == ["11 10:33"]
    told.minutes("10:34:07", 3)
    first, *others = bodies(client.take(0))
    assert snapshot_of([first]) == ("11 10:34", "unknown_epoch")
    assert [event["as_of"] for event in others] == ["11 10:35", "11 10:36"]
    assert told.epoch() != old


def test_followers_are_told_on_from_memory_while_redis_is_gone_and_go_on_in_redis_afterwards(
    told: Told, own_redis: RedisServer, timer: FakeTimer
) -> None:
    told.at("10:30:07", "10:31:07")
    listener = told.listener()
    listener.take(0)
    own_redis.kill()
    told.at("10:32:07", "10:33:07")
    first, second = bodies(listener.take(0))
    assert snapshot_of([first]) == ("11 10:32", "unknown_epoch")
    assert second["as_of"] == "11 10:33"
    own_redis.start()
    timer.forward(REOPEN_AFTER_S)
    told.at("10:34:07", "10:35:07")
    first, second = (event for event in bodies(listener.take(0)) if event["kind"] != "heartbeat")
    assert snapshot_of([first]) == ("11 10:34", "unknown_epoch")
    assert second["id"] == f"{told.epoch()}-1"
    counts = told.core.events.counts
    assert (counts["live_log_in_memory",], counts["live_log_in_redis",]) == (1, 1)
