"""Checks the folders that settings name before anything is opened in them. The commands and the start of the server call it."""

from __future__ import annotations

import os

from app.config.settings import Settings
from app.errors import SettingsError
from app.model.promotions import PROMOTED


def check_data_dir(settings: Settings) -> None:
    """Raises SettingsError if DATA_DIR or one of the folders above it is a file. A folder whose files cannot be opened passes:
    the server answers without them (ruling S9)."""
    folder = settings.data_dir.absolute()
    existing = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    if not existing.is_dir():
        raise SettingsError(f"DATA_DIR: {str(existing)!r} is a file, where a folder is needed")


def check_models_dir(settings: Settings) -> None:
    """Raises SettingsError if MODELS_DIR is set and no model set is promoted in it. The default folder passes: a server that
    cannot read it starts all the same and says so (ruling A6)."""
    folder = settings.models_dir
    if "models_dir" in settings.model_fields_set and not os.path.exists(folder / PROMOTED):
        raise SettingsError(f"MODELS_DIR: there are no models in {str(folder)!r}, as it holds no {PROMOTED}")
