"""Regions that have a Redis of their own each: on equal bars they answer the same, and where the provider gave them different
bars, each keeps what it has shown and says so (ruling L2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.clock import Clock
from app.market.bars import to_ms
from app.market.feed_transport import FeedTransport
from app.market.polygon import Reply, Transport
from tests.provider.test_processes import Servers, servers
from tests.support import CALENDAR, demo_feed, new_york

HOME, AWAY = "us-east4-eqdc4a", "europe-west4-drams3a"
BEGIN = "2025-03-11 10:57:31"
LAST_BAR = to_ms(new_york("2025-03-11 10:59"))
LOCKED = (
    "action",
    "probability",
    "probability_a",
    "probability_b",
    "price_11am",
    "take_profit",
    "stop_loss",
    "locked_at",
)


class WithOtherBar:
    """A provider that gives another 10:59 bar of SPY until it corrects it."""

    def __init__(self, clock: Clock) -> None:
        self.is_corrected = False
        self._feed = FeedTransport(demo_feed(), CALENDAR, clock)

    def __call__(self, path: str, params: Mapping[str, str]) -> Reply:
        reply = self._feed(path, params)
        if self.is_corrected or "/SPY/range/1/minute/" not in path:
            return reply
        rows = [_moved(row) if row["t"] == LAST_BAR else row for row in reply.body.get("results", [])]
        return reply._replace(body={**reply.body, "results": rows})


def _moved(row: Mapping[str, Any]) -> Mapping[str, Any]:
    close = round(row["c"] * 1.002, 2)
    return {**row, "c": close, "h": max(row["h"], close)}


Region = Callable[..., Any]


@pytest.fixture
def region(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Region:
    """Starts the server of a region, whose Redis is its own, with its own connection to a provider."""
    home, away = (redis_url.replace("/0?", f"/{number}?") for number in (1, 2))
    variables = {"redis_urls": f"{HOME}={home},{AWAY}={away}", "home_region": HOME}

    @contextmanager
    def started(name: str, provided: Callable[[Clock], Transport] | None = None) -> Iterator[Servers]:
        with servers(tmp_path / name, monkeypatch, BEGIN, 0, provided) as found:
            found.start(railway_region=name, **variables)
            found.step(0)
            yield found

    return started


def board(found: Servers) -> Any:
    return found.get(0, "/trading_directions")["tickers"]


def typed(found: Servers) -> Any:
    return found.get(0, "/v2/trading-directions/SPY")


def locked_of(found: Servers) -> list[tuple[object, ...]]:
    return [tuple(entry[name] for name in LOCKED) for entry in board(found).values()]


def followed(found: Servers, minutes: int) -> None:
    for _ in range(minutes):
        board(found)
        found.run(60, every_s=10)


def test_on_equal_bars_regions_with_a_redis_each_answer_the_same_bytes(region: Region) -> None:
    with region(HOME) as home, region(AWAY) as away:
        for found in (home, away):
            followed(found, 4)
        for path in ("/trading_directions", "/mtf", "/v2/trading-directions/SPY", "/v2/trading-directions"):
            answers = [found.clients[0].get(path) for found in (home, away)]
            assert answers[0].data == answers[1].data, path
            assert answers[0].headers["X-Served-By"] != answers[1].headers["X-Served-By"]
        assert typed(home)["lock"]["bars_agree"] is True
        assert typed(home)["lock"]["locked_at"][11:16] == "11:00"


def test_where_bars_differ_for_a_moment_each_region_keeps_what_it_has_shown_and_says_so(region: Region) -> None:
    provider: list[WithOtherBar] = []

    def other(clock: Clock) -> Transport:
        provider.append(WithOtherBar(clock))
        return provider[0]

    with region(HOME) as home, region(AWAY, other) as away:
        for found in (home, away):
            followed(found, 4)
        shown = locked_of(home), locked_of(away)
        assert shown[0][0] != shown[1][0], "SPY was decided at another price"
        assert shown[0][1:] == shown[1][1:]
        assert [typed(found)["lock"]["bars_agree"] for found in (home, away)] == [True, True], "each knows its own bars"
        provider[0].is_corrected = True
        for found in (home, away):
            followed(found, 2)
        assert (locked_of(home), locked_of(away)) == shown
        assert [typed(found)["lock"]["bars_agree"] for found in (home, away)] == [True, False]
        said = "The bars known now give other numbers for 11:00; the signal stays as it was first shown."
        assert [said in board(away)[ticker]["reason"] for ticker in ("SPY", "QQQ")] == [True, False]
        assert said in typed(away)["reason"]
        assert said not in board(home)["SPY"]["reason"]
        records = [found.get(0, "/v2/signals/SPY")["signals"][-1]["inputs_sha256"] for found in (home, away)]
        assert records[0] != records[1]


def test_the_record_of_another_region_than_the_home_region_says_that_it_is_not_the_one_that_counts(
    region: Region,
) -> None:
    with region(HOME) as home, region(AWAY) as away:
        for found, is_home in ((home, True), (away, False)):
            page, operations = found.get(0, "/v2/signals/SPY"), found.get(0, "/health")["operations"]
            assert (page["home_region"], page["is_home_record"]) == (HOME, is_home)
            assert (operations["home_region"], operations["has_home_record"]) == (HOME, is_home)
