"""A whole server in front of a real HTTP provider on loopback, on a clock that a test turns."""

from __future__ import annotations

import json
import threading
import time as real
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.clock import wall_clock
from app.factory import Core, build, create_app
from app.market.demo import HISTORY_FROM, LAP
from app.market.feed_transport import FeedTransport
from app.market.polygon import HttpTransport
from app.simulator.repeated_sessions import RepeatedSessions
from app.simulator.server import PolygonSimulator
from tests.support import CALENDAR, FakeClock, FakeTimer, demo_feed, new_york, settings
from tests.waiting import PATIENCE_S, wait_for

KEY = "k-3f9a-very-secret"
TICKERS = ("SPY", "QQQ", "IWM")
NO_OPTIONS: Mapping[str, float] = {}


class Answers:
    """When the provider answers: not while followers step, so that nothing that a step begins is over within it."""

    def __init__(self, timer: FakeTimer) -> None:
        self._timer = timer
        self._come = threading.Event()
        self._come.set()

    def now(self) -> float:
        """The time of a call, which the provider notes first."""
        self._come.wait(PATIENCE_S)
        return self._timer.at

    @contextmanager
    def held(self) -> Iterator[None]:
        self._come.clear()
        try:
            yield
        finally:
            self._come.set()


class World:
    """One server, its clients and its provider. All that clients were told is in `told`."""

    def __init__(
        self, provider: PolygonSimulator, answers: Answers, core: Core, client: Any, clock: FakeClock, timer: FakeTimer
    ) -> None:
        self.provider, self.core, self.client, self.clock, self.timer = provider, core, client, clock, timer
        self.answers = answers
        self.told: list[str] = []
        self.slowest_s = {"read": 0.0, "replay": 0.0}

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        began = real.monotonic()
        answer = self.client.get(path)
        kind = "replay" if path.startswith("/replay") else "read"
        self.slowest_s[kind] = max(self.slowest_s[kind], real.monotonic() - began)
        self.told.append(f"{answer.headers}{answer.text}")
        self.settle()
        assert answer.mimetype == "application/json", answer.text
        return answer.status_code, json.loads(answer.text, parse_constant=_no_constant)

    def directions(self) -> dict[str, Any]:
        return self.get("/trading_directions")[1]

    def settle(self) -> None:
        """Until all that was started is done, or sleeps: a fetch may outlast the answer that began it. Jobs are counted first:
        they begin fetches."""
        fetches, follower = self.core.source.fetches, self.core.follower
        is_still = lambda: follower.waiting() + fetches.waiting() <= self.timer.sleeping  # noqa: E731
        wait_for(is_still, "a fetch hangs", every_s=0.001)

    def step(self, seconds: float) -> None:
        self.settle()
        self.clock.forward(seconds=seconds)
        self.timer.forward(seconds)
        with self.answers.held():
            self.core.follower.step()
        self.settle()

    def run(self, minutes: float, *, every_s: float = 30.0, ask: Callable[[], Any] = lambda: None) -> None:
        """`minutes` of market and real time, a step every few seconds, `ask` after each."""
        for _ in range(round(minutes * 60 / every_s)):
            self.step(every_s)
            ask()


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} in an answer")


@contextmanager
def world(
    folder: Path,
    patch: pytest.MonkeyPatch,
    at: str,
    *,
    hasty: bool = True,
    delay: timedelta = timedelta(0),
    fault: str = "",
    options: Mapping[str, float] = NO_OPTIONS,
    read_s: float = PATIENCE_S,
    **values: Any,
) -> Iterator[World]:
    """A server of `folder` that starts at New York moment `at`. `delay`: how late the provider's bars are; `fault`: of the
    provider from the start, with its `options`; `read_s`: real seconds after which a call has failed; `values`: settings, and
    `plan` of the provider."""
    clock, timer = FakeClock(new_york(at)), FakeTimer(hasty=hasty)
    transport, plan = FeedTransport(demo_feed(), CALENDAR, clock, delay), values.pop("plan", "advanced")
    answers = Answers(timer)
    with PolygonSimulator(transport, key=KEY, plan=plan, clock=clock, now=answers.now) as provider:
        patch.setattr("app.factory.markets.HttpTransport", partial(HttpTransport, read_s=read_s, total_s=1.5 * read_s))
        known = {"polygon_base_url": provider.address, "polygon_api_key": KEY, "data_dir": folder, **values}
        made: list[Core] = []

        def keeping(*args: Any, **kwargs: Any) -> Core:
            made.append(build(*args, **kwargs))
            return made[-1]

        patch.setattr("app.factory.build", keeping)
        app = create_app(settings(**known), clock=clock, timer=timer.timer)
        patch.setattr("app.factory.build", build)
        found = World(provider, answers, made[0], app.test_client(), clock, timer)
        if fault:
            provider.inject_fault(fault, **options)
        found.step(0)
        yield found
        provider.clear_fault()
        timer.forward(10_000)
        made[0].close()


@contextmanager
def simulated_provider() -> Iterator[PolygonSimulator]:
    """A provider on the wall's clock, for servers that are processes of their own."""
    feed = RepeatedSessions(demo_feed(), CALENDAR, HISTORY_FROM, LAP[1])
    with PolygonSimulator(FeedTransport(feed, CALENDAR, wall_clock), key=KEY, clock=wall_clock) as provider:
        yield provider
