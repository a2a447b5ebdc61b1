"""What a client may send over Socket.IO, what is refused and in which words, and how many fields each message has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from app.live.live_event import Position
from blueprints.socket_io import socket_types
from blueprints.socket_io.described import Described
from blueprints.socket_io.socket_types import (
    Acknowledgement,
    ByeReason,
    ConnectAuth,
    ErrorCode,
    Subscribe,
    Unsubscribe,
    what_is_wrong,
)
from tests.markdown import ROOT

ID = "ab12cd34-17"
PLACE = Position("ab12cd34", 17)


def refusal(kind: type[BaseModel], payload: object) -> str:
    """The sentence with which a payload is refused."""
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(payload)
    return what_is_wrong(caught.value)


@pytest.mark.parametrize(
    ("payload", "positions"),
    [
        ({"ticker": "SPY"}, {"SPY": None}),
        ({"ticker": " spy "}, {"SPY": None}),
        ({"tickers": ["SPY", "qqq", "spy"]}, {"SPY": None, "QQQ": None}),
        ({"ticker": "SPY", "after": ID}, {"SPY": PLACE}),
        ({"tickers": ["SPY"], "after": ID}, {"SPY": PLACE}),
        ({"tickers": ["SPY", "QQQ"], "after": {"spy": ID, "QQQ": None}}, {"SPY": PLACE, "QQQ": None}),
        ({"ticker": "SPY", "after": {"IWM": ID}}, {"SPY": None}),
        ({"ticker": "SPY", "tickers": None, "after": None}, {"SPY": None}),
    ],
)
def test_subscribe_names_tickers_and_where_each_goes_on(
    payload: dict[str, Any], positions: dict[str, Position | None]
) -> None:
    subscribe = Subscribe.model_validate(payload)
    assert {ticker: subscribe.position(ticker) for ticker in subscribe.named()} == positions


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (None, "the payload must be one object"),
        ("SPY", "the payload must be one object"),
        ([{"ticker": "SPY"}], "the payload must be one object"),
        ({}, "must have `ticker` or `tickers`, and not both"),
        ({"ticker": "SPY", "tickers": ["QQQ"]}, "must have `ticker` or `tickers`, and not both"),
        ({"ticker": 5}, "`ticker` must be a ticker of 1 to 12 letters"),
        ({"ticker": b"SPY"}, "`ticker` must be a ticker"),
        ({"ticker": "X" * 13}, "`ticker` must be a ticker"),
        ({"ticker": ""}, "`ticker` must be a ticker"),
        ({"tickers": "SPY"}, "`tickers` must be a list of 1 to 32 tickers"),
        ({"tickers": []}, "`tickers` must be a list"),
        ({"tickers": ["SPY"] * 33}, "`tickers` must be a list"),
        ({"tickers": ["SPY", {}]}, "`tickers` must be a list"),
        ({"ticker": "SPY", "after": "yesterday"}, "`after` must be the id of an event, like `ab12cd34-17`"),
        ({"ticker": "SPY", "after": ID + "\n"}, "`after` must be the id"),
        ({"ticker": "SPY", "after": 17}, "`after` must be the id"),
        ({"ticker": "SPY", "after": {"SPY": 17}}, "`after` must be the id"),
        ({"ticker": "SPY", "after": {f"T{n}": ID for n in range(33)}}, "`after` must be the id"),
        ({"tickers": ["SPY", "QQQ"], "after": ID}, "`after` is an object with an id for each ticker"),
        ({"ticker": "SPY", "colour": "red"}, "`colour` is not known"),
    ],
)
def test_a_wrong_payload_is_refused_with_the_field_and_what_it_takes(payload: object, words: str) -> None:
    assert words in refusal(Subscribe, payload)


@pytest.mark.parametrize(
    "payload", [{"x" * 10_000: 1}, {f"field{n}": n for n in range(1000)}, {"ticker": "T" * 10_000}]
)
def test_a_refusal_is_short_whatever_was_sent(payload: dict[str, object]) -> None:
    assert len(refusal(Subscribe, payload)) < 400


def test_unsubscribe_takes_no_position() -> None:
    assert Unsubscribe.model_validate({"tickers": ["SPY", "QQQ"]}).named() == ("SPY", "QQQ")
    assert "`after` is not known" in refusal(Unsubscribe, {"ticker": "SPY", "after": ID})


@pytest.mark.parametrize(
    ("payload", "positions"),
    [
        ({}, {}),
        ({"theme": "dark", "user": {"id": 1}}, {}),
        ({"subscribe": "spy", "after": ID}, {"SPY": PLACE}),
        ({"subscribe": ["SPY", "QQQ"], "after": {"SPY": ID, "IWM": ID}}, {"SPY": PLACE, "QQQ": None}),
        ({"after": {"SPY": ID}, "pid": "p", "offset": "ab12cd34-9", "key": "k"}, {}),
    ],
)
def test_auth_subscribes_at_once_and_leaves_the_keys_of_an_application_alone(
    payload: dict[str, Any], positions: dict[str, Position | None]
) -> None:
    auth = ConnectAuth.model_validate(payload)
    assert {ticker: auth.position(ticker) for ticker in auth.named()} == positions


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ("SPY", "the payload must be one object"),
        ({"subscribe": 5}, "`subscribe` must be a ticker of 1 to 12 letters, or a list"),
        ({"subscribe": []}, "`subscribe` must be a ticker"),
        ({"subscribe": ["SPY", "QQQ"], "after": ID}, "`after` is an object"),
        ({"key": "k" * 129}, "`key` must be a text of at most 128 letters"),
        ({"pid": 1, "offset": "o" * 65}, "`pid` must be a text of at most 64 letters; `offset` must be a text"),
    ],
)
def test_a_wrong_auth_is_refused_with_the_field_and_what_it_takes(payload: object, words: str) -> None:
    assert words in refusal(ConnectAuth, payload)


@pytest.mark.parametrize("words", [ErrorCode, ByeReason])
def test_each_word_of_a_closed_list_says_what_it_means_and_what_to_do(words: type[Described]) -> None:
    for word in words:
        assert word.meaning.endswith("."), word
        assert word.advice.endswith("."), word


@pytest.mark.parametrize("words", [ErrorCode, ByeReason])
def test_each_word_of_a_closed_list_is_sent_somewhere(words: type[Described]) -> None:
    files = [file for folder in ("blueprints/socket_io", "serving") for file in (ROOT / folder).glob("*.py")]
    code = "".join(file.read_text() for file in files if file.name != "socket_types.py")
    assert [word for word in words if f"{words.__name__}.{word.name}" not in code and f'"{word}"' not in code] == []


def test_times_have_an_offset_and_words_are_written_as_they_are() -> None:
    at = datetime(2026, 11, 26, 20, 40, 0, 123456, UTC)
    rejected = [{"ticker": "TSLA", "code": "UNSUPPORTED_TICKER", "detail": "d"}]
    body = Acknowledgement.model_validate(
        {"subscribed": ["SPY"], "rejected": rejected, "next_by": at, "server_time": at, "market_time": at}
    ).model_dump_json()
    assert '"next_by":"2026-11-26T15:40:00-05:00"' in body
    assert '"code":"UNSUPPORTED_TICKER"' in body


FIELDS = {
    "Subscribe": 3,
    "Unsubscribe": 2,
    "ConnectAuth": 5,
    "Limits": 4,
    "HelloEvent": 9,
    "RejectedTicker": 3,
    "Acknowledgement": 6,
    "ErrorEvent": 4,
    "ByeEvent": 3,
    "ConnectAnswer": 2,
    "ConnectRefusal": 3,
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_message_has_so_many_fields_and_no_other(name: str) -> None:
    """The names of a contract are promised to clients: one more is a decision."""
    assert len(getattr(socket_types, name).model_fields) == FIELDS[name]


def test_every_message_is_counted() -> None:
    own = {
        name
        for name, kind in vars(socket_types).items()
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__module__ == socket_types.__name__
    }
    assert own - {"ClientMessage", "TickersMessage"} == FIELDS.keys()
