"""The rehearsal of a release: what each check finds, what it says of what it cannot check, and the status."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from app.version import VERSION
from ops.release import check
from ops.release.check import Failed, NotChecked
from tests.markdown import ROOT


def passes() -> str:
    return "as it should be"


def fails() -> str:
    raise Failed("two builds differ")


def says_nothing() -> str:
    raise NotChecked("no network")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit."""
    git(tmp_path, "init", "--quiet")
    (tmp_path / "README.md").write_text("x")
    git(tmp_path, "add", "README.md")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "--allow-empty", "-m", "x")


def test_each_check_says_one_line_and_the_last_line_has_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main({"tree": passes, "wheel": fails, "audit": says_nothing}) == 1
    assert capsys.readouterr().out.splitlines() == [
        "passed       tree: as it should be",
        "FAILED       wheel: two builds differ",
        "not checked  audit: no network",
        "release check: 1 passed, 1 FAILED (wheel), 1 not checked (audit)",
    ]


def test_what_cannot_be_checked_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main({"tree": passes, "audit": says_nothing}) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "release check: 1 passed, 1 not checked (audit)"


def test_a_changed_file_is_no_release(repository: Path) -> None:
    assert check.clean_tree(repository).startswith("everything is committed, at ")
    (repository / "new.py").write_text("x")
    with pytest.raises(Failed, match=r"^1 files are not committed, among them new\.py$"):
        check.clean_tree(repository)


def test_a_version_that_another_commit_has_is_no_release(repository: Path) -> None:
    git(repository, "tag", "v1.2.0")
    assert check.version_is_new("1.2.0", repository) == "1.2.0, whose tag is free"
    commit(repository)
    with pytest.raises(Failed, match=r"^the tag v1\.2\.0 is there already, at another commit$"):
        check.version_is_new("1.2.0", repository)
    with pytest.raises(Failed, match="is not a version"):
        check.version_is_new("1.2", repository)


@pytest.mark.parametrize(
    ("changelog", "why"),
    [
        ("# Changes\n\n## 1.0.0\n\n- A\n", "the newest section is 1.0.0, not 1.1.0"),
        ("# Changes\n", "the newest section is missing, not 1.1.0"),
        ("# Changes\n\n## 1.1.0\n\n## 1.0.0\n\n- A\n", "the section 1.1.0 says nothing"),
    ],
)
def test_a_changelog_that_does_not_tell_of_the_version_fails(changelog: str, why: str) -> None:
    with pytest.raises(Failed, match=f"^{why}$"):
        check.changelog_tells("1.1.0", changelog)


def test_the_changelog_begins_with_the_version_of_the_server() -> None:
    check.changelog_tells(VERSION, (ROOT / "CHANGELOG.md").read_text())


def test_a_project_without_a_licence_is_said_to_have_none(tmp_path: Path) -> None:
    with pytest.raises(NotChecked, match="there is no LICENSE file"):
        check.has_licence(tmp_path)
    (tmp_path / "LICENSE.md").write_text("x")
    assert check.has_licence(tmp_path) == "LICENSE.md"


def test_a_file_that_its_command_writes_differently_fails_and_is_put_back(logs: Path) -> None:
    file = logs / "document.json"
    file.write_text("old")
    same, other = (["sh", "-c", f"printf {text} > {file}"] for text in ("old", "new"))
    assert check.unchanged([file], *same, log="document").startswith("1 file as ")
    with pytest.raises(Failed, match=r"writes another document\.json$"):
        check.unchanged([file], *other, log="document")
    assert file.read_text() == "old"


def test_a_command_that_reaches_no_registry_leaves_the_lists_unchecked(logs: Path) -> None:
    with pytest.raises(NotChecked, match="ends with 2"):
        check.unchanged([], "sh", "-c", "echo 'error: dns error'; exit 2", log="lock")
    with pytest.raises(Failed, match="ends with 2"):
        check.unchanged([], "sh", "-c", "echo 'error: conflict'; exit 2", log="lock")
    assert (logs / "lock.log").read_text() == "error: conflict\n"


@pytest.mark.parametrize(
    ("find", "printed", "outcome"),
    [
        (check.nothing_is_known_to_be_vulnerable, "audit: no known vulnerabilities in 3 packages", "passed"),
        (check.nothing_is_known_to_be_vulnerable, "audit skipped: no answer within 60 s", "not checked"),
        (check.wheel_serves, "10 passed in 54.26s", "passed"),
        (check.wheel_serves, "8 passed, 2 skipped in 1.26s", "not checked"),
    ],
)
def test_what_was_skipped_does_not_pass(
    find: Callable[[], str], printed: str, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "run", lambda *command, log: f"{printed}\n")
    assert check.outcome("it", find) == check.Result("it", outcome, printed)


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what commands print, and of the project."""
    monkeypatch.setattr(check, "LOGS", tmp_path)
    monkeypatch.setattr(check, "ROOT", tmp_path)
    return tmp_path
