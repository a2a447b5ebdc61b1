"""The format of the log: JSON lines for machines, plain text on a terminal. All of it goes to standard error."""

from __future__ import annotations

import logging.config
import sys
from collections.abc import Callable, Mapping
from typing import Any

from pythonjsonlogger.json import JsonFormatter

TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class JsonLines(JsonFormatter):
    """One line for each record: time (ISO 8601, UTC), level, logger, message, and the extra fields of the record."""

    def __init__(self) -> None:
        super().__init__(
            "%(levelname)s %(name)s %(message)s",
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp="time",
        )


class RequestIds(logging.Filter):
    """Adds the ids of the current request to each record."""

    def __init__(self, ids: Callable[[], Mapping[str, str]]) -> None:
        super().__init__()
        self._ids = ids

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in self._ids().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


def is_json(log_format: str) -> bool:
    """Whether lines are JSON: as the setting says, and for `auto` unless standard error is a terminal."""
    return log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())


def config(level: str, *, as_json: bool) -> dict[str, Any]:
    """The argument of logging.config.dictConfig. It is also gunicorn's, so that its loggers write in the same format."""
    formatter: dict[str, Any] = {"()": JsonLines} if as_json else {"format": TEXT}
    gunicorn = {"level": level, "handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {"gunicorn.error": gunicorn, "gunicorn.access": gunicorn},
    }


def add_request_ids(ids: Callable[[], Mapping[str, str]]) -> None:
    """Make all present log handlers write `ids()`, the ids of the current request, with each record."""
    for handler in logging.getLogger().handlers:
        for previous in [present for present in handler.filters if isinstance(present, RequestIds)]:
            handler.removeFilter(previous)
        handler.addFilter(RequestIds(ids))
