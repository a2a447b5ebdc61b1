"""A simulated provider and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from app.market.feed_transport import FeedTransport
from app.simulator.server import PolygonSimulator
from tests.simulator.paths import Get
from tests.support import CALENDAR, FakeClock, demo_feed
from tests.waiting import PATIENCE_S


@pytest.fixture
def transport(clock: FakeClock) -> FeedTransport:
    return FeedTransport(demo_feed(), CALENDAR, clock)


@pytest.fixture
def provider(transport: FeedTransport) -> Iterator[PolygonSimulator]:
    with PolygonSimulator(transport) as provider:
        yield provider


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def get(provider: PolygonSimulator, session: requests.Session) -> Get:
    return lambda path, **kwargs: session.get(provider.address + path, **{"timeout": PATIENCE_S, **kwargs})
