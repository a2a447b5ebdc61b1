"""The lines of v2's streams. Each line is one JSON object, and the name of its first field says which line it is."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from pydantic import ConfigDict, Field, RootModel

from blueprints.v2.live_types import (
    Following,
    HeartbeatEvent,
    PriceEvent,
    Resume,
    SignalEvent,
    SnapshotEvent,
    StatusEvent,
)
from blueprints.v2.problems import Problem
from blueprints.v2.types import Answer, Moment, Price, Share, Signal, StructureSummary, SwingSummary


class Computing(Answer):
    """The first line. It is sent before anything is computed."""

    status: Literal["computing"] = "computing"
    ticker: str
    generated_at: Moment
    """The moment that the answer is about."""
    cached: bool
    """Whether all bars that the answer reads are in memory and no newer ones are due, so that it waits for no fetch."""


class DataStage(Answer):
    """What is known of the market."""

    as_of: Moment | None
    """The end of the newest bar; null where no bar is known."""
    age_seconds: int | None
    """Market seconds from `as_of` to the moment of the answer."""
    stale: bool
    """Whether a bar is overdue, or could not be fetched."""
    price: Price | None
    """The close of the newest bar that had ended, USD; null where none can be trusted."""
    session_open: Price | None
    """The official open, USD."""
    minute_bars: int
    """How many one-minute bars of the day are known."""
    daily_bars: int
    """How many completed days are known."""
    reason: str | None
    """Why bars are missing that should be there; null where none are."""


class DataLine(Answer):
    """The first stage: the bars have been read."""

    data: DataStage


class RpeStage(Answer):
    """What the market is doing, as far as that needs no model."""

    structure: StructureSummary | None
    """Null in a closed market, and while fewer than 30 one-minute bars of the day are known."""
    swing: SwingSummary | None
    """Null in a closed market, and while fewer than 30 daily bars are known."""


class RpeLine(Answer):
    """The second stage: the analyses are done."""

    rpe: RpeStage


class V6Stage(Answer):
    """What the model says for the hour. The decision of the hour is locked before this line is sent."""

    decision_hour: int | None
    """New York hour of the decision, 10 to 15; null without one."""
    probability_a: Share | None
    """That the session closes above its official open."""
    probability_b: Share | None
    """That the session closes above its 11:00 price; null before 11:00 (ruling L6)."""
    in_sample: bool | None
    """Whether the model was trained on this day, which it never was in a demo market; null without a decision."""


class V6Line(Answer):
    """The third stage: the model has spoken, or a gate stands before it."""

    v6: V6Stage


class SignalLine(Answer):
    """The last stage: the same signal that the plain answer gives."""

    signal: Signal


class StageSeconds(Answer):
    """Real seconds that each stage took, and all of them together, the time between two lines included."""

    data: float = Field(ge=0)
    rpe: float = Field(ge=0)
    v6: float = Field(ge=0)
    signal: float = Field(ge=0)
    total: float = Field(ge=0)


class Complete(Answer):
    """The last line of stages that are all done."""

    status: Literal["complete"] = "complete"
    seconds: StageSeconds


class SeriesComplete(Answer):
    """The last line of a series: how many signals it gave."""

    status: Literal["complete"] = "complete"
    signals: int


class Failed(Answer):
    """The last line of a stream that an error ended."""

    status: Literal["error"] = "error"
    problem: Problem


class Stopping(Answer):
    """The last line of a stream that ends because the server stops."""

    status: Literal["stopping"] = "stopping"
    retry_after_ms: int
    """When a client may ask again, real milliseconds from now."""


Stage = Computing | DataLine | RpeLine | V6Line | SignalLine | Complete
T = TypeVar("T")
LiveLine = Following | SnapshotEvent | SignalEvent | PriceEvent | StatusEvent | HeartbeatEvent | Resume


class LineOf(RootModel[T], Generic[T]):
    """One line among several kinds. The document of the API alone needs it."""

    model_config = ConfigDict(defer_build=True)


class StageStreamLine(LineOf[Stage | LiveLine | Failed | Stopping]):
    """A line of `/v2/trading-directions/{ticker}/stream`: of its stages, and with `follow=true` the events behind them."""


class SeriesLine(LineOf[Computing | SignalLine | SeriesComplete | Failed | Stopping]):
    """A line of a replay of several moments."""
