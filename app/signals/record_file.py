"""A record as a file of JSON lines that form a hash chain, so that a signal that is rewritten, moved or removed shows.

    {"content":{"kind":"header","format":1,"namespace":"polygon",...},"previous":"<hash of format and namespace>"}
    {"content":{"kind":"signal","signal":{...}},"previous":"<the same>"}
    {"content":{"kind":"signal","signal":{...}},"previous":"<SHA-256 of the line before>"}
    ...
    {"content":{"kind":"footer","signals":2,...,"header_sha256":"..."},"previous":"<SHA-256 of the line before>"}

Lines are canonical JSON (sorted names, no spaces, ASCII); a hash is that of the line without its end. The chain begins with a
hash of format and namespace in place of the header's, whose moment differs in each file: the hash of a signal that was once
published is found again in every later file, unless a signal up to it was changed. The footer has the header's hash.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Any, BinaryIO, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from app.errors import BrokenData
from app.signals.record_entry import ElevenEntry, Entry, OpenEntry, Place, SignalEntry

FORMAT: Final = 1
MAX_LINE_BYTES: Final = 64 * 1024


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Header(_Content):
    """What the file is: which record, written when."""

    kind: Literal["header"] = "header"
    format: Literal[1] = 1
    namespace: str
    exported_at: AwareDatetime


class Footer(_Content):
    """What the file holds. signals_sha256: the hash of the last signal's line."""

    kind: Literal["footer"] = "footer"
    header_sha256: str
    signals: int
    opens: int
    prices_11am: int
    first_day: date | None
    last_day: date | None
    models: tuple[str, ...]
    signals_sha256: str


class Line(BaseModel):
    """One line: what it says, and the hash of the line before."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    content: Annotated[Header | SignalEntry | OpenEntry | ElevenEntry | Footer, Field(discriminator="kind")]
    previous: str

    def encoded(self) -> bytes:
        return _canonical(self.model_dump(mode="json"))


@dataclass
class Chain:
    """The chain of a file so far. last: the hash that the next line names; first_day, last_day: of the signals."""

    header_sha256: str
    last: str
    signals_sha256: str
    place: Place | None = None
    first_day: date | None = None
    last_day: date | None = None
    models: set[str] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def after(cls, header: Header) -> Chain:
        begin = _begin(header.namespace)
        return cls(_sha256(Line(content=header, previous=begin).encoded()), begin, begin)

    def add(self, entry: Entry, line: bytes) -> None:
        """Appends an entry, whose line is `line`. Raises BrokenData if it is not in order."""
        if self.place is not None and entry.place <= self.place:
            raise BrokenData(f"the {entry} is not in its order")
        self.place, self.last = entry.place, _sha256(line)
        self.counts[entry.kind] += 1
        if isinstance(entry, SignalEntry):
            self.signals_sha256, self.last_day = self.last, entry.signal.day
            self.first_day = self.first_day or entry.signal.day
            self.models.add(entry.signal.model_id)

    def footer(self) -> Footer:
        return Footer(
            header_sha256=self.header_sha256,
            signals=self.counts["signal"],
            opens=self.counts["open"],
            prices_11am=self.counts["price_11am"],
            first_day=self.first_day,
            last_day=self.last_day,
            models=tuple(sorted(self.models)),
            signals_sha256=self.signals_sha256,
        )


def write(file: BinaryIO, header: Header, entries: Iterable[Entry]) -> Footer:
    """Writes entries, which are in order, as a whole file. Returns its footer."""
    chain = Chain.after(header)
    _write_line(file, Line(content=header, previous=chain.last))
    for entry in entries:
        chain.add(entry, _write_line(file, Line(content=entry, previous=chain.last)))
    footer = chain.footer()
    _write_line(file, Line(content=footer, previous=chain.last))
    return footer


class RecordFile:
    """An exported record, read as a stream; `name` is its name in errors. Raises BrokenData if it is none, or of another
    format. The header is not verified before the footer is read."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file, self._name = file, name
        first = next(self._lines(), None)
        if first is None:
            raise self._broken("is empty")
        self._refuse_other_format(first[1])
        line = self._parsed(*first)
        if not isinstance(line.content, Header) or line.previous != _begin(line.content.namespace):
            raise self._broken("line 1 is not the header of an exported record")
        self.header = line.content

    def entries(self) -> Iterator[tuple[Entry, str]]:
        """All entries, each with its hash. Raises BrokenData, which names the line, where the chain breaks, and at the end if
        the footer does not fit."""
        chain = Chain.after(self.header)
        lines = self._lines()
        next(lines)
        for number, raw in lines:
            line = self._followed(number, raw, chain)
            if isinstance(line.content, Footer):
                return self._check_end(number, line.content, chain, next(lines, None))
            if isinstance(line.content, Header):
                raise self._broken(f"line {number} is another header")
            self._append(chain, number, line.content, raw)
            yield line.content, chain.last
        raise self._broken("has no footer: its end is missing")

    def verify(self) -> Footer:
        """Reads the whole file. Returns its footer."""
        for _ in self.entries():
            pass
        return self.footer

    def _followed(self, number: int, raw: bytes, chain: Chain) -> Line:
        line = self._parsed(number, raw)
        if line.previous != chain.last:
            before = f"one of the lines {number - 1} and {number}" if number > 2 else f"line {number}"
            raise self._broken(f"the chain breaks at line {number}: {before} was changed, moved or removed")
        return line

    def _append(self, chain: Chain, number: int, entry: Entry, raw: bytes) -> None:
        try:
            chain.add(entry, raw)
        except BrokenData as exc:
            raise self._broken(f"line {number}: {exc.message}") from None

    def _check_end(self, number: int, footer: Footer, chain: Chain, rest: object) -> None:
        if rest is not None:
            raise self._broken(f"line {number + 1} stands behind the footer")
        if footer != chain.footer():
            raise self._broken(f"the footer, line {number}, is not that of the lines before it")
        self.footer = footer

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """All lines from the beginning, with their numbers, without their ends."""
        try:
            self._file.seek(0)
            for number in itertools.count(1):
                raw = self._file.readline(MAX_LINE_BYTES)
                if not raw:
                    return
                if not raw.endswith(b"\n"):
                    raise self._broken(f"line {number} has no end, or more than {MAX_LINE_BYTES} bytes")
                yield number, raw[:-1]
        except OSError as exc:
            raise self._broken(f"cannot be read: {exc.strerror or exc}") from exc

    def _parsed(self, number: int, raw: bytes) -> Line:
        try:
            line = Line.model_validate_json(raw)
            is_canonical = line.encoded() == raw
        except (ValidationError, ValueError):
            raise self._broken(f"line {number} cannot be read") from None
        if not is_canonical:
            raise self._broken(f"line {number} is not written as this version writes it")
        return line

    def _refuse_other_format(self, raw: bytes) -> None:
        found = _format_of(raw)
        if found is None:
            raise self._broken("line 1 is not the header of an exported record")
        if found != FORMAT:
            raise self._broken(f"is of format {found}, and this version reads format {FORMAT}")

    def _broken(self, what: str) -> BrokenData:
        return BrokenData(f"{self._name}: {what}")


def _format_of(raw: bytes) -> int | None:
    """The format that a header names, whatever else it holds."""
    try:
        found = json.loads(raw)["content"]["format"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return found if isinstance(found, int) else None


def _write_line(file: BinaryIO, line: Line) -> bytes:
    raw = line.encoded()
    file.write(raw + b"\n")
    return raw


def _begin(namespace: str) -> str:
    return _sha256(_canonical({"format": FORMAT, "namespace": namespace}))


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _sha256(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
