"""The program that makes an attempt: what it is given, and that it ends."""

from __future__ import annotations

import sys

import pytest

from app.notify.process import MOST_BYTES, output_of
from tests.waiting import PATIENCE_S

ECHO = "import sys; n = int.from_bytes(sys.stdin.buffer.read(4), 'big'); print(sys.stdin.buffer.read(n).decode())"


def said_by(code: str, text: str = "", timeout_s: float = PATIENCE_S) -> str:
    return output_of([sys.executable, "-I", "-c", code], text.encode(), timeout_s).decode()


def test_a_program_reads_its_text_and_is_heard() -> None:
    assert said_by(ECHO, "a signal") == "a signal\n"


def test_a_program_that_does_not_end_is_ended_and_what_it_said_until_then_is_heard() -> None:
    endless = "import time; print('sending', flush=True)\nwhile True: time.sleep(1)"
    assert said_by(endless, timeout_s=3.0) in ("sending\n", "")


def test_a_program_gets_no_secret_of_the_environment_but_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYGON_API_KEY", "a-secret-word")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    said = said_by("import os; print(dict(os.environ))")
    assert "proxy.example" in said
    assert "a-secret-word" not in said


def test_what_cannot_be_started_or_does_not_fit_is_an_error_at_once() -> None:
    with pytest.raises(OSError, match="No such file"):
        output_of(["/nowhere"], b"", PATIENCE_S)
    with pytest.raises(OSError, match="more than a pipe holds"):
        said_by(ECHO, "x" * MOST_BYTES)
