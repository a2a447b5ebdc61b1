"""Says at the end of the run how many golden fields were compared and how many agreed."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, summary in report.user_properties:
                if name == "golden":
                    terminalreporter.write_line(f"golden: {summary}")
