"""Sends a message to a target, by a process of its own for each attempt (`attempt`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr
from standardwebhooks import Webhook

from app.notify.message import Message
from app.notify.process import output_of
from app.notify.target import Channel, Target

SEND_S: Final = 20.0
"""The longest time on the network of one attempt, real seconds."""

ATTEMPT_S: Final = 40.0
"""The same with the start of its process, which other work of the machine may hold up."""

PROGRAM: Final = Path(__file__).with_name("attempt.py")


class Result(StrEnum):
    """sent; failed: it did not arrive, and may later; unknown: it may have arrived; refused: it never will."""

    SENT = "sent"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt went. reason: a sentence without addresses; retry_after: seconds that the receiver asks to wait."""

    result: Result
    reason: str = ""
    retry_after: float | None = None


Send = Callable[[Target, Message, float], Outcome]
"""Sends a message to a target within so many real seconds."""


class Sender:
    """`Send` over the network. secrets: webhooks are signed with each of them; epoch: seconds since 1970."""

    def __init__(self, secrets: Sequence[SecretStr], epoch: Callable[[], float]) -> None:
        self._keys = [Webhook(secret.get_secret_value()) for secret in secrets]
        self._epoch = epoch

    def __call__(self, target: Target, message: Message, timeout_s: float) -> Outcome:
        task: dict[str, Any] = {
            "channel": target.channel.value,
            "address": target.address.get_secret_value(),
            "timeout_s": timeout_s,
            "send_s": SEND_S,
        }
        if target.channel is Channel.WEBHOOK:
            task |= {"headers": self.headers(message), "body": message.body}
        else:
            task |= {"title": message.title, "text": message.text}
        outcome = _attempt(task, timeout_s)
        if target.channel is Channel.WEBHOOK and outcome.result is Result.UNKNOWN:
            return Outcome(Result.FAILED, outcome.reason)  # the receiver drops a second message with the same id
        return outcome

    def headers(self, message: Message) -> Mapping[str, str]:
        """The headers of Standard Webhooks (https://www.standardwebhooks.com). The id is that of the message in every try."""
        now = datetime.fromtimestamp(int(self._epoch()), UTC)
        return {
            "content-type": "application/json",
            "user-agent": "predict",
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(key.sign(message.id, now, message.body) for key in self._keys),
        }


def _attempt(task: Mapping[str, Any], timeout_s: float) -> Outcome:
    """Runs an attempt. The task goes through its input: arguments are seen by everybody on the machine."""
    command = [sys.executable, "-I", str(PROGRAM)]
    try:
        return _outcome_of(output_of(command, json.dumps(task).encode(), timeout_s))
    except OSError:
        return Outcome(Result.FAILED, "no process could be started for the attempt")


def _outcome_of(said: bytes) -> Outcome:
    """What an attempt said: that it began to send, and how it ended, as far as it came."""
    began, *ends = said.splitlines() or [b""]
    try:
        end = json.loads(ends[0] if ends else began)
        return Outcome(Result(end["result"]), end["reason"], end["retry_after"])
    except (ValueError, KeyError, TypeError):
        has_begun = began == b"sending"
    return (
        Outcome(Result.UNKNOWN, "no answer in time") if has_begun else Outcome(Result.FAILED, "it could not be begun")
    )
