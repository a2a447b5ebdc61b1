"""Builds the docs site: `python -m docs.build FOLDER`. The pages of docs/ and those that belong to them (README, runbook, ...)
are laid out for the generator, which docs/mkdocs.yml sets up, and links between them are rewritten to where they lie there.

Pages are written for readers of the files, too: links lead from file to file, and the same example in several languages stands
in blocks one after the other, which the site shows as tabs. A link that leads nowhere ends the build.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from os.path import relpath
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = ROOT / "docs"
CONFIG: Final = DOCS / "mkdocs.yml"
PAGES: Final = "pages"
"""The folder of the laid out pages, as `docs_dir` of the configuration names it."""

TABS: Final = {"sh": "curl", "python": "Python", "ts": "TypeScript"}
"""Languages of blocks that are shown as tabs where they follow one another, and what the tabs are called."""

_PLACE: Final = re.compile(r"^ +- .+: (\S+\.md)$", re.MULTILINE)
_BLOCK: Final = re.compile(rf"^```(?P<language>{'|'.join(TABS)})\n(?:(?!```).*\n)*```\n", re.MULTILINE)
_TABBED: Final = re.compile(rf"(?:{_BLOCK.pattern.replace('?P<language>', '?:')}\n*){{2,}}", re.MULTILINE)
_LINK_OR_CODE: Final = re.compile(r"^```.*?^```$|`[^`\n]+`|\]\((?P<target>[^)\s]+)\)", re.MULTILINE | re.DOTALL)


class DeadLink(Exception):
    """A page names a file that is not there."""


def build(target: Path) -> None:
    """Build the site into a folder, which it replaces. Raises DeadLink, and CalledProcessError for what the generator finds."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        lay_out(folder)
        subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=folder, check=True)
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(folder / "site", target)


def lay_out(folder: Path) -> None:
    """Put the configuration, all pages of its navigation, and the files that they link to into a folder."""
    shutil.copy(CONFIG, folder)
    shutil.copytree(DOCS / "theme", folder / PAGES / "theme")
    for place in places():
        page = source(place)
        linked: set[Path] = set()
        _written(folder / PAGES / place, with_tabs(with_links(page, page.read_text(), linked)))
        for file in linked:
            _copied(file, folder / PAGES / place_of(file))


def places() -> list[str]:
    """The pages of the navigation, by their places in the site."""
    return _PLACE.findall(CONFIG.read_text())


def source(place: str) -> Path:
    """The file of a page of the site."""
    return ROOT / place.removeprefix("project/") if place.startswith("project/") else DOCS / place


def place_of(file: Path) -> Path:
    """Where a file of the project lies in the site."""
    inside = file.relative_to(ROOT)
    return inside.relative_to("docs") if file.is_relative_to(DOCS) else "project" / inside


def with_links(page: Path, text: str, linked: set[Path]) -> str:
    """The text of a page with links that lead to where files lie in the site. Adds the files that are no pages to `linked`."""

    def rewritten(found: re.Match[str]) -> str:
        target = found["target"]
        if target is None or target.startswith(("#", "http:", "https:")):
            return found[0]
        name, mark, anchor = target.partition("#")
        file = (page.parent / name).resolve()
        if not file.is_file():
            raise DeadLink(f"{page.relative_to(ROOT)}: {target}")
        if file.suffix != ".md":
            linked.add(file)
        return f"]({relpath(place_of(file), place_of(page).parent)}{mark}{anchor})"

    return _LINK_OR_CODE.sub(rewritten, text)


def with_tabs(text: str) -> str:
    """The text with tabs in place of blocks of several languages that follow one another."""
    return _TABBED.sub(lambda run: "".join(map(_tab, _BLOCK.finditer(run[0]))), text)


def _tab(block: re.Match[str]) -> str:
    inside = "".join(f"    {line}" for line in block[0].splitlines(keepends=True))
    return f'=== "{TABS[block["language"]]}"\n\n{inside}\n'


def _written(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def _copied(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, target)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
