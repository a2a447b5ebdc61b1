"""An exported record is a hash chain: whatever is changed, moved or cut off in the file shows, and the line is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from io import BytesIO

import pytest

from app.errors import BrokenData
from app.model.ranges import PriceRange
from app.signals.record_entry import ElevenEntry, Entry, OpenEntry, SignalEntry
from app.signals.record_file import MAX_LINE_BYTES, Chain, Header, Line, RecordFile, write
from tests.signals.test_policy import decision

DAY = date(2025, 3, 11)
NOON = datetime(2025, 3, 11, 16, tzinfo=UTC)
PRICES = (
    OpenEntry(ticker="SPY", day=DAY, price=500.1, source="daily"),
    ElevenEntry(ticker="SPY", day=DAY, price=501.25),
)


def signals(count: int = 3) -> list[Entry]:
    """Signals of the hour 13, a day apart."""
    said = decision(0.6, 0.9)
    return [SignalEntry(signal=replace(said, day=DAY + timedelta(days=n))) for n in range(count)]


def exported(entries: Sequence[Entry], at: datetime = NOON, namespace: str = "polygon") -> bytes:
    file = BytesIO()
    write(file, Header(namespace=namespace, exported_at=at), entries)
    return file.getvalue()


WHOLE = exported([*signals(), *PRICES])
Lines = list[bytes]
BEFORE_RANGES_SHA256 = "00660a40c27e15840dc349977378f275b3cda1f2123b4d4d6e8eaa3490c06707"
"""The hash of `signals()` as it was written before decisions had ranges."""


def read(content: bytes) -> RecordFile:
    return RecordFile(BytesIO(content), "a file")


def hashes(content: bytes) -> list[str]:
    return [sha256 for _, sha256 in read(content).entries()]


def refusal(content: bytes) -> str:
    with pytest.raises(BrokenData) as caught:
        read(content).verify()
    return caught.value.message


def test_what_was_exported_is_read_again_bit_for_bit() -> None:
    assert [entry for entry, _ in read(WHOLE).entries()] == [*signals(), *PRICES]
    footer = read(WHOLE).verify()
    assert (footer.signals, footer.opens, footer.prices_11am) == (3, 1, 1)
    assert (footer.first_day, footer.last_day) == (DAY, DAY + timedelta(days=2))
    assert footer.models == ("v6-test",)


def test_a_signal_from_before_there_were_ranges_keeps_the_hash_with_which_it_was_published() -> None:
    assert read(WHOLE).verify().signals_sha256 == BEFORE_RANGES_SHA256


def test_a_range_is_part_of_what_the_chain_holds() -> None:
    said = decision(0.6, 0.9)
    one, other = (
        exported([SignalEntry(signal=replace(said, ranges=(PriceRange(0.8, 98.5, high),)))]) for high in (101.0, 101.5)
    )
    (entry,) = (entry for entry, _ in read(one).entries())
    assert isinstance(entry, SignalEntry)
    assert entry.signal.ranges == (PriceRange(0.8, 98.5, 101.0),)
    assert read(one).verify().signals_sha256 != read(other).verify().signals_sha256


def test_an_empty_record_is_a_whole_file() -> None:
    footer = read(exported([])).verify()
    assert (footer.signals, footer.first_day, footer.models) == (0, None, ())


def test_each_line_holds_the_hash_of_the_line_before() -> None:
    lines = WHOLE.splitlines()
    assert [json.loads(line)["previous"] for line in lines[2:]] == hashes(WHOLE)


def test_a_longer_record_of_a_later_day_begins_with_the_same_hashes() -> None:
    """So that a published hash speaks for all that was said before it; prices, which a split re-bases, come after signals."""
    later = exported([*signals(5), *PRICES], NOON + timedelta(days=2))
    assert hashes(later)[:3] == hashes(WHOLE)[:3]
    assert read(WHOLE).verify().signals_sha256 == hashes(later)[2]


def test_a_signal_that_was_rewritten_changes_every_hash_after_it() -> None:
    first, second, third = signals()
    assert isinstance(second, SignalEntry)
    other = exported([first, SignalEntry(signal=replace(second.signal, p_b=0.91)), third])
    assert [a == b for a, b in zip(hashes(other), hashes(WHOLE)[:3], strict=True)] == [True, False, False]


def test_records_of_two_markets_have_no_hash_in_common() -> None:
    assert not set(hashes(WHOLE)) & set(hashes(exported(signals(), namespace="recorded-1")))


def changed(number: int, old: bytes, new: bytes) -> Callable[[Lines], Lines]:
    def change(lines: Lines) -> Lines:
        assert old in lines[number - 1]
        return [line.replace(old, new) if n == number else line for n, line in enumerate(lines, 1)]

    return change


@pytest.mark.parametrize(
    ("bend", "said"),
    [
        (changed(3, b'"p_b":0.9', b'"p_b":0.1'), "the chain breaks at line 4: one of the lines 3 and 4 was changed"),
        (changed(6, b'"price":501.25', b'"price":501.5'), "the chain breaks at line 7"),
        (changed(1, b"2025-03-11T16", b"2025-03-11T17"), "the footer, line 7, is not that of the lines before it"),
        (changed(7, b'"signals":3', b'"signals":2'), "the footer, line 7, is not that of the lines before it"),
        (changed(1, b'"polygon"', b'"recorded"'), "line 1 is not the header of an exported record"),
        (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], "the chain breaks at line 3"),
        (lambda lines: [*lines[:2], *lines[3:]], "the chain breaks at line 3"),
        (lambda lines: [lines[0], *lines[2:]], "the chain breaks at line 2: line 2 was changed, moved or removed"),
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], "the chain breaks at line 4"),
        (lambda lines: lines[:-1], "has no footer: its end is missing"),
        (lambda lines: [*lines, lines[-1]], "line 8 stands behind the footer"),
        (lambda lines: [*lines[:2], b"{", *lines[2:]], "line 3 cannot be read"),
        (lambda lines: [*lines[:2], b"\xff\xfe", *lines[2:]], "line 3 cannot be read"),
        (lambda lines: [*lines[:2], b"", *lines[2:]], "line 3 cannot be read"),
        (changed(3, b'"p_b":', b'"p_c":1,"p_b":'), "line 3 cannot be read"),
        (changed(3, b'"p_b":0.9', b'"p_b":0.90'), "line 3 is not written as this version writes it"),
        (changed(6, b'"price":501.25', b'"price":-1.0'), "line 6 cannot be read"),
        (changed(1, b'"format":1', b'"format":2'), "is of format 2, and this version reads format 1"),
        (changed(1, b'"format":1', b'"fields":9,"format":2'), "is of format 2, and this version reads format 1"),
        (lambda lines: lines[1:], "line 1 is not the header of an exported record"),
        (lambda lines: [b"no record", *lines[1:]], "line 1 is not the header of an exported record"),
        (lambda lines: [*lines[:2], b"x" * MAX_LINE_BYTES, *lines[2:]], "line 3 has no end, or more than 65536 bytes"),
        (lambda lines: [], "is empty"),
    ],
)
def test_a_file_that_is_not_as_it_was_exported_is_refused(bend: Callable[[Lines], Lines], said: str) -> None:
    bent = b"".join(line + b"\n" for line in bend(WHOLE.splitlines()))
    assert refusal(bent).startswith(f"a file: {said}")


@pytest.mark.parametrize("cut", [1, 100, len(WHOLE) // 2])
def test_a_file_that_is_cut_off_anywhere_is_refused(cut: int) -> None:
    assert refusal(WHOLE[:-cut]).endswith("has no end, or more than 65536 bytes")


def test_a_chain_that_was_made_anew_cannot_hold_an_hour_twice_or_out_of_order() -> None:
    """Whoever writes a file can compute hashes; the order is part of what is checked."""
    for entries in ([*signals(2), signals(1)[0]], [PRICES[1], *signals(1)], [*signals(1), *signals(1)]):
        with pytest.raises(BrokenData, match="is not in its order"):
            exported(entries)
    first, second = signals(2)
    assert refusal(forged([second, first])) == "a file: line 3: the signal of SPY 2025-03-11 13:00 is not in its order"


def forged(entries: Sequence[Entry]) -> bytes:
    """A file whose chain is right and whose entries are in no order."""
    header = Header(namespace="polygon", exported_at=NOON)
    chain = Chain.after(header)
    lines = [Line(content=header, previous=chain.last).encoded()]
    for entry in entries:
        lines.append(Line(content=entry, previous=chain.last).encoded())
        chain.place = None
        chain.add(entry, lines[-1])
    lines.append(Line(content=chain.footer(), previous=chain.last).encoded())
    return b"".join(line + b"\n" for line in lines)
