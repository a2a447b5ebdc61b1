"""`record export`, `import` and `verify`: an operator moves the record between stores and sees that nothing was rewritten."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from app import cli
from app.factory import build, create_app
from app.factory.markets import market_namespace
from app.market.opens import OfficialOpen
from app.redis_database import RedisDatabase
from app.signals.record import Record
from app.signals.record_entries import entries
from app.signals.record_file import Header, write
from app.signals.redis_record import RedisRecord
from app.signals.sqlite_record import SqliteRecord
from tests.redis_server import PATIENT, RedisServer
from tests.signals.test_policy import decision
from tests.support import settings
from tests.waiting import PATIENCE_S

DAY = date(2025, 3, 11)
SAID = decision(0.6, 0.9)


@dataclass
class Done:
    status: object
    out: str
    err: str


Type = Callable[..., Done]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Type:
    """Types `predict record ...` in this process, in a polygon market whose record is in a file below DATA_DIR."""
    for name in ("REDIS_URL", "REDIS_URLS", "HOME_REGION", "POLYGON_API_KEY", "POLYGON_BASE_URL", "WEB_CONCURRENCY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MARKET", "polygon")
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))

    def type_in(*args: str | Path, **environment: str | Path) -> Done:
        status: object = 0
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, str(value))
            patch.setattr(sys, "argv", ["app", "record", *map(str, args)])
            try:
                cli.main()
            except SystemExit as exc:
                status = exc.code
        return Done(status, *capsys.readouterr())

    return type_in


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "record.jsonl"


def database(tmp_path: Path) -> Path:
    return tmp_path / "data" / "polygon" / "record.sqlite3"


def locked(path: Path, hours: tuple[int, ...] = (13, 14, 15)) -> None:
    """A record in a file, with these hours and the prices of a day."""
    record = SqliteRecord(path)
    for hour in hours:
        record.lock(replace(SAID, hour=hour))
    record.add_open("SPY", DAY, OfficialOpen(500.1, "daily"))
    record.add_eleven("SPY", DAY, 501.25)
    record.close()


def in_redis(server: RedisServer) -> Record:
    return RedisRecord(RedisDatabase(server.url, PATIENCE_S), "predict:record:polygon")


def rewrite(path: Path, hour: int, p_b: float) -> None:
    with sqlite3.connect(path) as connection:
        (text,) = connection.execute("SELECT record FROM signals WHERE hour = ?", (hour,)).fetchone()
        assert '"p_b":0.9' in text
        changed = text.replace('"p_b":0.9', f'"p_b":{p_b}')
        connection.execute("UPDATE signals SET record = ? WHERE hour = ?", (changed, hour))
    connection.close()


def last_hash(done: Done) -> str:
    found = re.search(r"^last hash: ([0-9a-f]{64})$", done.out, re.MULTILINE)
    assert found is not None
    return found[1]


def test_a_record_in_a_file_is_moved_into_redis_in_the_environment_of_the_server_that_uses_redis(
    typed: Type, tmp_path: Path, file: Path, own_redis: RedisServer
) -> None:
    locked(database(tmp_path))
    moving = {"REDIS_URL": own_redis.url + PATIENT, "WEB_CONCURRENCY": "4"}
    done = typed("export", "--sqlite", file, **moving)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"record.jsonl: 3 signals of {DAY} to {DAY}, 1 open, 1 11:00 price, of the record")
    moved = typed("import", file, **moving)
    assert (moved.status, moved.err) == (0, "")
    assert moved.out == "record.jsonl: 5 entries added to the record polygon in Redis; there already: 0\n"
    before = SqliteRecord(database(tmp_path))
    assert list(entries(in_redis(own_redis))) == list(entries(before))
    again = typed("import", file, **moving)
    assert (again.status, "0 entries added" in again.out, "there already: 5" in again.out) == (0, True, True)
    compared = typed("verify", "--against", file, **moving)
    assert (compared.status, "all signals of the file are in the record" in compared.out) == (0, True)


def test_a_record_in_redis_is_moved_into_a_file(
    typed: Type, tmp_path: Path, file: Path, own_redis: RedisServer
) -> None:
    in_redis(own_redis).lock(SAID)
    assert typed("export", file, REDIS_URL=own_redis.url + PATIENT).status == 0
    assert typed("import", file).status == 0
    assert SqliteRecord(database(tmp_path)).signal("SPY", DAY, 13) == SAID


def test_a_redis_that_is_gone_is_said_in_one_sentence(typed: Type, file: Path) -> None:
    done = typed("export", file, REDIS_URL="redis://:a-secret-word@127.0.0.1:1")
    assert (done.status, done.err) == (1, "Error: the server cannot write its Redis\n")
    assert not list(file.parent.glob("record.jsonl*"))


def test_an_export_replaces_no_file_and_leaves_none_behind_that_is_not_whole(
    typed: Type, tmp_path: Path, file: Path
) -> None:
    assert typed("export", file).err.startswith("Error: there is no record: ")
    locked(database(tmp_path))
    assert typed("export", file).status == 0
    before = file.read_bytes()
    again = typed("export", file)
    assert (again.status, "exists already, and an export replaces no file" in again.err) == (1, True)
    assert file.read_bytes() == before
    nowhere = typed("export", tmp_path / "nowhere" / "record.jsonl")
    assert (nowhere.status, nowhere.err) == (
        1,
        "Error: record.jsonl: cannot be written: No such file or directory\n",
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "record.jsonl"]


def test_verify_says_what_a_file_holds_and_the_hash_to_publish(typed: Type, tmp_path: Path, file: Path) -> None:
    locked(database(tmp_path))
    exported = typed("export", file)
    done = typed("verify", file)
    assert done.status == 0
    assert f"the chain is whole. 3 signals of {DAY} to {DAY}" in done.out
    assert "models: v6-test" in done.out
    assert last_hash(done) == last_hash(exported)


@pytest.mark.parametrize("command", ["verify", "import"])
def test_a_file_that_was_tampered_with_is_refused_whole(typed: Type, tmp_path: Path, file: Path, command: str) -> None:
    locked(database(tmp_path))
    typed("export", file)
    file.write_bytes(file.read_bytes().replace(b'"price":501.25', b'"price":501.5'))
    done = typed(command, file, DATA_DIR=tmp_path / "new")
    assert done.status == 1
    assert done.err == (
        "Error: record.jsonl: the chain breaks at line 7: one of the lines 6 and 7 was changed, moved or removed\n"
    )
    assert not (tmp_path / "new").exists()


def test_a_hash_that_was_published_is_found_again_in_later_files_until_a_signal_is_rewritten(
    typed: Type, tmp_path: Path
) -> None:
    first, later, forged = (tmp_path / name for name in ("first", "later", "forged"))
    locked(database(tmp_path), (13, 14))
    published = last_hash(typed("export", first))
    locked(database(tmp_path), (15,))
    typed("export", later)
    done = typed("verify", later, "--published", published)
    assert done.status == 0
    assert f"all up to the signal of SPY {DAY} 14:00 is as it was when that hash was published\n" in done.out
    rewrite(database(tmp_path), 13, 0.8)
    typed("export", forged)
    caught = typed("verify", forged, "--published", published)
    assert (caught.status, "does not hold the published hash" in caught.err) == (1, True)


def test_a_signal_that_was_rewritten_or_deleted_in_the_store_is_listed(typed: Type, tmp_path: Path, file: Path) -> None:
    path = database(tmp_path)
    locked(path)
    typed("export", file)
    rewrite(path, 13, 0.8)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM signals WHERE hour = 14")
    connection.close()
    locked(path, (16,))
    done = typed("verify", "--against", file)
    assert done.status == 1
    same = f"though made from the same inputs ({SAID.features_sha256})"
    assert f"rewritten: signal of SPY {DAY} 13:00, {same}\nmissing: signal of SPY {DAY} 14:00\n" in done.err
    assert done.err.endswith("Error: the record does not hold 2 signals as exported\n")
    assert "1 signal beyond the file" in done.out


def test_signals_that_two_regions_made_from_different_bars_are_named_with_what_each_was_made_from(
    typed: Type, tmp_path: Path, file: Path
) -> None:
    locked(database(tmp_path))
    typed("export", file)
    other = SqliteRecord(tmp_path / "away" / "polygon" / "record.sqlite3")
    other.lock(replace(SAID, hour=13))
    other.lock(replace(SAID, hour=14, price=501.0, features_sha256="f" * 64))
    other.lock(replace(SAID, hour=15))
    other.close()
    done = typed("verify", "--against", file, DATA_DIR=tmp_path / "away")
    inputs = f"inputs {SAID.features_sha256} in the file, {'f' * 64} in the record"
    assert (done.status, f"rewritten: signal of SPY {DAY} 14:00, made from other bars ({inputs})\n" in done.err) == (
        1,
        True,
    )
    assert done.err.endswith("Error: the record does not hold 1 signal as exported\n")


def test_an_export_outside_the_home_region_says_that_it_is_not_to_be_published(
    typed: Type, tmp_path: Path, file: Path
) -> None:
    locked(database(tmp_path))
    away = typed("export", file, HOME_REGION="us-east4", RAILWAY_REPLICA_REGION="us-west2")
    assert away.status == 0
    assert away.err == (
        "not to be published: this is the record of us-west2, and the one that counts is that of the home region, us-east4\n"
    )
    home = typed("export", tmp_path / "home", HOME_REGION="us-east4", RAILWAY_REPLICA_REGION="us-east4")
    assert (home.status, home.err) == (0, "")


def test_prices_that_a_split_made_the_store_forget_are_no_rewriting(typed: Type, tmp_path: Path, file: Path) -> None:
    path = database(tmp_path)
    locked(path)
    typed("export", file)
    record = SqliteRecord(path)
    record.forget_prices("SPY", DAY + timedelta(days=1))
    record.add_eleven("SPY", DAY, 250.5)
    done = typed("verify", "--against", file)
    assert (done.status, "as after a split: 2" in done.out) == (0, True)


def test_an_import_overwrites_nothing_and_says_what_differs(typed: Type, tmp_path: Path, file: Path) -> None:
    locked(database(tmp_path))
    typed("export", file)
    rewrite(database(tmp_path), 14, 0.8)
    done = typed("import", file)
    assert done.status == 1
    assert f"different: signal of SPY {DAY} 14:00\n" in done.err
    assert "Error: the record has something else in the place of 1 entry, and stays as it is" in done.err
    kept = SqliteRecord(database(tmp_path)).signal("SPY", DAY, 14)
    assert kept is not None
    assert kept.p_b == 0.8


def test_a_file_of_another_market_is_refused_unless_it_is_asked_for(typed: Type, tmp_path: Path, file: Path) -> None:
    locked(database(tmp_path))
    typed("export", file)
    elsewhere = {"POLYGON_BASE_URL": "http://127.0.0.1:9100", "POLYGON_API_KEY": "k"}
    for args in (["import", file], ["verify", "--against", file]):
        done = typed(*args, **elsewhere)
        assert done.status == 1
        assert "the file is of the record polygon, and the settings name polygon-127-0-0-1-9100" in done.err
    assert not (tmp_path / "data" / "polygon-127-0-0-1-9100").exists()
    assert typed("import", file, "--other-namespace", **elsewhere).status == 0
    assert typed("verify", "--against", file, "--other-namespace", **elsewhere).status == 0


def test_prices_of_a_file_that_is_not_of_today_are_left_out_because_a_split_may_lie_between(
    typed: Type, tmp_path: Path, file: Path
) -> None:
    locked(tmp_path / "old.sqlite3")
    old = SqliteRecord(tmp_path / "old.sqlite3")
    with file.open("wb") as out:
        write(out, Header(namespace="polygon", exported_at=datetime.now(UTC) - timedelta(days=2)), entries(old))
    done = typed("import", file)
    assert (done.status, "prices were left out, because the file is not of today" in done.out) == (0, True)
    record = SqliteRecord(database(tmp_path))
    assert (record.official_open("SPY", DAY), record.eleven("SPY", DAY)) == (None, None)
    assert record.signal("SPY", DAY, 13) == SAID
    assert typed("import", file, "--old-prices").status == 0
    assert record.eleven("SPY", DAY) == 501.25


def test_verify_needs_one_file(typed: Type, file: Path) -> None:
    for args in ([], [file, "--against", file]):
        done = typed("verify", *args)
        assert (done.status, "Name the FILE to check" in done.err) == (2, True)


def test_a_server_that_is_given_a_redis_says_how_its_record_is_moved_until_it_is(
    typed: Type, tmp_path: Path, file: Path, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    locked(database(tmp_path))

    def said() -> list[str]:
        caplog.clear()
        app = create_app(settings(market="polygon", data_dir=tmp_path / "data", redis_url=own_redis.url + PATIENT))
        app.extensions["predict-server"].close()
        return [
            line.getMessage()
            for line in caplog.records
            if "record" in line.getMessage() and "move" in line.getMessage()
        ]

    [line] = said()
    commands = re.findall(r"`\.venv/bin/predict record (.*?)`", line)
    assert commands == ["export --sqlite record.jsonl", "import record.jsonl"]
    in_redis(own_redis).lock(replace(SAID, day=DAY + timedelta(days=1)))
    assert said() == [line], "signals of later days do not hide that the earlier ones were left behind"
    for command in commands:
        assert typed(*command.replace("record.jsonl", str(file)).split(), REDIS_URL=own_redis.url + PATIENT).status == 0
    assert said() == []


def test_a_server_whose_file_has_no_signals_or_that_cannot_reach_its_redis_says_nothing_of_moving(
    tmp_path: Path, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    SqliteRecord(database(tmp_path)).close()
    chosen = settings(market="polygon", data_dir=tmp_path / "data", redis_url=own_redis.url + PATIENT)
    create_app(chosen).extensions["predict-server"].close()
    locked(database(tmp_path))
    own_redis.kill()
    create_app(chosen).extensions["predict-server"].close()
    assert "predict record export" not in caplog.text


@pytest.mark.parametrize(
    "values",
    [
        {"market": "demo"},
        {"market": "polygon"},
        {"market": "polygon", "polygon_api_key": "k"},
        {"market": "polygon", "polygon_api_key": "k", "polygon_base_url": "http://127.0.0.1:9100"},
        {"market": "recorded"},
    ],
)
def test_the_commands_name_the_record_that_the_server_keeps(tmp_path: Path, values: dict[str, str]) -> None:
    chosen = settings(data_dir=tmp_path, **values)
    core = build(chosen)
    try:
        assert market_namespace(chosen, core.pipeline.models) == core.market.namespace
    finally:
        core.close()
