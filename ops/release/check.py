"""Rehearses a release, all but the upload: `make release-check`, or with QUICK=1 without the tests.

Each check says in one line what it found. A check that fails makes the status 1. What could not be checked here (no network, no
npm) is said, and listed again at the end. Whatever a command printed is in var/release-check.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

from app.version import VERSION
from ops.release import licences, sbom, wheel
from ops.release.components import shipped
from ops.release.locks import LOCKS, ROOT

LOGS: Final = ROOT / "var" / "release-check"
SECONDS: Final = 5400
"""No command takes longer."""
PYTHON: Final = sys.executable
MAKE: Final = ("make", "--no-print-directory")
SEMANTIC: Final = re.compile(r"\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?")
UNREACHABLE: Final = re.compile(
    r"error sending request|dns error|[Cc]ould not connect|timed out|No solution found|Temporary failure"
)
OPENAPI: Final = ("blueprints/v2/openapi.json", "blueprints/v2/examples.json")
ASYNCAPI: Final = ("blueprints/socket_io/asyncapi.json", "clients/typescript/live-events.d.ts")


class Failed(Exception):
    """The release is not ready; the message says why."""


class NotChecked(Exception):
    """Nothing can be said here; the message says why."""


class Result(NamedTuple):
    """What came of one check: `passed`, `FAILED` or `not checked`, and a sentence."""

    name: str
    outcome: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.outcome:<12} {self.name}: {self.sentence}"


Check = Callable[[], str]
"""Says what it found. Raises Failed or NotChecked."""


def run(*command: str, log: str, root: Path = ROOT) -> str:
    """What a command prints, which is also written to a file. Raises Failed, with the last line, if it fails."""
    LOGS.mkdir(parents=True, exist_ok=True)
    file = LOGS / f"{log}.log"
    try:
        done = subprocess.run(
            command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Failed(f"{_spoken(command)}: {exc}") from None
    file.write_text(done.stdout)
    if done.returncode:
        raise Failed(
            f"{_spoken(command)} ends with {done.returncode} ({file.relative_to(ROOT)}): {_last_line(done.stdout)}"
        )
    return done.stdout


def clean_tree(root: Path = ROOT) -> str:
    changed = run("git", "status", "--porcelain", log="tree", root=root).splitlines()
    if changed:
        raise Failed(f"{len(changed)} files are not committed, among them {changed[0][3:]}")
    return f"everything is committed, at {run('git', 'rev-parse', '--short', 'HEAD', log='commit', root=root).strip()}"


def version_is_new(version: str, root: Path = ROOT) -> str:
    """The version has the form of a version, and no other commit has its tag."""
    if not SEMANTIC.fullmatch(version):
        raise Failed(f"{version} is not a version like 1.2.3")
    tagged = run("git", "tag", "--list", f"v{version}", "--no-contains", "HEAD", log="tags", root=root).strip()
    if tagged:
        raise Failed(f"the tag {tagged} is there already, at another commit")
    return f"{version}, whose tag is free"


def changelog_tells(version: str, text: str) -> str:
    """The newest section of the changelog is about this version, and has lines."""
    heading, _, rest = text.partition("\n## ")[2].partition("\n")
    lines = [line for line in rest.partition("\n## ")[0].splitlines() if line.startswith("- ")]
    if heading.split()[:1] != [version]:
        raise Failed(f"the newest section is {heading or 'missing'}, not {version}")
    if not lines:
        raise Failed(f"the section {version} says nothing")
    return f"{version} has {len(lines)} entries"


def has_licence(root: Path = ROOT) -> str:
    """The project's own licence, which only its owner can choose."""
    found = sorted(path.name for path in root.iterdir() if re.match(r"(?i)(licen[cs]e|copying)(\.|$)", path.name))
    if not found:
        raise NotChecked("there is no LICENSE file; its owner chooses one before others may use a release")
    return found[0]


def lists_are_current() -> str:
    """`make lock` would write the lists of packages that are there."""
    return unchanged(LOCKS, *MAKE, "lock", log="lock")


def licences_are_allowed() -> str:
    wrong = licences.refused(shipped())
    if wrong:
        raise Failed("; ".join(wrong))
    return unchanged([licences.PAGE], *MAKE, "licences", log="licences")


def all_that_ships_is_listed() -> str:
    try:
        text = sbom.bill(shipped())
    except ValueError as exc:
        raise Failed(str(exc)) from None
    if sbom.bill(shipped()) != text:
        raise Failed("two lists of the same release differ")
    sbom.FILE.parent.mkdir(exist_ok=True)
    sbom.FILE.write_text(text)
    return f"{sbom.FILE.relative_to(ROOT)} keeps to CycloneDX"


def nothing_is_known_to_be_vulnerable() -> str:
    said = _last_line(run(*MAKE, "audit", log="audit"))
    if "skipped" in said:
        raise NotChecked(said)
    return said


def wheel_is_reproducible() -> str:
    """Two builds are the same bytes; the wheel is left in dist/."""
    run(*MAKE, "dashboard", log="dashboard")
    with TemporaryDirectory() as name:
        try:
            first, second = wheel.build(wheel.DIST), wheel.build(Path(name))
        except SystemExit as exc:
            raise (NotChecked if UNREACHABLE.search(str(exc)) else Failed)(_last_line(str(exc))) from None
        if first.read_bytes() != second.read_bytes():
            raise Failed("two builds of the same commit differ")
    return f"{wheel.sha256_of(first)}  {first.relative_to(ROOT)}, built twice"


def wheel_serves() -> str:
    """The wheel alone, in an empty folder, is a server. A test that is skipped leaves that unknown."""
    said = run(PYTHON, "-m", "pytest", "-q", "-m", "not soak", "tests/test_wheel.py", log="wheel")
    if " skipped" in _last_line(said):
        raise NotChecked(_last_line(said))
    return _last_line(said)


def all_tests_pass() -> str:
    if os.environ.get("QUICK"):
        raise NotChecked("QUICK is set; `make release-check` runs them")
    said = _last_line(run(*MAKE, "test", log="tests"))
    return said.strip("= ")


def command(*words: str, log: str) -> Check:
    """A check that passes if a command does."""

    def check() -> str:
        run(*words, log=log)
        return f"{_spoken(words)} passes"

    return check


def checks() -> dict[str, Check]:
    """All checks by name, in their order: what is quick and often wrong comes first."""
    changelog = (ROOT / "CHANGELOG.md").read_text()
    return {
        "tree": clean_tree,
        "version": lambda: version_is_new(VERSION),
        "changelog": lambda: changelog_tells(VERSION, changelog),
        "licence": has_licence,
        "style and types": command(*MAKE, "check", log="check"),
        "lists of packages": lists_are_current,
        "licences of others": licences_are_allowed,
        "list of all that ships": all_that_ships_is_listed,
        "known vulnerabilities": nothing_is_known_to_be_vulnerable,
        "OpenAPI": lambda: unchanged([ROOT / name for name in OPENAPI], *MAKE, "openapi", log="openapi"),
        "AsyncAPI": lambda: unchanged([ROOT / name for name in ASYNCAPI], *MAKE, "asyncapi", log="asyncapi"),
        "models": command(PYTHON, "-m", "app", "models", "verify", log="models"),
        "docs": command(*MAKE, "docs", log="docs"),
        "wheel": wheel_is_reproducible,
        "server from the wheel": wheel_serves,
        "tests": all_tests_pass,
    }


def outcome(name: str, check: Check) -> Result:
    try:
        return Result(name, "passed", check())
    except NotChecked as exc:
        return Result(name, "not checked", str(exc))
    except Failed as exc:
        return Result(name, "FAILED", str(exc))


def summary(results: Sequence[Result]) -> str:
    """The last line: how many checks passed, and which did not."""
    names = {
        word: [result.name for result in results if result.outcome == word]
        for word in ("passed", "FAILED", "not checked")
    }
    parts = [f"{len(names['passed'])} passed"]
    parts += [
        f"{len(names[word])} {word} ({', '.join(names[word])})" for word in ("FAILED", "not checked") if names[word]
    ]
    return f"release check: {', '.join(parts)}"


def main(selected: Mapping[str, Check]) -> int:
    results = []
    for name, check in selected.items():
        results.append(outcome(name, check))
        print(results[-1], flush=True)
    print(summary(results))
    return int(any(result.outcome == "FAILED" for result in results))


def unchanged(files: Sequence[Path], *words: str, log: str) -> str:
    """A command writes files that are the same as before; they are put back if they are not."""
    before = {file: file.read_bytes() for file in files}
    try:
        run(*words, log=log)
    except Failed as exc:
        raise (NotChecked if UNREACHABLE.search((LOGS / f"{log}.log").read_text()) else Failed)(str(exc)) from None
    changed = [file for file, content in before.items() if file.read_bytes() != content]
    for file in changed:
        file.write_bytes(before[file])
    if changed:
        raise Failed(f"{_spoken(words)} writes another {', '.join(str(file.relative_to(ROOT)) for file in changed)}")
    return f"{len(files)} {'file' if len(files) == 1 else 'files'} as {_spoken(words)} writes them"


def _spoken(words: Sequence[str]) -> str:
    """A command as somebody would type it."""
    return f"`{' '.join(word for word in words if word != MAKE[1]).replace(PYTHON, '.venv/bin/python')}`"


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it printed nothing")


if __name__ == "__main__":
    sys.exit(main(checks()))
