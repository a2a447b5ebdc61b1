"""What a record holds one by one: a signal, an official open or an 11:00 price, each in its place."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, ValidationError, field_serializer

from app.errors import BrokenData
from app.market.opens import OfficialOpen
from app.signals.policy import Decision

Place = tuple[int, date, int, str]
"""Where an entry stands in the order."""

Price = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SignalEntry(_Entry):
    """A locked signal."""

    kind: Literal["signal"] = "signal"
    signal: Decision

    @field_serializer("signal", mode="wrap")
    def _written(self, signal: Decision, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A signal from before there were ranges keeps the text, and so the hash, with which it was published."""
        text: dict[str, Any] = write(signal)
        if not signal.ranges:
            del text["ranges"]
        return text

    @property
    def place(self) -> Place:
        return 0, self.signal.day, self.signal.hour, self.signal.ticker

    def __str__(self) -> str:
        return f"signal of {self.signal.ticker} {self.signal.day} {self.signal.hour}:00"


class OpenEntry(_Entry):
    """The official open of a day, USD, and where it was learned."""

    kind: Literal["open"] = "open"
    ticker: str
    day: date
    price: Price
    source: str

    @property
    def place(self) -> Place:
        return 1, self.day, 0, self.ticker

    def __str__(self) -> str:
        return f"official open of {self.ticker} {self.day}"


class ElevenEntry(_Entry):
    """The 11:00 price of a day, USD."""

    kind: Literal["price_11am"] = "price_11am"
    ticker: str
    day: date
    price: Price

    @property
    def place(self) -> Place:
        return 2, self.day, 0, self.ticker

    def __str__(self) -> str:
        return f"11:00 price of {self.ticker} {self.day}"


Entry = SignalEntry | OpenEntry | ElevenEntry


def open_entry(ticker: str, day: date, found: OfficialOpen) -> OpenEntry:
    """Raises BrokenData for what is no price."""
    try:
        return OpenEntry(ticker=ticker, day=day, price=found.price, source=found.source)
    except ValidationError:
        raise BrokenData(f"the official open of {ticker} {day} in the record is no price") from None


def eleven_entry(ticker: str, day: date, price: float) -> ElevenEntry:
    """Raises BrokenData for what is no price."""
    try:
        return ElevenEntry(ticker=ticker, day=day, price=price)
    except ValidationError:
        raise BrokenData(f"the 11:00 price of {ticker} {day} in the record is no price") from None
