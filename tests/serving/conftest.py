"""What tests of servers say."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints a line although the test passes."""

    def printed(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}")

    return printed
