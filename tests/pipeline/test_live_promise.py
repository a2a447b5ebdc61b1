"""Whether the record of a deployment agrees with what its signals stated: what is read, left out, and not known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from app.core import Core
from app.errors import Unavailable
from app.factory import build
from app.market.polygon import Reply
from app.pipeline import promise_report
from app.pipeline.live_promise import DEMO, NOT_SCORED, ModelRecord
from app.signals.evidence import Side
from app.signals.policy import SUPPORTED
from app.signals.sqlite_record import SqliteRecord
from tests.pipeline.recorded_days import at_nine, coming_true, keep_closes, lock_days, signals_of, trading_days
from tests.redis_server import PATIENT, RedisServer
from tests.support import FakeClock, settings

DAYS = trading_days(100)
NOW = at_nine(trading_days(101)[-1])


def no_calls(path: str, params: Mapping[str, str]) -> Reply:
    raise AssertionError(f"a call to the provider: {path}")


Made = Callable[..., Core]


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    """Makes a server's core over a folder; every call of its provider fails the test."""
    cores: list[Core] = []

    def make(folder: str = "data", **values: object) -> Core:
        chosen = settings(**{"market": "polygon", "data_dir": tmp_path / folder, **values})
        cores.append(build(chosen, clock=FakeClock(NOW), transport=no_calls))
        return cores[-1]

    yield make
    for core in cores:
        core.close()


def model_ids(core: Core) -> dict[str, str]:
    return {ticker: model.model_id for ticker, model in core.pipeline.models.models.items()}


def stocked(made: Made, came_true: list[bool], tickers: Sequence[str] = ("SPY",)) -> Core:
    """A core whose record states 0.8 on all days, of which these came true."""
    core = made()
    folder = core.settings.data_dir / "polygon"
    lock_days(folder / "record.sqlite3", DAYS, model_ids(core), tickers=tickers)
    keep_closes(folder / "bars.sqlite3", DAYS[: len(came_true)], came_true)
    return core


def found(core: Core, ticker: str = "SPY") -> ModelRecord:
    core.live_promise.refresh(NOW)
    record = core.live_promise.of(ticker)
    assert isinstance(record, ModelRecord), record
    return record


def test_a_record_that_keeps_what_it_states_is_not_contradicted(made: Made) -> None:
    record = found(stocked(made, coming_true(100, 0.8)))
    assert (record.days, record.last_day, record.signals, record.unknown) == (100, DAYS[-1], 100 * 6, 0)
    assert record.traded is not None
    assert record.traded.interval is not None
    assert record.traded.stated == pytest.approx(0.8)
    assert record.traded.interval.low < 0.8 < record.traded.interval.high
    assert record.evidence.contradicts is None


def test_a_record_of_which_half_comes_true_is_contradicted(made: Made) -> None:
    record = found(stocked(made, coming_true(100, 0.5)))
    assert record.evidence.contradicts is not None
    assert record.evidence.contradicts.side is Side.TOO_SURE
    assert record.evidence.contradicts.day in DAYS


def test_days_that_the_model_was_trained_on_do_not_count(made: Made) -> None:
    core = made()
    folder = core.settings.data_dir / "polygon"
    lock_days(folder / "record.sqlite3", DAYS[:70], model_ids(core), in_sample=True)
    lock_days(folder / "record.sqlite3", DAYS[70:], model_ids(core))
    keep_closes(folder / "bars.sqlite3", DAYS, [*coming_true(70, 0.0), *coming_true(30, 0.8)])
    record = found(core)
    assert (record.days, record.signals, record.evidence.contradicts) == (30, 30 * 6, None)
    read = core.live_promise.read("SPY", NOW)
    assert (read.signals, read.in_sample) == (30 * 6, 70 * 6)


def test_another_model_begins_anew(made: Made) -> None:
    core = made()
    folder = core.settings.data_dir / "polygon"
    lock_days(folder / "record.sqlite3", DAYS[:70], {ticker: f"v6-{ticker}-before" for ticker in SUPPORTED})
    lock_days(folder / "record.sqlite3", DAYS[70:], model_ids(core))
    keep_closes(folder / "bars.sqlite3", DAYS, [*coming_true(70, 0.5), *coming_true(30, 0.8)])
    record = found(core)
    assert (record.model_id, record.days, record.evidence.alarms) == (model_ids(core)["SPY"], 30, [])


def test_what_is_not_kept_is_counted_and_asked_of_no_provider(made: Made) -> None:
    core = stocked(made, coming_true(90, 0.8))
    assert (found(core).days, found(core).unknown) == (90, 10 * 6)
    read = core.live_promise.read("SPY", NOW)
    assert read.unknown == {"the daily bar of the day is not kept": 10 * 6}


def test_a_day_that_was_re_based_since_is_not_compared(made: Made) -> None:
    core = stocked(made, coming_true(100, 0.8))
    with closing(SqliteRecord(core.settings.data_dir / "polygon" / "record.sqlite3")) as record:
        record.lock(replace(signals_of("SPY", DAYS[0], "other")[0], hour=9, today_open=196.0))
    read = core.live_promise.read("SPY", NOW)
    assert [(count, "re-based" in reason) for reason, count in read.unknown.items()] == [(1, True)]


def test_hours_without_a_signal_stay_gaps(made: Made) -> None:
    core = made()
    folder = core.settings.data_dir / "polygon"
    lock_days(folder / "record.sqlite3", [*DAYS[:60], *DAYS[61:]], model_ids(core))
    keep_closes(folder / "bars.sqlite3", DAYS, coming_true(100, 0.8))
    read = core.live_promise.read("SPY", NOW)
    assert (read.signals, read.gaps) == (99 * 6, 6)
    assert found(core).days == 99


def test_workers_and_servers_with_the_same_record_say_the_same(made: Made) -> None:
    first = stocked(made, coming_true(100, 0.7), SUPPORTED)
    second = made()
    assert [found(first, ticker) for ticker in SUPPORTED] == [found(second, ticker) for ticker in SUPPORTED]


def test_a_day_counts_once_its_close_is_kept_without_a_restart(made: Made) -> None:
    core = stocked(made, coming_true(99, 0.8))
    assert found(core).days == 99
    keep_closes(core.settings.data_dir / "polygon" / "bars.sqlite3", DAYS[99:], [True])
    assert found(core).days == 100


def test_before_the_record_was_read_there_is_no_figure(made: Made) -> None:
    assert made().live_promise.of("SPY") == NOT_SCORED


def test_a_demo_market_says_nothing_of_a_model(made: Made) -> None:
    core = made(market="demo")
    core.live_promise.refresh(NOW)
    assert core.live_promise.of("SPY") == DEMO


def test_while_redis_is_away_what_was_found_stays_and_a_new_server_says_why_it_has_nothing(
    made: Made, own_redis: RedisServer
) -> None:
    core = made(redis_url=f"{own_redis.url}{PATIENT}")
    for day in DAYS[:30]:
        for ticker in SUPPORTED:
            for signal in signals_of(ticker, day, model_ids(core)[ticker]):
                core.store.put(signal)
    keep_closes(core.settings.data_dir / "polygon" / "bars.sqlite3", DAYS[:30], coming_true(30, 0.8))
    before = found(core)
    own_redis.stop()
    new = made("other", redis_url=f"{own_redis.url}{PATIENT}")
    keep_closes(core.settings.data_dir / "polygon" / "bars.sqlite3", DAYS[30:31], [True])
    for server in (core, new):
        with pytest.raises(Unavailable):
            server.live_promise.refresh(NOW)
    assert core.live_promise.of("SPY") == before
    assert new.live_promise.of("SPY") == "the record of signals cannot be read now"


def report(core: Core) -> list[str]:
    return list(promise_report.lines({ticker: core.live_promise.read(ticker, NOW) for ticker in SUPPORTED}))


def test_the_report_says_what_was_stated_and_what_came_true_in_all_and_by_model(made: Made) -> None:
    core = stocked(made, coming_true(90, 0.5), SUPPORTED)
    lines = report(core)
    assert lines[0] == f"signals with a known outcome: 1,620, of 90 days from {DAYS[0]} to {DAYS[89]}"
    assert "left out: 180 without a known outcome: 180 x the daily bar of the day is not kept" in lines
    heads = [line for line in lines if line and not line.startswith(" ")]
    assert [f"{model_id}, {ticker}" for ticker, model_id in model_ids(core).items()] == [
        line for line in heads if line.startswith("v6-")
    ]
    assert sum("none: no signal stated such a probability" in line for line in lines) == 4 * 9
    assert sum("The record contradicts what the model states since" in line for line in lines) == 3
    assert sum("stated 0.800 for their side on average" in line for line in lines) == 4


def test_the_report_gives_no_figure_of_a_few_days(made: Made) -> None:
    core = made()
    folder = core.settings.data_dir / "polygon"
    lock_days(folder / "record.sqlite3", DAYS[:19], model_ids(core))
    keep_closes(folder / "bars.sqlite3", DAYS[:19], coming_true(19, 0.8))
    lines = report(core)
    assert lines.count("  19 days with a known outcome: too few for any figure, which takes 20") == 4
    assert not any("%" in line for line in lines[:-7])


def test_the_report_of_an_empty_record_has_no_figures(made: Made) -> None:
    assert report(made()) == [
        "signals with a known outcome: 0",
        "left out: 0 in-sample (their model was trained on their day)",
        "left out: 0 without a known outcome",
        "gaps: 0 decision hours without a signal, since the first one",
    ]
