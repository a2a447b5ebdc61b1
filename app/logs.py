"""What the log looks like: JSON lines for machines, plain text on a terminal. Everything goes to standard error."""

from __future__ import annotations

import logging.config
import sys
from collections.abc import Callable, Mapping
from typing import Any

from pythonjsonlogger.json import JsonFormatter

TEXT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class Json(JsonFormatter):
    """A line per record: time (ISO 8601, UTC), level, logger, message, and whatever else the record carries."""

    def __init__(self) -> None:
        super().__init__(
            "%(levelname)s %(name)s %(message)s",
            rename_fields={"levelname": "level", "name": "logger"},
            timestamp="time",
        )


class RequestIds(logging.Filter):
    """Puts the ids of the request under way on each record."""

    def __init__(self, current: Callable[[], Mapping[str, str]]) -> None:
        super().__init__()
        self._current = current

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in self._current().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


def is_json(log_format: str) -> bool:
    """Whether lines are JSON: as it is set, else unless a person looks on."""
    return log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())


def config(level: str, *, as_json: bool) -> dict[str, Any]:
    """For logging.config.dictConfig, and for gunicorn: its loggers write here too."""
    formatter: dict[str, Any] = {"()": Json} if as_json else {"format": TEXT}
    gunicorn = {"level": level, "handlers": [], "propagate": True}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {"gunicorn.error": gunicorn, "gunicorn.access": gunicorn},
    }


def name_requests(current: Callable[[], Mapping[str, str]]) -> None:
    """From now on records carry the ids of the request under way, whatever handler writes them."""
    for handler in logging.getLogger().handlers:
        for old in [found for found in handler.filters if isinstance(found, RequestIds)]:
            handler.removeFilter(old)
        handler.addFilter(RequestIds(current))
