"""What several commands use: settings, recorded bars, and a line for each wait."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from app.config.folders import check_data_dir
from app.config.settings import Settings, load
from app.errors import Unavailable
from app.live.events import Events
from app.market.calendar import Calendar
from app.market.recorded import RecordedBars
from app.signals.policy import SUPPORTED
from app.sqlite import MEMORY

TICKER = click.Choice([*SUPPORTED, "all"], case_sensitive=False)


def usable_settings(**overrides: Any) -> Settings:
    """Returns the settings of a command that uses DATA_DIR, which must be usable. Raises SettingsError."""
    settings = load(**overrides)
    check_data_dir(settings)
    return settings


def recorded_bars(settings: Settings) -> RecordedBars:
    """The recorded bars of DATA_DIR, in a file that is made if it is missing."""
    return _bars_in(_file_of(settings), settings)


def imported_bars(settings: Settings) -> RecordedBars:
    """The recorded bars of DATA_DIR to be read: none where nothing was imported, and no file is made."""
    file = _file_of(settings)
    return _bars_in(file if file.exists() else MEMORY, settings)


def _file_of(settings: Settings) -> Path:
    return settings.data_dir / "recorded.sqlite3"


def _bars_in(file: Path, settings: Settings) -> RecordedBars:
    return RecordedBars(file, Calendar(dict(settings.market_closures)))


def refuse_without_training_packages() -> None:
    """Raises Unavailable where the packages are missing that training needs and the server does without."""
    if find_spec("sklearn") is None:
        raise Unavailable(
            "training needs scikit-learn, which the server itself does without: `make setup` installs it, or "
            "`pip install -r requirements-dev.txt`",
            part="models",
        )


def events_printing_waits() -> Events:
    """Returns an event bus that prints a line when a call starts to wait for the budget or for the end of the provider's
    pause."""

    def print_wait(seconds: int, reason: str, **_: object) -> None:
        cause = (
            "the end of the pause that the provider asked for" if reason == "pause" else "the data plan's call budget"
        )
        click.echo(f"Waiting for {cause}: the next call may go in {seconds} s", err=True)

    events = Events()
    events.subscribe("call_waits", print_wait)
    return events
