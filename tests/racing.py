"""Processes that race: forked from one that has imported what they need, since as many starts take longer than the race."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.markdown import ROOT
from tests.waiting import PATIENCE_S

FORKS = """
import os, sys
children = []
for number in range({count}):
    if not (child := os.fork()):
        race(number)
        sys.stdout.flush()
        os._exit(0)  # to tidy up what was imported takes longer than the race
    children.append(child)
sys.exit(max([os.waitpid(child, 0)[1] != 0 for child in children]))
"""


@contextmanager
def racing(script: str, count: int, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """So many processes, each of which calls `race(number)` of the script. They share one output, and `sys.argv` has the
    arguments. The status is not 0 if that of any of them is not."""
    command = [sys.executable, "-c", script + FORKS.format(count=count), *map(str, arguments)]
    whole_lines = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    pipe = {"stdout": subprocess.PIPE, "env": whole_lines, "cwd": ROOT}
    with subprocess.Popen(command, text=True, start_new_session=True, **pipe) as running:  # type: ignore[call-overload]
        try:
            yield running
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


def raced(script: str, count: int, *arguments: object) -> list[str]:
    """What they print, line by line. Raises AssertionError if one of them fails."""
    with racing(script, count, *arguments) as running:
        said = running.communicate(timeout=PATIENCE_S)[0].splitlines()
    assert running.returncode == 0, said
    return said
