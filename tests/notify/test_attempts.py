"""An attempt to send over real HTTP: what arrives, and what becomes of receivers that are slow, down or lie."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from subprocess import PIPE

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from app.clock import REAL_TIME
from app.notify import attempt, sending
from app.notify.sending import Outcome, Result, Sender
from tests.notify.messages import SECRET, by_apprise, message, webhook
from tests.notify.receiver import (
    TAKEN,
    Answer,
    Handler,
    Receiver,
    endless_body,
    endless_head,
    garbage_after_200,
    hang,
    hang_after_200,
    no_http,
    receiving,
    redirect,
    status,
)
from tests.redis_server import free_port
from tests.waiting import PATIENCE_S, wait_for

PROGRAM = [sys.executable, "-I", str(sending.PROGRAM)]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was begun to be sent gets little time. On a busy machine it may end before the request was made."""
    monkeypatch.setattr(sending, "SEND_S", 1.0)


def sender() -> Sender:
    return Sender([SecretStr(SECRET)], REAL_TIME.epoch)


def test_a_webhook_is_signed_as_standard_webhooks_wants_it() -> None:
    with receiving() as receiver:
        assert sender()(webhook(receiver.url), message(), PATIENCE_S) == Outcome(Result.SENT)
    [delivery] = receiver.deliveries
    assert delivery.id == message().id
    assert Webhook(SECRET).verify(delivery.body, dict(delivery.headers)) == {"type": "signal.locked"}
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(delivery.body + b" ", dict(delivery.headers))


def test_a_webhook_is_signed_with_the_new_and_the_old_secret_while_it_is_changed() -> None:
    other = "whsec_" + "QUJD" * 8
    headers = Sender([SecretStr(SECRET), SecretStr(other)], REAL_TIME.epoch).headers(message())
    for secret in (SECRET, other):
        Webhook(secret).verify(message().body, dict(headers))


def test_a_service_of_apprise_gets_title_and_text() -> None:
    with receiving() as receiver:
        assert sender()(by_apprise(receiver.apprise_url), message(), PATIENCE_S) == Outcome(Result.SENT)
    [delivery] = receiver.deliveries
    said = json.loads(delivery.body)
    assert (said["title"], said["message"]) == ("SPY LONG", "SPY goes up.")


@pytest.mark.parametrize(
    ("answer", "result", "reason"),
    [
        (garbage_after_200, "sent", ""),
        (hang_after_200, "sent", ""),
        (endless_body, "sent", ""),
        (redirect, "failed", "answered with status 301"),
        (status(500), "failed", "answered with status 500"),
        (status(410), "refused", "answered with status 410: nothing more is sent there"),
        (no_http, "failed", "the connection failed"),
    ],
)
def test_a_webhook_that_lies_or_fails(answer: Answer, result: str, reason: str) -> None:
    with receiving(answer) as receiver:
        assert sent_here(receiver.url) == {"result": result, "reason": reason, "retry_after": None}
        assert [delivery.path for delivery in receiver.deliveries] == ["/hook?token=a-secret-word"]


def sent_here(address: str) -> attempt.Result:
    """An attempt in this process, which takes less time than one of its own."""
    task = {"address": address, "body": message().body, "headers": sender().headers(message())}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attempt, "begin", lambda task: None)  # it sets the time of the whole process
        return attempt.send_webhook(task)


@pytest.mark.parametrize("answer", [hang, endless_head])
@pytest.mark.usefixtures("short")
def test_a_webhook_that_does_not_answer_is_given_up_in_time(answer: Answer) -> None:
    with receiving(answer) as receiver:
        assert sender()(webhook(receiver.url), message(), PATIENCE_S) == Outcome(Result.FAILED, "no answer in time")


def test_a_webhook_that_is_down() -> None:
    address = f"http://127.0.0.1:{free_port()}/a-secret-word"
    assert sent_here(address) == {"result": "failed", "reason": "the connection failed", "retry_after": None}


def test_a_webhook_says_when_it_wants_to_be_tried_again() -> None:
    with receiving(status(429, Retry_After="77")) as receiver:
        said = {"result": "failed", "reason": "answered with status 429", "retry_after": 77.0}
        assert sent_here(receiver.url) == said


@pytest.mark.parametrize(
    ("answer", "result", "reason"),
    [
        (endless_body, Result.SENT, ""),
        (redirect, Result.FAILED, "answered with status 301"),
        (no_http, Result.UNKNOWN, "no answer after the message was sent"),
    ],
)
def test_a_service_of_apprise_that_lies_or_fails(answer: Answer, result: Result, reason: str) -> None:
    with receiving(answer) as receiver:
        assert sender()(by_apprise(receiver.apprise_url), message(), PATIENCE_S) == Outcome(result, reason)
        assert len(receiver.deliveries) == 1


@pytest.mark.usefixtures("short")
def test_a_service_of_apprise_that_does_not_answer_may_have_the_message() -> None:
    with receiving(hang) as receiver:
        outcome = sender()(by_apprise(receiver.apprise_url), message(), PATIENCE_S)
    assert outcome == Outcome(Result.UNKNOWN, "no answer in time")


def test_a_message_that_was_not_begun_in_time_certainly_has_not_arrived() -> None:
    with receiving() as receiver:
        outcome = sender()(by_apprise(receiver.apprise_url), message(), 0.01)
        assert outcome == Outcome(Result.FAILED, "it could not be begun")
        assert receiver.deliveries == []


def test_a_service_of_apprise_that_is_down_certainly_has_nothing() -> None:
    down = by_apprise(f"json://127.0.0.1:{free_port()}/a-secret-word")
    assert sender()(down, message(), PATIENCE_S) == Outcome(Result.FAILED, "the connection failed")


def test_an_address_that_apprise_does_not_know_is_refused_without_being_shown() -> None:
    outcome = sender()(by_apprise("nosuch://a-secret-word"), message(), PATIENCE_S)
    assert outcome.result is Result.REFUSED
    assert "a-secret-word" not in outcome.reason


def test_an_attempt_that_was_begun_ends_by_itself_when_all_processes_of_a_server_are_told_to_stop() -> None:
    """As systemd and a terminal's Ctrl-C do. Through Apprise, what was broken off is not sent again."""

    def slow(receiver: Receiver, handler: Handler) -> None:
        is_stopped.wait(PATIENCE_S)
        TAKEN(receiver, handler)

    is_stopped = threading.Event()
    with receiving(slow) as receiver, subprocess.Popen(PROGRAM, stdin=PIPE, stdout=PIPE) as process:
        assert process.stdin is not None
        task = {"channel": "webhook", "address": receiver.url, "headers": {}, "body": "{}"}
        text = json.dumps({**task, "timeout_s": PATIENCE_S, "send_s": PATIENCE_S}).encode()
        process.stdin.write(len(text).to_bytes(4) + text)
        process.stdin.flush()
        wait_for(lambda: receiver.deliveries)
        for number in (signal.SIGTERM, signal.SIGINT):
            process.send_signal(number)
        is_stopped.set()
        said, _ = process.communicate(timeout=PATIENCE_S)
    assert b'"sent"' in said
