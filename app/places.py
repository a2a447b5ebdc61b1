"""Where the project's own files are: beside the code in a checkout, inside this package where a wheel has been installed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from app.errors import SettingsError

PACKAGE: Final = Path(__file__).parent
CODE: Final = PACKAGE.parent
"""The folder of the top-level packages."""

SHIPPED: Final = PACKAGE / "shipped"
"""What a wheel has of the files that stand beside the packages in a checkout, in the same folders (setup.py)."""

IS_CHECKOUT: Final = not SHIPPED.is_dir()
FILES: Final = CODE if IS_CHECKOUT else SHIPPED
COMMAND: Final = ".venv/bin/predict" if IS_CHECKOUT else "predict"
"""How the command line is typed. Help, usage errors and sentences show it."""


def data_folder(data_home: str | None) -> Path:
    """Where a server keeps its state unless it is told otherwise: `var` below the working folder in a checkout, else the user's
    folder. data_home: as of `state_folder`."""
    return Path("var") if IS_CHECKOUT else state_folder(data_home, sys.platform)


def state_folder(data_home: str | None, platform: str) -> Path:
    """Where a server that was installed from a wheel keeps its state: the user's folder for data of programs. data_home:
    XDG_DATA_HOME, which counts only if it is absolute (XDG Base Directory Specification). Raises SettingsError if the user has
    no home."""
    if data_home is not None and Path(data_home).is_absolute():
        return Path(data_home) / "predict-server"
    usual = Path("Library", "Application Support") if platform == "darwin" else Path(".local", "share")
    try:
        return Path.home() / usual / "predict-server"
    except RuntimeError:
        raise SettingsError("DATA_DIR: must be set for a user who has no home") from None
