"""What tests build with: moments, a clock to turn by hand, a provider to script, models with a chosen answer."""

from __future__ import annotations

import atexit
import math
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from flask import Flask
from pydantic import BaseModel, ValidationError

from app.clock import Clock, Timer
from app.config.setting_errors import refusal
from app.config.settings import ARTEFACTS, Settings, load
from app.market.bars import Bars, Span, to_ms
from app.market.calendar import NY, Calendar, midnight_ms
from app.market.demo import DemoFeed
from app.market.feed_transport import FeedTransport
from app.market.polygon import Reply
from app.model.artefact import Arrays, Metadata
from app.model.registry import COUNTS_AFTER, SWING, Registry, SetFiles
from app.model.v6 import SLOTS
from app.signals.policy import SUPPORTED
from tests.waiting import PATIENCE_S, wait_for

CALENDAR = Calendar()


def new_york(text: str) -> datetime:
    """`2025-03-11 11:30` or with seconds, New York."""
    return datetime.fromisoformat(text).replace(tzinfo=NY)


NO_LIMITS = {f"rate_limit_{group}": 1_000_000 for group in ("directions", "analysis", "replay", "streams", "other")}


OF_TESTS = {**NO_LIMITS, "log_level": "WARNING", "dashboard_dir": Path("none")}
"""No limits and no dashboard unless a test is about them."""


class Stated(Settings):
    """Settings that no environment has a part in: to look for its variables takes longer than to validate."""

    def __init__(self, **values: Any) -> None:
        BaseModel.__init__(self, **values)


def settings(**values: Any) -> Settings:
    """Settings by field name, whatever the environment says, beside OF_TESTS."""
    try:
        return Stated(**{**OF_TESTS, **values})
    except ValidationError as exc:
        raise refusal(exc) from None


def settings_of_environment(**values: Any) -> Settings:
    """The settings of a server that a test starts as a process of its own."""
    return load(**{**OF_TESTS, **values})


class FakeClock:
    """Market time that stands still until a test moves it, and is moved between fetches: one that is joined afterwards would
    bring the bars of before. fetches: how many are under way of each server that is known to go by it."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self.fetches: list[Callable[[], int]] = []

    def __call__(self) -> datetime:
        return self._at

    @property
    def at(self) -> datetime:
        return self._at

    @at.setter
    def at(self, moment: datetime) -> None:
        self.settle()
        self._at = moment

    def settle(self) -> None:
        """Until every fetch that was begun is over. Threads other than the main one wait for none: they may be fetches."""
        if threading.current_thread() is threading.main_thread():
            wait_until_none_is_under_way(*self.fetches)

    def set(self, text: str) -> None:
        self.at = new_york(text)

    def forward(self, **delta: float) -> None:
        self.at += timedelta(**delta)


TURN_S = 0.001
"""Real seconds of a hasty sleep, in which other threads go on."""


class FakeTimer:
    """Real time that stands still until a test moves it; who sleeps wakes when its moment has come. `hasty`: a sleep moves
    the time itself, for tests in which threads wait for no other's work for long."""

    def __init__(self, *, hasty: bool = False) -> None:
        self.at = 1_000_000.0
        self.slept: list[float] = []
        self._ends: list[float] = []
        self._hasty = hasty
        self._moved = threading.Condition()
        self.timer = Timer(now=lambda: self.at, epoch=lambda: self.at, sleep=self._sleep)

    @property
    def sleeping(self) -> int:
        """How many threads sleep beyond now."""
        with self._moved:
            return sum(end > self.at for end in self._ends)

    def forward(self, seconds: float) -> None:
        with self._moved:
            self.at += seconds
            self._moved.notify_all()

    def _sleep(self, seconds: float) -> None:
        if self._hasty:
            self.slept.append(seconds)
            time.sleep(TURN_S)
            return self.forward(seconds)
        with self._moved:  # whoever sees that it sleeps may move the time
            ends = self.at + seconds
            self._ends.append(ends)
            self.slept.append(seconds)
            self._moved.wait_for(lambda: self.at >= ends, timeout=PATIENCE_S)
            self._ends.remove(ends)
        return None


def settle(app: Flask) -> None:
    """Until every fetch that was begun is over: it may outlast its answer, and one that is joined after the clock was turned
    belongs to the time before."""
    wait_until_none_is_under_way(app.extensions["predict-server"].pipeline.fetches)


def wait_until_none_is_under_way(*counts: Callable[[], int]) -> None:
    """counts: of jobs and fetches; of those that begin others first."""
    wait_for(lambda: not any(count() for count in counts), "a fetch hangs", every_s=0.001)


@lru_cache(maxsize=1)
def demo_feed() -> DemoFeed:
    """The demo market with the days of the supported tickers made, which takes longer on a busy machine than a fetch may."""
    feed = DemoFeed(CALENDAR)
    for ticker in SUPPORTED:
        feed.bars(ticker, Span.DAY, 0, 1)
    return feed


@dataclass
class ScriptedMarket:
    """A provider with the demo market's bars that a test can bend, between the fetches of servers that its clock knows: a
    transport that counts its calls.

    edit: changes a page of results before it is sent; fault: answers or raises instead of the market; delay: how late
    its bars are.
    """

    clock: Callable[[], datetime]
    fault: Callable[[str], Reply | None] = lambda path: None
    edit: Callable[[str, dict[str, Any]], dict[str, Any]] = lambda path, body: body
    delay: timedelta = timedelta(0)
    calls: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    feed: DemoFeed = field(default_factory=demo_feed)

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(self.__dict__.get("clock"), FakeClock):
            self.clock.settle()
        super().__setattr__(name, value)

    def __call__(self, path: str, params: Mapping[str, str]) -> Reply:
        with self.lock:
            self.calls.append(path)
        bent = self.fault(path)
        if bent is not None:
            return bent
        reply = FeedTransport(self.feed, CALENDAR, lambda: self.clock() - self.delay)(path, params)
        return reply if reply.status != 200 else reply._replace(body=self.edit(path, reply.body))


def dropping(path_part: str, drop: Callable[[dict[str, Any]], bool]) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
    """An edit that leaves out the rows of matching paths for which `drop` holds."""

    def edit(path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path_part not in path:
            return body
        return {**body, "results": [row for row in body.get("results", []) if not drop(row)]}

    return edit


def models_saying(folder: Path, p_a: float, p_b: float | None = None, swing: Mapping[int, float] | None = None) -> Path:
    """Artefacts for all tickers that give these probabilities whatever they are shown; otherwise the shipped ones. swing: those
    of the swing models by horizon; a horizon that is not named has no model."""
    said = p_a, p_a if p_b is None else p_b, None if swing is None else tuple(swing.items())
    if folder.exists():
        save_models(folder, _artefacts_saying(*said))
    else:
        shutil.copytree(_registry_saying(*said), folder)
    return folder


@cache
def _registries() -> Path:
    """Where this process keeps them; it removes them at its end."""
    folder = Path(tempfile.mkdtemp(prefix="registries-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def _registry_saying(p_a: float, p_b: float, swing: tuple[tuple[int, float], ...] | None) -> Path:
    """A registry that is copied for tests: to write one takes longer than what most of them ask."""
    folder = Path(tempfile.mkdtemp(dir=_registries()))
    save_models(folder, _artefacts_saying(p_a, p_b, swing))
    return folder


def _artefacts_saying(
    p_a: float, p_b: float, swing: tuple[tuple[int, float], ...] | None
) -> dict[str, tuple[Arrays, Metadata]]:
    artefacts = {SWING: swing_member() if swing is None else swing_saying(dict(swing))}
    shipped = promoted_files(ARTEFACTS)
    for ticker in SUPPORTED:
        arrays, metadata, _ = shipped.member(ticker)
        slots = {name: {**described, "inputs": []} for name, described in metadata["slots"].items()}
        constant = {f"{name}/{part}": np.zeros(0) for name in SLOTS for part in ("center", "scale", "coef")}
        for name in SLOTS:
            p = p_a if name.endswith("_a") else p_b
            constant[f"{name}/line"] = np.array([0.0, 0.0, math.log(p / (1 - p))])
        artefacts[ticker] = ({**arrays, **constant}, {**metadata, "slots": slots})
    return artefacts


def swing_member() -> tuple[Arrays, Metadata]:
    """Arrays and metadata of the shipped swing models."""
    member = promoted_files(ARTEFACTS).member(SWING)
    return member.arrays, member.metadata


def swing_saying(probabilities: Mapping[int, float]) -> tuple[Arrays, Metadata]:
    """Swing models that give these probabilities by horizon whatever they are shown."""
    shipped, metadata = swing_member()
    horizons = {str(horizon): metadata["horizons"][str(horizon)] for horizon in probabilities}
    report = {key: metadata["evaluation"]["horizons"][key] for key in horizons}
    arrays = {name: array for name, array in shipped.items() if name.split("/")[0] in horizons}
    arrays |= {f"{horizon}/base_rate": np.array(p) for horizon, p in probabilities.items()}
    return arrays, {
        **metadata,
        "horizons": horizons,
        "targets": {key: metadata["targets"][key] for key in horizons},
        "evaluation": {**metadata["evaluation"], "horizons": report},
    }


def save_models(folder: Path, artefacts: Mapping[str, tuple[Arrays, Metadata]], at: datetime | None = None) -> Path:
    """The folder of a set with these artefacts, which is promoted in the registry in `folder`."""
    registry = Registry(folder)
    registry.promote(registry.write(artefacts).name, counting_from(at or datetime.now(NY)))
    return promoted_set(folder)


def counting_from(at: datetime) -> Clock:
    """A clock by which a promotion that is made counts from `at` on."""
    return lambda: at - COUNTS_AFTER


def shipped_swing() -> dict[str, tuple[Arrays, Metadata]]:
    """The shipped swing models, as a member of another set."""
    return {"swing": promoted_files(ARTEFACTS).member("swing")[:2]}


def promoted_files(registry: Path) -> SetFiles:
    """The files of the set that is promoted."""
    known = Registry(registry)
    return known.files(known.promotions().promoted)


def promoted_set(registry: Path) -> Path:
    """The folder of the set that is promoted."""
    return registry / Registry(registry).promotions().promoted


def some_bars(n: int = 5, *, start_ms: int = 1_700_000_000_000, span: Span = Span.MINUTE, price: float = 100.0) -> Bars:
    """n plain bars, one after the other, each a cent above the one before."""
    t = start_ms + span.ms * np.arange(n)
    o = price + 0.01 * np.arange(n)
    return Bars(t=t, end=t + span.ms, o=o, h=o + 0.02, l=o - 0.02, c=o + 0.01, v=np.full(n, 10.0))


def session_bars(
    n: int = 5, *, day: str = "2025-03-11", span: Span = Span.MINUTE, price: float = 100.0, spread: float = 0.02
) -> Bars:
    """n bars of regular sessions from `day` on, as a recorded file has them, each a cent above the one before."""
    session = CALENDAR.session(datetime.fromisoformat(day).date())
    starts: list[int] = []
    while session is not None and len(starts) < n:
        first, end = to_ms(session.open), to_ms(session.close)
        starts += [midnight_ms(session.day)] if span is Span.DAY else range(first, end, span.ms)
        session = CALENDAR.session(next(CALENDAR.days_after(session.day)))
    t = np.array(starts[:n], dtype=np.int64)
    o = price + 0.01 * np.arange(n)
    end = CALENDAR.day_ends(t) if span is Span.DAY else t + span.ms
    return Bars(t=t, end=end, o=o, h=o + spread, l=o - spread, c=o + 0.01, v=np.full(n, 10.0))
