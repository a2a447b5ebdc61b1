"""Builds the wheel: `python -m ops.release.wheel`. The same commit gives the same bytes, wherever and whenever it is built: of
the tracked files and the built dashboard alone, in a folder of their own, with one mode and the time of the commit."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DIST: Final = ROOT / "dist"
BUILT: Final = Path("dashboard", "dist")


def main() -> None:
    """Prints the wheel's SHA-256 and its path, as `sha256sum` does."""
    wheel = build(DIST)
    print(f"{sha256_of(wheel)}  {wheel.relative_to(ROOT)}")


def build(folder: Path) -> Path:
    """The wheel of this checkout, in a folder. Raises SystemExit where something is missing."""
    with TemporaryDirectory(prefix="predict-wheel-") as name:
        source, made = Path(name, "source"), Path(name, "made")
        _copy_to(source)
        _run_build(source, made)
        folder.mkdir(parents=True, exist_ok=True)
        (wheel,) = made.glob("*.whl")
        return Path(shutil.copy(wheel, folder))


def sha256_of(wheel: Path) -> str:
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


def _copy_to(source: Path) -> None:
    for path in (*_tracked(), *_built()):
        copy = source / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, copy)
        copy.chmod(0o644)


def _tracked() -> list[Path]:
    paths = (Path(name) for name in _git("ls-files", "-z").split("\0") if name)
    return [path for path in paths if (ROOT / path).is_file()]


def _built() -> list[Path]:
    return [path.relative_to(ROOT) for path in (ROOT / BUILT).rglob("*") if path.is_file()]


def _run_build(source: Path, made: Path) -> None:
    env = os.environ | {"SOURCE_DATE_EPOCH": _git("log", "-1", "--format=%ct").strip(), "TZ": "UTC"}
    command = [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--python", sys.executable]
    command += ["--out-dir", str(made), str(source)]
    done = subprocess.run(command, cwd=source, env=env, umask=0o022, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"The wheel cannot be built: {(done.stderr or done.stdout).strip()}")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
