"""Which set decides an hour and which one is served, while sets are promoted: by a clock that the tests turn."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from app.factory import POLICY
from app.market.calendar import NY, Calendar, Session
from app.model import registry as registry_module
from app.model.promotions import PROMOTED
from app.model.registry import COUNTS_AFTER, Registry
from app.model.reloading import ServedModels
from app.model.served import ServableSets
from app.signals.policy import SUPPORTED
from tests.support import CALENDAR, FakeClock, counting_from, models_saying, new_york, promoted_files, shipped_swing

DAY = date(2025, 3, 11)


class World:
    """A registry with set `a`, promoted the day before, and two more that are written; a clock; servers on them."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.clock = folder, FakeClock(new_york("2025-03-11 10:05"))
        self.registry = Registry(self.folder)
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.a, self.b, self.c = names

    def server(self, market_time: Callable[[datetime], datetime] = lambda moment: moment) -> ServedModels:
        def emit(event: str, **fields: Any) -> None:
            self.events.append((event, fields))

        sets = ServableSets(Registry(self.folder), SUPPORTED, POLICY)
        return ServedModels(sets, CALENDAR, self.clock, emit, market_time)

    def promote(self, name: str, at: str) -> None:
        """Promote a set at a moment of the day, which the clock then shows."""
        self.clock.set(f"2025-03-11 {at}")
        self.registry.promote(name, counting_from(self.clock.at))

    def at(self, time: str) -> None:
        self.clock.set(f"2025-03-11 {time}")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The registry that each world has a copy of, and the names of its sets: to write them takes longer than most tests."""
    folder = tmp_path_factory.mktemp("written")
    registry, names = Registry(folder / "models"), []
    for p in (0.1, 0.5, 0.9):
        files = promoted_files(models_saying(folder / str(p), p))
        names.append(registry.write({t: files.member(t)[:2] for t in SUPPORTED} | shipped_swing()).name)
    registry.promote(names[0], counting_from(new_york("2025-03-10 17:00")))
    return registry.folder, names


@pytest.fixture
def world(tmp_path: Path, written: tuple[Path, list[str]]) -> World:
    folder, names = written
    return World(shutil.copytree(folder, tmp_path / "models"), names)


def session(day: date = DAY) -> Session:
    found = CALENDAR.session(day)
    assert found is not None
    return found


def decided(server: ServedModels) -> dict[int, str]:
    return {hour: server.deciding(session(), hour).name for hour in (10, 11, 12)}


def test_a_promotion_within_an_hour_is_served_from_the_next_one_on(world: World) -> None:
    server = world.server()
    assert server.models.name == world.a
    world.promote(world.b, "10:20")
    server.look()
    assert (server.models.name, server.deciding(session(), 10).name) == (world.a, world.a)
    world.at("10:59:59")
    assert server.models.name == world.a
    world.at("11:00")
    assert server.models.name == world.b
    assert server.deciding(session(), 11).name == world.b
    assert server.deciding(session(), 10).name == world.a, "the hour that is over stays the old model's"
    assert [event for event in world.events if event[0] == "models_changed"] == [
        ("models_changed", {"set": world.b, "before": world.a})
    ]


def test_a_server_that_starts_later_says_the_same_of_every_hour(world: World) -> None:
    first = world.server()
    world.promote(world.b, "10:20")
    second = world.server()
    assert decided(first)[10] == decided(second)[10] == world.a
    world.promote(world.c, "11:30")
    third = world.server()
    world.at("12:05")
    expected = {10: world.a, 11: world.b, 12: world.c}
    assert [decided(server) for server in (first, second, third, world.server())] == [expected] * 4


def test_a_promotion_that_nobody_looked_for_is_served_at_the_turn_of_the_hour_all_the_same(world: World) -> None:
    server = world.server()
    assert server.models.name == world.a
    world.promote(world.b, "10:59:59")
    world.at("11:00:01")
    assert server.deciding(session(), 11).name == world.b


def test_a_promotion_after_the_hour_began_never_decides_it_however_late_it_is_computed(world: World) -> None:
    world.promote(world.b, "11:00:01")
    server = world.server()
    world.at("11:59:59")
    assert (server.deciding(session(), 11).name, server.models.name) == (world.a, world.a)
    world.at("12:00")
    assert server.models.name == world.b


def test_those_who_read_while_a_promotion_is_written_at_the_turn_of_an_hour_say_the_same_of_it_as_later_ones(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile: list[str] = []
    write = registry_module._write

    def written_at_the_turn(path: Path, content: bytes) -> None:
        write(path, content)
        world.at("11:00")
        meanwhile.append(world.server().deciding(session(), 11).name)

    monkeypatch.setattr(registry_module, "_write", written_at_the_turn)
    world.at("10:59:59")
    world.registry.promote(world.b, world.clock)
    assert [*meanwhile, world.server().deciding(session(), 11).name] == [world.a, world.a]
    world.at("12:00")
    assert world.server().models.name == world.b


def test_a_promotion_that_is_seen_before_it_counts_is_served_by_a_later_look(world: World) -> None:
    server = world.server()
    world.at("17:00")
    world.registry.promote(world.b, world.clock)
    server.look()
    assert server.models.name == world.a
    world.clock.at += COUNTS_AFTER
    server.look()
    assert server.models.name == world.b


def test_a_promotion_at_the_full_hour_decides_it(world: World) -> None:
    world.promote(world.b, "11:00")
    assert world.server().deciding(session(), 11).name == world.b


@pytest.mark.parametrize("moment", ["2025-03-11 08:00", "2025-03-11 09:45", "2025-03-11 16:00", "2025-03-15 12:00"])
def test_outside_the_decision_hours_a_promotion_is_served_at_once(world: World, moment: str) -> None:
    world.clock.set(moment)
    server = world.server()
    assert server.models.name == world.a
    world.registry.promote(world.b, counting_from(world.clock.at))
    server.look()
    assert server.models.name == world.b


def test_the_last_hour_of_a_short_day_ends_with_the_close(world: World) -> None:
    world.clock.set("2025-07-03 12:30")
    server = world.server()
    assert server.models.name == world.a
    world.registry.promote(world.b, counting_from(world.clock.at))
    server.look()
    assert server.models.name == world.a
    world.clock.set("2025-07-03 13:00")
    assert server.models.name == world.b


def test_after_the_close_the_hours_of_the_day_stay_with_the_set_that_decided_them(world: World) -> None:
    server = world.server()
    assert decided(server)[10] == world.a
    world.promote(world.b, "16:30")
    server.look()
    assert server.models.name == world.b
    assert set(decided(server).values()) == {world.a}
    assert set(decided(world.server()).values()) == {world.a}


def test_a_moment_of_the_running_day_has_the_set_that_was_served_then(world: World) -> None:
    """What is computed beside the hours' decisions is the same in a replay of the day."""
    server = world.server()
    for name, at in ((world.b, "16:30"), (world.c, "17:30")):
        world.promote(name, at)
        server.look()
    world.at("18:00")
    times = ("09:00", "15:59", "16:29", "16:30", "17:29", "17:30", "18:00", "18:01")
    found = [server.at(new_york(f"2025-03-11 {time}")).name for time in times]
    assert found == [world.a] * 3 + [world.b] * 2 + [world.c] * 3


def test_hours_of_other_days_are_computed_by_the_set_that_is_served(world: World) -> None:
    world.promote(world.b, "10:20")
    server = world.server()
    assert server.deciding(session(date(2025, 3, 10)), 15).name == world.a
    world.at("11:00")
    assert server.deciding(session(date(2025, 3, 10)), 15).name == world.b


def test_a_rollback_within_an_hour_waits_for_the_next_one_too(world: World) -> None:
    world.promote(world.b, "10:20")
    server = world.server()
    world.at("11:10")
    assert server.models.name == world.b
    world.registry.roll_back(counting_from(world.clock.at))
    server.look()
    assert server.models.name == world.b
    world.at("12:00")
    assert server.models.name == world.a
    assert decided(world.server()) == {10: world.a, 11: world.b, 12: world.a}


def test_a_promotion_taken_back_before_its_hour_never_decides(world: World) -> None:
    server = world.server()
    world.promote(world.b, "10:20")
    server.look()
    world.at("10:40")
    world.registry.roll_back(counting_from(world.clock.at))
    world.at("11:00")
    assert server.models.name == world.a
    assert not [event for event, _ in world.events if event == "models_changed"]


def damage(world: World, name: str) -> str:
    (world.folder / name / "v6_IWM.npz").write_bytes(b"damaged")
    return (
        f"the promoted set {name} is not served: "
        "model of IWM refused: v6_IWM.npz is damaged: its hash is not the manifest's"
    )


def test_a_set_that_cannot_be_loaded_leaves_the_old_one_and_is_said_at_once_and_once(world: World) -> None:
    server = world.server()
    assert server.models.name == world.a
    why = damage(world, world.b)
    world.promote(world.b, "10:20")
    for _ in range(3):
        server.look()
    assert world.events == [("models_refused", {"reason": why})]
    for time in ("10:30", "11:00", "12:30", "16:30"):
        world.at(time)
        assert (server.models.name, server.models.missing) == (world.a, {})
    status = server.status()
    assert (status.served, status.promoted, status.refused, status.takes_over_at) == (world.a, world.b, why, None)
    assert world.server().models.name == world.a, "a server that starts now says the same"


def test_the_next_promotion_after_a_refused_one_is_served(world: World) -> None:
    server = world.server()
    damage(world, world.b)
    world.promote(world.b, "10:20")
    server.look()
    world.promote(world.c, "10:40")
    server.look()
    assert server.status().refused is None
    world.at("11:00")
    assert server.models.name == world.c


def test_promotions_that_cannot_be_read_any_more_leave_what_is_served(world: World) -> None:
    server = world.server()
    assert server.models.name == world.a
    right = (world.folder / PROMOTED).read_bytes()
    (world.folder / PROMOTED).write_bytes(b"{")
    server.look()
    world.at("11:00")
    assert server.models.name == world.a
    assert server.status().refused == "promoted.json is damaged, or of a later release"
    (world.folder / PROMOTED).unlink()
    server.look()
    assert server.models.name == world.a
    (world.folder / PROMOTED).write_bytes(right)
    server.look()
    assert server.status().refused is None


def test_a_folder_that_is_gone_leaves_what_is_served(world: World) -> None:
    server = world.server()
    assert server.models.name == world.a
    shutil.rmtree(world.folder)
    for time in ("10:30", "11:00", "17:00"):
        world.at(time)
        server.look()
        assert (server.models.name, set(server.models.models)) == (world.a, {*SUPPORTED})


def test_the_status_says_when_the_promoted_set_takes_over(world: World) -> None:
    server = world.server()
    assert (server.status().promoted, server.status().takes_over_at) == (world.a, None)
    world.promote(world.b, "10:20")
    server.look()
    assert (server.status().promoted, server.status().takes_over_at) == (world.b, new_york("2025-03-11 11:00"))
    world.at("11:00")
    assert (server.status().served, server.status().takes_over_at) == (world.b, None)


def test_a_server_without_any_set_serves_the_first_that_is_promoted_at_once(world: World) -> None:
    (world.folder / PROMOTED).unlink()
    server = world.server()
    assert set(server.models.missing.values()) == {"promoted.json cannot be read: No such file or directory"}
    world.promote(world.b, "10:20")
    server.look()
    assert (server.models.name, server.deciding(session(), 10).name) == (world.b, world.b)


def test_promotions_made_long_after_the_day_of_a_clock_that_was_set_are_all_made_before_it(world: World) -> None:
    """A rehearsal of a past day, on a registry of today."""
    world.registry.promote(world.b, counting_from(datetime(2026, 11, 27, 10, tzinfo=NY)))
    server = world.server()
    assert (server.models.name, server.deciding(session(), 10).name) == (world.b, world.b)


def test_the_moment_of_a_promotion_is_turned_into_market_time(world: World) -> None:
    """The recorded market's clock runs on its own days, and promotions are made by the clock of the world."""
    world.at("10:40")
    world.registry.promote(world.b, counting_from(new_york("2026-11-27 03:20")))
    world.registry.promote(world.c, counting_from(new_york("2026-11-27 03:50")))
    began = new_york("2026-11-27 03:00"), new_york("2025-03-11 10:00")
    server = world.server(lambda moment: began[1] + (moment - began[0]))
    assert server.models.name == world.a
    world.at("11:00")
    assert server.models.name == world.c


def test_a_set_that_is_already_loaded_is_not_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    load = Registry.load
    monkeypatch.setattr(Registry, "load", lambda self, name, *rest: (read.append(name), load(self, name, *rest))[1])
    server = world.server()
    for _ in range(3):
        server.look()
        decided(server)
    world.promote(world.b, "10:20")
    server.look()
    world.at("11:00")
    decided(server)
    assert sorted(read) == sorted([world.a, world.b])


def test_looks_between_promotions_read_no_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    server = world.server()
    assert server.models.name == world.a
    monkeypatch.setattr(Registry, "promotions", lambda self: pytest.fail("read"))
    for time in ("10:30", "11:00", "12:00", "16:30"):
        world.at(time)
        server.look()
        assert server.models.name == world.a


def test_a_calendar_that_learns_of_an_early_close_moves_the_turn(world: World) -> None:
    calendar = Calendar({DAY: new_york("2025-03-11 13:00").time()})
    sets = ServableSets(Registry(world.folder), SUPPORTED, POLICY)
    server = ServedModels(sets, calendar, world.clock, lambda event, **fields: None)
    world.promote(world.b, "12:30")
    assert server.models.name == world.a
    world.at("13:00")
    assert server.models.name == world.b
