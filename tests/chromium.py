"""Where Chromium is on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

HEADLESS_SHELL = Path("/usr/lib/chromium/chromium-headless-shell")
"""Chromium without any window, by Debian's package of the same name: the same engine, and a page costs half as much of the
processor. The program itself, because the script in the path leaves it running when it is told to end."""

CHROMIUM = str(HEADLESS_SHELL) if HEADLESS_SHELL.exists() else shutil.which("chromium")
NO_CHROMIUM = "no Chromium: apt-get install chromium-headless-shell (Debian), brew install chromium (macOS)"
