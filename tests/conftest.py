"""Fixtures shared by all tests: a fake clock, a market to script, recorded bars, servers built from them."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import shutil
import signal
import sys
import tempfile
import weakref
from collections.abc import Callable, Hashable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from flask import Flask

from app.factory import create_app
from app.market.calendar import Calendar
from app.market.recorded import RecordedBars
from app.model import registry
from app.model.artefact import ModelSet
from app.model.drift import Reference, reference_of
from app.model.registry import Registry
from app.model.v6 import V6Model
from app.redis_database import RedisDatabase
from tests.redis_server import PATIENT, RedisServer, skip_without_redis_server
from tests.support import FakeClock, ScriptedMarket, demo_feed, new_york, settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MARKET_DATA = Path(os.environ.get("MARKET_DATA", "../shared/market"))
NEEDED = [f"{ticker}_{span}.parquet" for ticker in ("SPY", "QQQ", "IWM") for span in ("5min", "1day")]

GRAMMARS = "rfc3987_syntax"
"""What jsonschema checks IRIs with: it compiles its grammars, for five seconds, as soon as it is imported."""


@cache
def grammars() -> ModuleType:
    del sys.modules[GRAMMARS]
    return import_module(GRAMMARS)


class Deferred(ModuleType):
    """Stands for the grammars until a test checks an IRI."""

    def is_valid_syntax(self, rule: str, text: str) -> bool:
        found: bool = grammars().is_valid_syntax(rule, text)
        return found


sys.modules.setdefault(GRAMMARS, Deferred(GRAMMARS))

INTEGRATION = {"recorded_file", "redis_server", "own_redis"}
"""Fixtures that need more than this repository: real bars, a Redis server."""


LONGEST = (
    *(
        "tests/test_sources.py",
        "tests/ops/test_prometheus.py",
        "tests/provider/test_faults.py",
        "tests/serving/test_gunicorn.py",
        "tests/test_cli.py",
        "tests/model/test_training.py",
    ),
    *(
        "tests/serving/",
        "tests/browser/",
        "tests/dashboard/",
        "tests/test_commands.py",
        "tests/provider/",
        "tests/clients/",
        "tests/live/",
        "tests/structure/",
    ),
    *("tests/blueprints/", "tests/model/", "tests/middleware/", "tests/simulator/", "tests/telemetry/"),
)
"""Files, and folders of files, that take long, the longest first."""


hypothesis.settings.register_profile(
    "patient",
    hypothesis.settings(),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("patient")
"""How fast the machine is fails no property, and no making of its examples."""


MEMORY, ROOM = Path("/dev/shm"), 4 * 1024**3
"""A folder in memory, and the bytes that must be free there for the files of all tests."""


def pytest_configure(config: pytest.Config) -> None:
    """Files of tests are in memory where that is possible, unless TMPDIR or `--basetemp` says where: a disk makes each new
    database wait ten times as long."""
    if "TMPDIR" in os.environ or config.option.basetemp is not None or not has_room(MEMORY):
        return
    os.environ["TMPDIR"] = folder = tempfile.mkdtemp(prefix="t-", dir=MEMORY)
    tempfile.tempdir = None
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


def has_room(folder: Path) -> bool:
    """Whether files can be written and run there."""
    if not os.access(folder, os.W_OK) or os.statvfs(folder).f_flag & os.ST_NOEXEC:
        return False
    return shutil.disk_usage(folder).free >= ROOM


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that use a fixture of INTEGRATION, directly or through another one, for `make unit`. The files that take
    longest come first, so that no process is left alone with one of them at the end."""
    for item in items:
        if INTEGRATION & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.integration)
    items.sort(
        key=lambda item: next((n for n, name in enumerate(LONGEST) if item.nodeid.startswith(name)), len(LONGEST))
    )


def pytest_collection_finish() -> None:
    """What is imported stays for the whole run: to look for garbage among it takes a sixth of the time of tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@pytest.fixture(autouse=True)
def signals_stay_free() -> Iterator[None]:
    """No test leaves a signal blocked: the servers that later tests start would inherit that and ignore their SIGTERM."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    assert signal.pthread_sigmask(signal.SIG_SETMASK, before) == before


@pytest.fixture(scope="session", autouse=True)
def model_sets_are_read_once() -> Iterator[None]:
    """For all servers that a process of tests builds: to read and check a set takes longer than the rest of building one. One
    of which a file was changed is read anew."""
    load, known = Registry.load, dict[Hashable, ModelSet]()

    def loaded(self: Registry, name: str, *of: Any) -> ModelSet:
        key = name, *of, tuple(sorted(marks_of(self.folder / name)))
        if key not in known:
            known[key] = load(self, name, *of)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Registry, "load", loaded)
        yield


def marks_of(folder: Path) -> Iterator[Hashable]:
    """What changes with each file of a folder."""
    for path in folder.glob("*"):
        known = path.stat()
        yield path.name, known.st_size, known.st_mtime_ns


@pytest.fixture(scope="session", autouse=True)
def training_samples_are_read_once() -> Iterator[None]:
    """For all servers that a process of tests builds on the same models."""
    known: dict[int, tuple[V6Model, Reference | None]] = {}

    def read(model: V6Model) -> Reference | None:
        if id(model) not in known:
            known[id(model)] = model, reference_of(model)
        return known[id(model)][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.factory.telemetry.reference_of", read)
        yield


@pytest.fixture(scope="session", autouse=True)
def descriptions_of_models_are_written_out_once() -> Iterator[None]:
    """For all sets that a process of tests writes: most differ in their arrays alone, and to indent takes the longest."""
    write, known = registry._json, dict[str, bytes]()

    def written(value: Any) -> bytes:
        key = json.dumps(value, sort_keys=True)
        if key not in known:
            known[key] = write(value)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_json", written)
        yield


@pytest.fixture(scope="session", autouse=True)
def demo_days_are_made_once() -> Iterator[None]:
    """For all servers of the demo market that a process of tests builds: to make two years of them takes longer than all that
    most tests ask."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.factory.markets.DemoFeed", lambda calendar, give_way: demo_feed())
        yield


@pytest.fixture(scope="session", autouse=True)
def connections_to_redis_close_with_their_database() -> Iterator[None]:
    """The garbage collector may meet the socket of a database that a test left before the connection that closes it, and warns
    then in whichever test runs. It calls these before it looks at either."""
    begin = RedisDatabase.__init__

    def begun(self: RedisDatabase, *args: Any, **values: Any) -> None:
        begin(self, *args, **values)
        for pool in (self._pool, self._listening):
            weakref.finalize(self, pool.disconnect).atexit = False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RedisDatabase, "__init__", begun)
        yield


@pytest.fixture
def clock() -> FakeClock:
    """11:30 on an ordinary Tuesday of the demo market."""
    return FakeClock(new_york("2025-03-11 11:30"))


@pytest.fixture
def market(clock: FakeClock) -> ScriptedMarket:
    return ScriptedMarket(clock)


@pytest.fixture
def serve(tmp_path: Path, clock: FakeClock, market: ScriptedMarket) -> Callable[..., Flask]:
    """Builds a server in polygon mode on the scripted market; settings by field name."""

    def build(**overrides: object) -> Flask:
        values = {"market": "polygon", "polygon_api_key": "k-secret", "data_dir": tmp_path, **overrides}
        return going_by(clock, create_app(settings(**values), clock=clock, transport=market))

    return build


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """One server for the tests of a module that only ask, and change neither its market nor its time: 11:30."""
    clock, folder = FakeClock(new_york("2025-03-11 11:30")), tmp_path_factory.mktemp("standing")
    values = settings(market="polygon", polygon_api_key="k-secret", data_dir=folder)
    return going_by(clock, create_app(values, clock=clock, transport=ScriptedMarket(clock)))


def going_by(clock: FakeClock, app: Flask) -> Flask:
    """A server whose fetches are over before its clock is turned."""
    clock.fetches.append(app.extensions["predict-server"].pipeline.fetches)
    return app


@pytest.fixture(scope="session")
def recorded_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the real five-minute and daily bars, imported once for all processes of the run. Skips where they are
    not there."""
    missing = [name for name in NEEDED if not (MARKET_DATA / name).exists()]
    if missing:
        pytest.skip(f"no real bars: MARKET_DATA={MARKET_DATA} lacks {', '.join(missing)}")
    own = tmp_path_factory.getbasetemp()
    of_all = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    path = of_all / "recorded.sqlite3"
    with (of_all / "recorded.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            import_real_bars(own / path.name)
            (own / path.name).rename(path)
    return path


def import_real_bars(path: Path) -> None:
    recorded = RecordedBars(path, Calendar())
    minutes = [f"{ticker}_1min.parquet" for ticker in ("SPY", "QQQ", "IWM")]
    names = NEEDED + [name for name in minutes if (MARKET_DATA / name).exists()]
    refused = [outcome.refused for outcome in recorded.import_files([MARKET_DATA / name for name in names])]
    assert not any(refused), refused
    recorded.close()


@pytest.fixture
def recorded(recorded_file: Path) -> Iterator[RecordedBars]:
    """The real bars, shared by all tests: read only."""
    found = RecordedBars(recorded_file, Calendar())
    yield found
    found.close()


@pytest.fixture
def recorded_dir(recorded_file: Path, tmp_path: Path) -> Path:
    """A DATA_DIR of this test's own that holds the real bars."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(recorded_file, folder / "recorded.sqlite3")
    return folder


@pytest.fixture
def serve_recorded(recorded_dir: Path, clock: FakeClock) -> Callable[..., Flask]:
    """Builds a server on the real bars."""

    def build(**overrides: object) -> Flask:
        values = settings(**{"market": "recorded", "data_dir": recorded_dir, **overrides})
        return going_by(clock, create_app(values, clock=clock))

    return build


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One real Redis for all tests that only need data in it; those take `redis_url`. Skips where there is none."""
    skip_without_redis_server()
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Address of the shared Redis, emptied for this test. Who uses it waits for its answers as long as a busy machine needs."""
    redis_server.flush()
    return f"{redis_server.url}{PATIENT}"


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A real Redis of this test's own, to kill and to pause. Skips where there is none."""
    skip_without_redis_server()
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests: a process cannot have two by Playwright. Skips where there is none."""
    watching = import_module("tests.browser.watching")
    with watching.launched() as found:
        yield found


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says at the end of the run how many golden fields were compared and how many agreed."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, summary in report.user_properties:
                if name == "golden":
                    terminalreporter.write_line(f"golden: {summary}")
