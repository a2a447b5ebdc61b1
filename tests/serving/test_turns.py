"""A request that comes in while much work waits has its turn before the rest of that work."""

from __future__ import annotations

import socket
import subprocess
import sys
from itertools import count

import gevent
from gevent.socket import wait_read

from serving.turns import Turns
from tests.waiting import PATIENCE_S

JOBS = 40

UNDER_GEVENT = """
from gevent import monkey; monkey.patch_all()
import socket, gevent
from app.clock import sleep
ours, theirs = socket.socketpair()
done = []
def work():
    for _ in range(20):
        if not done:
            theirs.send(b"a request")
        done.append("work")
        sleep(0)
def answer():
    ours.recv(100)
    done.append("answer")
answering = gevent.spawn(answer)
gevent.sleep(0.01)
gevent.joinall([answering, *(gevent.spawn(work) for _ in range(2))])
print(done.index("answer"))
"""


def test_a_request_that_comes_in_is_answered_before_the_next_work_but_one() -> None:
    seconds = count()
    turns = Turns(lambda: float(next(seconds)))
    ours, theirs = socket.socketpair()
    done: list[str] = []

    def work() -> None:
        with turns:
            if not done:
                theirs.send(b"a request")
            done.append("work")

    def answer() -> None:
        wait_read(ours.fileno(), timeout=PATIENCE_S)
        done.append("answer")

    with ours, theirs:
        answering = gevent.spawn(answer)
        gevent.sleep(0.01)
        gevent.joinall([answering, *(gevent.spawn(work) for _ in range(JOBS))], raise_error=True)
    assert done.count("work") == JOBS
    assert done.index("answer") <= 2


def test_work_that_lets_others_go_on_lets_requests_that_have_just_come_in() -> None:
    """Under gevent, in a process of its own, which it patches."""
    run = [sys.executable, "-c", UNDER_GEVENT]
    found = subprocess.run(run, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
    assert int(found.stdout) <= 4, found.stderr
