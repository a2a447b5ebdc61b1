"""What a message says, and which signals are wanted.

Pure: every moment is handed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from app.market.calendar import NY
from app.signals.policy import Action, Decision, shown_active

STATE_FOR: Final = timedelta(minutes=30)
"""How long a message about a state may be sent."""


class Kind(StrEnum):
    """What a message is about; the values are labels of metrics."""

    SIGNAL = "signal"
    STATE = "state"
    TEST = "test"


class Condition(StrEnum):
    """A state that is told of: of the market data of a ticker, or of the provider's key."""

    STALE = "stale"
    RECOVERED = "recovered"
    REFUSED = "refused"
    ACCEPTED = "accepted"

    @property
    def is_good(self) -> bool:
        """Whether all is well, which is told only after it was not."""
        return self in (Condition.RECOVERED, Condition.ACCEPTED)


PROVIDER: Final = "provider"
"""The subject of REFUSED and ACCEPTED; that of the other states is a ticker."""

SENTENCES: Final = {
    Condition.STALE: "The market data of {subject} are stale: no new bars have come for minutes. Signals may be missing.",
    Condition.RECOVERED: "The market data of {subject} are current again.",
    Condition.REFUSED: "The provider refuses the market-data key: there are no new bars and no new signals.",
    Condition.ACCEPTED: "The provider accepts the market-data key again.",
}


@dataclass(frozen=True, slots=True)
class Message:
    """One message. id: the same for every target, try and process; subject: a ticker, or PROVIDER; condition: of a state alone;
    action, probability: of a signal alone; title, text: for people; body: JSON for webhooks; expires_at: market time from which
    on it is not sent any more."""

    id: str
    kind: Kind
    subject: str
    title: str
    text: str
    body: str
    expires_at: datetime
    condition: Condition | None = None
    action: Action | None = None
    probability: float | None = None

    @property
    def topic(self) -> str:
        """What a state is of: a later state of the same topic takes its place."""
        return "key" if self.subject == PROVIDER else f"data.{self.subject}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which messages are wanted. min_probability: of the side that a signal favours; states: whether changes of state are."""

    tickers: Sequence[str]
    actions: Sequence[Action]
    min_probability: float
    states: bool

    def takes(self, message: Message) -> bool:
        """Whether a message about a signal or a state is wanted."""
        if message.condition is not None:
            return self.states and message.subject in (*self.tickers, PROVIDER)
        is_chosen = message.subject in self.tickers and message.action in self.actions
        return is_chosen and (message.probability or 0.0) >= self.min_probability


def favoured(decision: Decision) -> float:
    """The probability of the side that a signal favours, as it is emitted."""
    shown = shown_active(decision.p_active)
    return round(max(shown, 1 - shown), 3)


def signal_id(decision: Decision, market: str) -> str:
    """The id of a signal: of its market, ticker and decision hour, for ever."""
    return f"signal-{market}-{decision.ticker}-{decision.day}T{decision.hour:02}"


def signal_message(decision: Decision, market: str, mark: str, body: str) -> Message:
    """The message of a locked signal. mark: what every text begins with in a market that is not the live one."""
    chance = "" if decision.action == "NO_TRADE" else f" ({favoured(decision):.1%})"
    title = f"{mark}{decision.ticker} {decision.action.replace('_', ' ')} {decision.hour}:00{chance}"
    until = f"Valid until {decision.expires_at.astimezone(NY):%H:%M} New York, {decision.day}."
    text = " ".join([f"{mark}{decision.reason}", _levels(decision), until])
    return Message(
        signal_id(decision, market),
        Kind.SIGNAL,
        decision.ticker,
        title,
        text,
        body,
        decision.expires_at,
        action=decision.action,
        probability=favoured(decision),
    )


def state_message(subject: str, condition: Condition, at: datetime, market: str, mark: str, body: str) -> Message:
    """The message that a state has changed. at: since when it is known, market time."""
    moment = at.astimezone(NY)
    text = f"{mark}{SENTENCES[condition].format(subject=subject)} ({moment:%H:%M} New York, {moment:%Y-%m-%d})"
    title = f"{mark}{subject}: {condition.value}"
    name = f"state-{market}-{subject}-{condition.value}-{moment:%Y-%m-%dT%H:%M}"
    return Message(name, Kind.STATE, subject, title, text, body, at + STATE_FOR, condition)


def test_message(name: str, at: datetime, body: str) -> Message:
    """The message that `notify test` sends."""
    text = "This is a test. Messages about signals will look like this one, and say more."
    return Message(name, Kind.TEST, "test", "predict: test", text, body, at + STATE_FOR)


def _levels(decision: Decision) -> str:
    """The prices of a signal, USD."""
    price = f"Price {decision.price:.2f} USD"
    if decision.take_profit is None or decision.stop_loss is None:
        return f"{price}."
    entry = (
        "" if decision.entry_price is None else f", {str(decision.entry_type).lower()} entry {decision.entry_price:.2f}"
    )
    return f"{price}{entry}, take profit {decision.take_profit:.2f}, stop loss {decision.stop_loss:.2f}."
