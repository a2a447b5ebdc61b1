"""One attempt to send a message, in a process of its own: a program that reads what to send from its input, and writes how it
went. It imports nothing of the project, and is run as a file.

A receiver may be slow, hang, or answer without end. Whatever it does ends with this process, which has a bound on its time, on
its memory, and on what it reads. Redirects are not followed: messages go to the addresses of the settings alone. Only a word
and a sentence of this file come out, so that no address and no text of a receiver can.
"""

from __future__ import annotations

import io
import json
import logging
import os
import resource
import signal
import socket
import sys
import time
from email.utils import parsedate_to_datetime
from typing import Any

import requests

CONNECT_S, READ_S = 5.0, 10.0
MOST_BYTES = 65_536
"""Of an answer's body, which only services behind Apprise need to have read."""

BODY_S = 5.0
MEMORY_BYTES = 1 << 30
NICENESS = 5
"""Requests go before messages."""

Result = dict[str, Any]


def result(word: str, reason: str = "", retry_after: float | None = None) -> Result:
    """word: `sent`; `failed`: it did not arrive, and may later; `unknown`: it may have arrived; `refused`: it never will."""
    return {"result": word, "reason": reason, "retry_after": retry_after}


def begin(task: dict[str, Any]) -> None:
    """Says that the message is on its way from now on, for `send_s` seconds at most. Until here it has not arrived for sure."""
    sys.stdout.write("sending\n")
    sys.stdout.flush()
    signal.setitimer(signal.ITIMER_REAL, min(task["send_s"], signal.getitimer(signal.ITIMER_REAL)[0] or task["send_s"]))


def send_webhook(task: dict[str, Any]) -> Result:
    """The status alone counts; the body of the answer is not read."""
    session = requests.Session()
    session.auth = lambda request: request  # the machine's .netrc is not read
    timeouts = (CONNECT_S, READ_S)
    begin(task)
    try:
        response = session.post(
            task["address"],
            data=task["body"].encode(),
            headers=task["headers"],
            timeout=timeouts,
            allow_redirects=False,
            stream=True,
        )
    except requests.Timeout:
        return result("failed", "no answer in time")
    except (requests.RequestException, OSError, ValueError):
        return result("failed", "the connection failed")
    status = response.status_code
    if 200 <= status < 300:
        return result("sent")
    if status == 410:
        return result("refused", "answered with status 410: nothing more is sent there")
    return result("failed", f"answered with status {status}", wait_of(response))


class Traffic:
    """What went over the network while Apprise was at work, which says no more than whether all went well."""

    def __init__(self) -> None:
        self.connected = False
        self.statuses: list[int] = []
        self.retry_after: float | None = None

    def watch(self) -> None:
        """Notes connections and answers from now on, and bounds the answers."""
        connect, send = socket.socket.connect, requests.Session.send

        def noted(own: socket.socket, address: Any) -> None:
            connect(own, address)
            self.connected = True

        def bounded(own: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
            response = send(own, request, **{**options, "allow_redirects": False, "stream": True})
            self.statuses.append(response.status_code)
            self.retry_after = wait_of(response)
            response.raw = io.BytesIO(start_of(response))
            return response

        socket.socket.connect = noted  # type: ignore[method-assign, assignment]
        requests.Session.send = bounded  # type: ignore[method-assign, assignment]

    def outcome(self) -> Result:
        """What a failure of Apprise means: a message that may have arrived is not sent again, since a person reads it."""
        if any(200 <= status < 300 for status in self.statuses):
            return result("unknown", "accepted, but not as the service documents it")
        if self.statuses:
            return result("failed", f"answered with status {self.statuses[-1]}", self.retry_after)
        if self.connected:
            return result("unknown", "no answer after the message was sent")
        return result("failed", "the connection failed")


def send_by_apprise(task: dict[str, Any]) -> Result:
    import apprise

    logging.disable()
    service = apprise.Apprise()
    if not service.add(task["address"]):
        return result("refused", "Apprise does not know this kind of address, or a part of it is missing")
    traffic = Traffic()
    traffic.watch()
    begin(task)
    try:
        is_sent = bool(service.notify(title=task["title"], body=task["text"], body_format=apprise.NotifyFormat.TEXT))
    except Exception:  # whatever a service of Apprise raises, its text may hold the address
        is_sent = False
    return result("sent") if is_sent else traffic.outcome()


def start_of(response: requests.Response) -> bytes:
    """The first bytes of an answer, as far as they come in time."""
    body, ends = bytearray(), time.monotonic() + BODY_S
    try:
        while len(body) < MOST_BYTES and time.monotonic() < ends:
            piece = response.raw.read1(MOST_BYTES, decode_content=True)
            if not piece:
                break
            body += piece
    except Exception:  # a body that cannot be read is as one that ends
        pass
    finally:
        response.close()
    return bytes(body[:MOST_BYTES])


def wait_of(response: requests.Response) -> float | None:
    """Seconds of a Retry-After header, a number or a date; None where there is none."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:6])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def main() -> None:
    length = int.from_bytes(sys.stdin.buffer.read(4), "big")
    task = json.loads(sys.stdin.buffer.read(length))
    signal.setitimer(signal.ITIMER_REAL, task["timeout_s"])  # SIGALRM ends this process, also if its parent was killed
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
    ):  # for all processes of a server: what is begun ends by itself, in seconds
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    outcome = (send_webhook if task["channel"] == "webhook" else send_by_apprise)(task)
    sys.stdout.write(json.dumps(outcome))
    sys.stdout.flush()
    os._exit(0)  # what a receiver holds open is not waited for


if __name__ == "__main__":
    main()
