"""What clients of Socket.IO get: greeted, subscribed, refused, sent away, and back again without a gap."""

from __future__ import annotations

import random
from typing import Any

import pytest

from app.errors import BudgetSpent
from app.live.live_event import Kind, LiveEvent, Position
from blueprints.socket_io.admission import Refused
from blueprints.socket_io.client import BURST
from tests.blueprints.socket_io.playing import EPOCHS, Owner, Playing, head

SPY, QQQ = EPOCHS["SPY"], EPOCHS["QQQ"]
NAMES = {epoch: ticker for ticker, epoch in EPOCHS.items()}


@pytest.fixture
def playing() -> Playing:
    playing = Playing()
    playing.live.begin()
    return playing


def offset_of(sent: list[list[Any]]) -> str:
    """The offset that the client library would send: of the last event that has one."""
    return [str(one[2]) for one in sent if len(one) > 2 and one[2] is not None][-1]


def ids(sent: list[list[Any]]) -> list[str]:
    return [one[1]["id"] for one in sent if "id" in one[1] and one[0] != "snapshot"]


# --- subscribing ---


def test_a_client_is_greeted_and_its_auth_subscribes_it(playing: Playing) -> None:
    playing.connect("a", {"subscribe": "spy", "theme": "dark"})
    playing.live.tell("SPY")
    hello, snapshot, price = playing.take("a")
    assert (hello[0], hello[1]["protocol"], hello[1]["source"], hello[1]["recovered"]) == ("hello", 1, "demo", False)
    assert snapshot[0] == "snapshot"
    assert (price[0], price[1]["id"]) == ("price", f"{SPY}-1")


def test_the_simple_form_is_enough_and_is_acknowledged(playing: Playing) -> None:
    playing.connect("a")
    answer = playing.server.receive("a", "subscribe", [{"ticker": "SPY"}])
    assert answer is not None
    assert (list(answer.subscribed), list(answer.rejected)) == (["SPY"], [])
    assert answer.next_by is not None
    assert [one[0] for one in playing.take("a")] == ["hello", "snapshot"]


def test_what_is_rejected_is_named_and_the_rest_subscribed(playing: Playing) -> None:
    playing.connect("a")
    answer = playing.server.receive("a", "subscribe", [{"tickers": ["SPY", "TSLA", "QQQ"]}])
    assert answer is not None
    assert list(answer.subscribed) == ["SPY", "QQQ"]
    assert [(one.ticker, one.code) for one in answer.rejected] == [("TSLA", "UNSUPPORTED_TICKER")]


def test_unsubscribing_ends_the_events_of_that_ticker_alone(playing: Playing) -> None:
    playing.connect("a", {"subscribe": ["SPY", "QQQ"]})
    answer = playing.server.receive("a", "unsubscribe", [{"ticker": "SPY"}])
    assert answer is not None
    assert list(answer.subscribed) == ["QQQ"]
    playing.take("a")
    playing.live.tell("SPY")
    playing.live.tell("QQQ")
    assert playing.names("a") == [f"price {QQQ}-1"]


def test_who_subscribes_behind_an_event_gets_what_came_since(playing: Playing) -> None:
    for _ in range(3):
        playing.live.tell("SPY")
    playing.connect("a", {"subscribe": "SPY", "after": f"{SPY}-1"})
    playing.connect("b", {"subscribe": ["SPY", "QQQ"], "after": {"SPY": f"{SPY}-2", "QQQ": "00000000-7"}})
    assert ids(playing.take("a")) == [f"{SPY}-2", f"{SPY}-3"]
    assert playing.names("b")[1:] == [f"price {SPY}-3", f"snapshot {QQQ}-0 unknown_epoch"]


def test_a_ticker_without_a_state_says_why(playing: Playing) -> None:
    cold = Playing()
    cold.connect("a", {"subscribe": "SPY"})
    cold.live.fan_outs["SPY"].fail(BudgetSpent("the budget is spent", retry_after=12))
    _, (name, error) = cold.take("a")
    assert (name, error["code"], error["ticker"], error["retry_after_ms"]) == ("error", "UNAVAILABLE", "SPY", 12_000)
    assert error["detail"] == "The budget is spent."


# --- what is wrong ---


@pytest.mark.parametrize(
    "payload", [[], [None], [{"tickers": []}], [{"ticker": "SPY"}, 2], [{"tiker": "SPY"}], ["SPY"]]
)
def test_a_wrong_payload_is_an_error_and_changes_nothing(playing: Playing, payload: list[object]) -> None:
    playing.connect("a", {"subscribe": "SPY"})
    playing.take("a")
    answer = playing.server.receive("a", "subscribe", payload)
    assert answer is not None
    assert list(answer.subscribed) == ["SPY"]
    ((name, error),) = playing.take("a")
    assert (name, error["code"]) == ("error", "INVALID_PAYLOAD")
    assert answer.error is not None
    assert answer.error.model_dump(mode="json") == error, "the acknowledgement says what the event says"


def test_an_unknown_event_is_an_error_that_names_it_in_bounds(playing: Playing) -> None:
    playing.connect("a")
    playing.take("a")
    answer = playing.server.receive("a", "x" * 5000, [])
    assert answer is not None
    assert list(answer.subscribed) == []
    ((_, error),) = playing.take("a")
    assert error["code"] == "UNKNOWN_EVENT"
    assert len(error["detail"]) < 200


def test_who_sends_too_much_is_told_once(playing: Playing) -> None:
    playing.connect("a")
    playing.take("a")
    answers = [playing.server.receive("a", "unsubscribe", [{"ticker": "SPY"}]) for _ in range(100)]
    errors = [answer.error for answer in answers if answer is not None]
    assert len(errors) == 100, "every message is acknowledged"
    assert [error and error.code.value for error in errors] == [None] * BURST + ["TOO_MANY_MESSAGES"] * (100 - BURST)
    assert [(name, one["code"]) for name, one in playing.take("a")] == [("error", "TOO_MANY_MESSAGES")]


def test_who_keeps_to_the_rate_is_not_refused(playing: Playing) -> None:
    playing.connect("a")
    for _ in range(100):
        playing.timer.forward(0.1)
        assert playing.server.receive("a", "unsubscribe", [{"ticker": "SPY"}]) is not None


def test_an_event_whose_handler_has_a_fault_is_acknowledged_with_the_error(playing: Playing) -> None:
    playing.connect("a")
    playing.take("a")
    answer = playing.server.broke("a")
    assert answer is not None
    assert answer.error is not None
    assert answer.error.code == "INTERNAL"
    assert [name for name, _ in playing.take("a")] == ["error"]


def test_the_market_time_of_greeting_and_acknowledgement_tells_what_is_replayed(playing: Playing) -> None:
    """What happened before it is replayed: its `generated_at` is earlier."""
    playing.connect("a")
    ((_, hello, _),) = playing.take("a")
    answer = playing.server.receive("a", "subscribe", [{"ticker": "SPY", "after": f"{SPY}-0"}])
    assert answer is not None
    assert hello["market_time"] == "2025-03-11T10:30:00-04:00"
    assert answer.market_time.isoformat() == hello["market_time"]
    assert answer.next_by is not None
    assert (answer.next_by - answer.server_time).total_seconds() == 30.0


# --- who may connect ---


@pytest.mark.parametrize(
    "auth", ["SPY", 5, {"subscribe": 5}, {"after": "x"}, {"key": "k" * 300}, {"subscribe": ["SPY"] * 40}]
)
def test_a_wrong_auth_is_refused_with_its_reason(playing: Playing, auth: object) -> None:
    with pytest.raises(Refused) as refused:
        playing.connect("a", auth)
    assert refused.value.refusal.code == "INVALID_PAYLOAD"
    assert playing.limit.open == 0


def test_a_key_makes_its_holder_the_client_and_a_wrong_one_is_refused() -> None:
    playing = Playing(key="secret")
    playing.live.begin()
    playing.connect("a", {"key": "secret"})
    with pytest.raises(Refused) as refused:
        playing.connect("b", {"key": "wrong"})
    assert refused.value.refusal.code == "UNAUTHORIZED"
    assert "wrong" not in refused.value.refusal.detail


def test_a_client_has_so_many_connections_and_one_that_ends_frees_a_place() -> None:
    playing = Playing(most=2)
    playing.live.begin()
    playing.connect("a")
    playing.connect("b")
    with pytest.raises(Refused) as refused:
        playing.connect("c")
    assert (refused.value.refusal.code, refused.value.refusal.retry_after_ms) == ("TOO_MANY_CONNECTIONS", 30_000)
    playing.cut("a")
    playing.connect("c")


# --- coming back ---


def test_who_was_cut_off_goes_on_where_it_was(playing: Playing) -> None:
    pid = playing.connect("a", {"subscribe": ["SPY", "QQQ"]})
    playing.live.tell("SPY")
    offset = offset_of(playing.take("a"))
    playing.live.tell("QQQ")
    playing.cut("a")
    playing.live.tell("SPY")
    assert playing.connect("b", {"pid": pid, "offset": offset}) == pid
    hello, *missed = playing.take("b")
    assert hello[1]["recovered"] is True
    assert sorted(ids(missed)) == sorted([f"{SPY}-2", f"{QQQ}-1"])


@pytest.mark.parametrize("names_events", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_wherever_it_is_cut_off_nothing_is_missing(seed: int, names_events: bool) -> None:
    """A client of two tickers that takes only a part of what it is sent before each cut. What it names in `after` comes behind
    that, and nothing twice; what it does not name may come again if it was cut off while it got what it had missed."""
    playing, chance = Playing(), random.Random(seed)
    playing.live.begin()
    auth: dict[str, Any] = {"subscribe": ["SPY", "QQQ"]}
    got: dict[str, list[int]] = {"SPY": [], "QQQ": []}
    for cut in range(8):
        auth["pid"] = playing.connect(f"c{cut}", auth)
        for _ in range(chance.randrange(12)):
            playing.live.tell(chance.choice(["SPY", "QQQ"]))
        sent = playing.take(f"c{cut}")
        taken = sent[: chance.randint(1, len(sent))]
        assert taken[0][1]["recovered"] is (cut > 0)
        for kind, id_ in ((one[0], one[1]["id"]) for one in taken if "id" in one[1]):
            ticker, seq = NAMES[id_.partition("-")[0]], int(id_.partition("-")[2])
            got[ticker] = [*range(1, seq + 1)] if kind == "snapshot" else [*got[ticker], seq]
        auth["offset"] = offset_of([[None, {}, auth.get("offset")], *taken])
        auth["after"] = {name: f"{EPOCHS[name]}-{got[name][-1]}" for name in got if got[name] and names_events}
        playing.cut(f"c{cut}")
    for seqs in got.values():
        assert (seqs if names_events else sorted(set(seqs))) == list(range(1, len(set(seqs)) + 1))


def test_who_replaces_its_own_connection_needs_no_other_place() -> None:
    """At the limit, too: dashboards behind one address come back before the server has noticed that they were cut off."""
    playing = Playing(most=1)
    playing.live.begin()
    pid = playing.connect("a", {"subscribe": "SPY"})
    offset = offset_of(playing.take("a"))
    assert playing.connect("b", {"pid": pid, "offset": offset}) == pid
    playing.cut("a")
    assert playing.limit.open == 1
    playing.cut("b")
    assert playing.limit.open == 0


def test_the_id_of_one_ticker_is_not_that_of_another(playing: Playing) -> None:
    pid = playing.connect("a", {"subscribe": "SPY", "after": f"{SPY}-0"})
    playing.server.receive("a", "subscribe", [{"ticker": "QQQ"}])
    playing.live.tell("QQQ")
    offset = offset_of(playing.take("a"))
    playing.cut("a")
    playing.live.tell("QQQ")
    playing.connect("b", {"subscribe": "SPY", "after": f"{SPY}-0", "pid": pid, "offset": offset})
    assert playing.names("b") == ["hello", f"price {QQQ}-2"]


def test_what_could_not_be_sent_to_a_client_that_was_gone_comes_when_it_is_back(playing: Playing) -> None:
    pid = playing.connect("a", {"subscribe": "SPY"})
    offset = offset_of(playing.take("a"))
    playing.links.full.add("a")
    playing.links.gone.add("a")
    playing.live.tell("SPY")
    playing.cut("a")
    playing.connect("b", {"pid": pid, "offset": offset})
    assert playing.names("b") == ["hello", f"price {SPY}-1"]


def test_a_server_that_has_not_noticed_the_cut_ends_the_old_connection(playing: Playing) -> None:
    pid = playing.connect("a", {"subscribe": "SPY"})
    offset = offset_of(playing.take("a"))
    assert playing.connect("b", {"pid": pid, "offset": offset}) == pid
    assert playing.links.ended == {"a": "replaced"}
    playing.cut("a")
    playing.take("b")
    playing.live.tell("SPY")
    assert playing.names("b") == [f"price {SPY}-1"]
    assert playing.server.sessions_kept() == 0


@pytest.mark.parametrize(
    ("owner", "offset"),
    [(Owner("address:6.6.6.6"), ""), (Owner(), "nonsense"), (Owner(), "00000000-3"), (Owner(), "{own}-999")],
)
def test_a_session_that_cannot_go_on_is_a_new_one(playing: Playing, owner: Owner, offset: str) -> None:
    """That of somebody else, or an offset that this process never gave."""
    pid = playing.connect("a", {"subscribe": "SPY"})
    known = offset_of(playing.take("a"))
    playing.cut("a")
    auth = {"pid": pid, "offset": offset.format(own=known.partition("-")[0]) or known, "subscribe": "QQQ"}
    assert playing.connect("b", auth, owner) != pid
    hello, *events = playing.take("b")
    assert hello[1]["recovered"] is False
    assert [one[0] for one in events] == ["snapshot"]


def test_who_leaves_on_purpose_leaves_no_session(playing: Playing) -> None:
    playing.connect("a", {"subscribe": "SPY"})
    playing.server.disconnected("a", is_wanted=True)
    assert (playing.server.sessions_kept(), playing.live.held) == (0, 0)


def test_a_session_and_the_events_it_needs_are_kept_for_a_minute(playing: Playing) -> None:
    pid = playing.connect("a", {"subscribe": ["SPY", "QQQ"]})
    offset = offset_of(playing.take("a"))
    playing.cut("a")
    assert (playing.server.sessions_kept(), playing.live.held) == (1, 2)
    playing.timer.forward(61)
    playing.server.sweep()
    assert (playing.server.sessions_kept(), playing.live.held) == (0, 0)
    assert playing.connect("b", {"pid": pid, "offset": offset}) != pid


# --- slow clients ---


def test_who_takes_nothing_for_a_while_gets_a_snapshot_that_says_so_and_then_every_event(playing: Playing) -> None:
    playing.connect("a", {"subscribe": "SPY"})
    playing.take("a")
    playing.links.full.add("a")
    playing.live.tell("SPY")
    playing.live.tell("SPY", Kind.SIGNAL)
    playing.links.full.clear()
    playing.server.drained("a")
    playing.live.tell("SPY")
    assert playing.names("a") == [f"snapshot {SPY}-2 slow", f"price {SPY}-3"]


def test_who_is_cut_off_before_that_snapshot_gets_it_on_return(playing: Playing) -> None:
    pid = playing.connect("a", {"subscribe": "SPY"})
    offset = offset_of(playing.take("a"))
    playing.links.full.add("a")
    playing.live.tell("SPY")
    playing.cut("a")
    playing.connect("b", {"pid": pid, "offset": offset})
    assert playing.names("b")[1:] == [f"snapshot {SPY}-1"]


def test_a_client_that_the_links_end_is_told_why_once(playing: Playing) -> None:
    playing.connect("a", {"subscribe": "SPY"})
    last = playing.server.last_words("a", "slow")
    assert '"reason":"slow"' in last
    assert '"retry_after_ms":' in last
    assert playing.server.last_words("a", "slow") is None


# --- the server stops ---


def test_one_that_asked_for_nothing_is_ended_without_a_word_and_counted(playing: Playing) -> None:
    assert playing.server.last_words("nobody", "idle") is None
    assert playing.emitted[-1] == ("socket_ended", {"reason": "idle"})


def test_an_event_is_encoded_once_whoever_listens(playing: Playing) -> None:
    names = [f"c{number}" for number in range(20)]
    for name in names:
        playing.connect(name, {"subscribe": "SPY"})
        playing.take(name)
    playing.encoded.clear()
    playing.live.tell("SPY")
    playing.live.fan_outs["SPY"].beat(0.0, 30.0)
    assert [text.split(",")[0] for text in playing.encoded] == ['42["price"', '42["heartbeat"']
    assert [[one[0] for one in playing.take(name)] for name in names] == [["price", "heartbeat"]] * 20


def test_clients_are_sent_away_each_to_come_back_at_a_time_of_its_own(playing: Playing) -> None:
    for number in range(10):
        playing.connect(f"c{number}", {"subscribe": "SPY"})
        playing.take(f"c{number}")
    playing.server.stop()
    byes = [playing.take(f"c{number}") for number in range(10)]
    assert all(name == "bye" and one["reason"] == "restart" for ((name, one),) in byes)
    assert len({one["retry_after_ms"] for ((_, one),) in byes}) == 10


def test_who_comes_while_the_server_stops_is_sent_away_like_the_others(playing: Playing) -> None:
    """A client library does not come back once its connection was refused."""
    playing.server.stop()
    with pytest.raises(Refused):
        playing.connect("late")
    assert playing.links.ended == {"late": "restart"}
    assert [one[0] for one in playing.take("late")] == ["bye"]


def test_nothing_is_left_of_clients_that_are_gone() -> None:
    playing = Playing(most=50)
    playing.live.begin()
    for number in range(50):
        playing.connect(f"c{number}", {"subscribe": ["SPY", "QQQ"]})
    for number in range(50):
        playing.cut(f"c{number}")
    assert (len(playing.server), playing.live.members(), playing.limit.open) == (0, 0, 0)
    playing.server.close()
    assert (playing.server.sessions_kept(), playing.live.held) == (0, 0)


def test_who_does_not_take_all_that_it_missed_gets_a_snapshot(playing: Playing) -> None:
    for _ in range(10):
        playing.live.tell("SPY")
    playing.connect("a")
    playing.take("a")
    playing.links.full.add("a")
    playing.server.receive("a", "subscribe", [{"ticker": "SPY", "after": f"{SPY}-1"}])
    playing.links.full.clear()
    playing.server.drained("a")
    assert playing.names("a") == [f"snapshot {SPY}-10 slow"]


def test_a_sequence_that_began_anew_while_a_client_was_away_is_a_snapshot(playing: Playing) -> None:
    pid = playing.connect("a", {"subscribe": "SPY"})
    playing.live.tell("SPY")
    offset = offset_of(playing.take("a"))
    playing.cut("a")
    fan_out = playing.live.fan_outs["SPY"]
    fan_out.feed.publish(head(Position("aaaaaaaa", 0)), [])
    fan_out.deliver()
    playing.connect("b", {"pid": pid, "offset": offset, "subscribe": "SPY"})
    assert playing.names("b")[1:] == ["snapshot aaaaaaaa-0"]


def test_an_event_of_another_ticker_that_comes_first_hides_none(playing: Playing) -> None:
    """While an event is posted to hundreds, the next one of another ticker may reach a client before it."""
    spy = playing.live.fan_outs["SPY"]
    for number in range(300):
        playing.connect(f"c{number}", {"subscribe": "SPY"}) if number < 20 else spy.join(Nobody(), None)
    playing.limit.open = 0
    pid, offsets = playing.connect("a", {"subscribe": ["SPY", "QQQ"]}), []
    playing.take("a")

    def rest() -> None:
        if not offsets:
            offsets.append("")
            playing.live.tell("QQQ")
            offsets[0] = offset_of(playing.take("a"))
            playing.cut("a")

    spy._rest = rest
    playing.live.tell("SPY")
    playing.connect("b", {"pid": pid, "offset": offsets[0]})
    assert playing.names("b")[1:] == [f"price {SPY}-1"]


class Nobody:
    """A recipient that takes everything."""

    def post(self, event: LiveEvent) -> bool:
        return True

    def fail(self, ticker: str, error: Exception) -> None: ...
    def end(self) -> None: ...


@pytest.mark.parametrize(
    ("name", "payload"), [("\ud800", []), ("subscribe", [{"\ud800": 1}]), ("subscribe", [{"ticker": "\ud800"}])]
)
def test_what_is_no_text_is_an_error_like_any_other(playing: Playing, name: str, payload: list[object]) -> None:
    playing.connect("a")
    playing.take("a")
    playing.server.receive("a", name, payload)
    ((kind, error),) = playing.take("a")
    assert (kind, error["code"]) in {("error", "UNKNOWN_EVENT"), ("error", "INVALID_PAYLOAD")}


def test_an_auth_that_never_changes_repeats_nothing(playing: Playing) -> None:
    auth = {"subscribe": "SPY", "after": f"{SPY}-0"}
    pid = playing.connect("a", auth)
    for _ in range(5):
        playing.live.tell("SPY")
    offset = offset_of(playing.take("a"))
    playing.cut("a")
    playing.connect("b", {**auth, "pid": pid, "offset": offset})
    assert [one[0] for one in playing.take("b")] == ["hello"]


def test_who_comes_back_and_asks_for_more_gets_it(playing: Playing) -> None:
    pid = playing.connect("a", {"subscribe": "SPY"})
    offset = offset_of(playing.take("a"))
    playing.cut("a")
    playing.connect("b", {"pid": pid, "offset": offset, "subscribe": ["SPY", "QQQ"]})
    assert playing.names("b") == ["hello", f"snapshot {QQQ}-0"]


def test_who_is_gone_in_the_middle_of_a_subscription_is_no_member(playing: Playing) -> None:
    playing.connect("a")
    join = playing.live.join

    def slow_join(*arguments: Any) -> Any:
        playing.cut("a")
        return join(*arguments)

    playing.live.join = slow_join  # type: ignore[method-assign]
    playing.server.receive("a", "subscribe", [{"ticker": "SPY"}])
    assert playing.live.members() == 0


def test_a_fault_while_a_client_comes_in_leaves_no_place_taken(playing: Playing) -> None:
    playing.live.position_at = None  # type: ignore[method-assign,assignment]
    pid = playing.connect("a", {"subscribe": "SPY"})
    offset = offset_of(playing.take("a"))
    playing.cut("a")
    with pytest.raises(TypeError):
        playing.connect("b", {"pid": pid, "offset": offset})
    assert playing.limit.open == 0


def test_every_event_of_a_ticker_has_an_offset_or_null_behind_it(playing: Playing) -> None:
    """A handler of Python has two arguments always, also for events that were missed."""
    for _ in range(3):
        playing.live.tell("SPY")
    playing.connect("a", {"subscribe": "SPY", "after": f"{SPY}-0"})
    hello, *events = playing.take("a")
    assert [len(one) for one in (hello, *events)] == [3] * 4
    assert [one[2] is None for one in events] == [True, True, False]


def test_a_client_is_told_its_own_limit(playing: Playing) -> None:
    playing.connect("a", owner=Owner(factor=0.5))
    assert playing.take("a")[0][1]["limits"]["connections_per_client"] == 10
