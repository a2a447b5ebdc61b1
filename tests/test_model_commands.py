"""`models list`, `verify`, `promote`, `rollback`: what there is, what can be served, and what will be."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from app.cli import cli
from app.commands import model_sets
from app.config.settings import ARTEFACTS
from app.errors import PredictError
from app.model.promotions import PROMOTED
from app.model.registry import COUNTS_AFTER, SWING, Registry
from app.model.verdicts import counts_text, verdict_of_record
from app.signals.policy import SUPPORTED
from tests.support import models_saying, promoted_files, promoted_set, save_models


class Ended(NamedTuple):
    """How a command ended, and all that it said."""

    exit_code: int
    output: str


Run = Callable[..., Ended]
TAKEN_OVER = (
    "promoted. Servers on this folder take it over at the next decision hour, outside trading hours within a minute"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ARTEFACTS, tmp_path / "models"))


@pytest.fixture
def run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `models ...` on a copy of the shipped registry."""
    monkeypatch.setenv("MODELS_DIR", str(folder))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))

    def models(*args: str) -> Ended:
        result = CliRunner().invoke(cli, ["models", *args])
        error = f"Error: {result.exception.message}\n" if isinstance(result.exception, PredictError) else ""
        return Ended(result.exit_code, result.output + error)

    return models


def second_set(folder: Path) -> str:
    """Another set that is written and not promoted."""
    other = promoted_files(models_saying(folder.parent / "other", 0.9))
    return Registry(folder).write({ticker: other.member(ticker)[:2] for ticker in (*SUPPORTED, SWING)}).name


def test_list_says_of_each_set_when_and_on_what_it_was_trained_its_verdicts_and_which_one_is_promoted(
    run: Run, folder: Path
) -> None:
    shipped, new = promoted_set(folder).name, second_set(folder)
    abouts = [promoted_files(folder).member(member).metadata for member in (*SUPPORTED, SWING)]
    cells = [cell for about in abouts for cell in about["evaluation"].get("cells", [])]
    counts = counts_text(verdict_of_record(cell) for cell in cells)
    trained_at, last_day = max(a["trained_at"] for a in abouts), max(a["data"]["last_day"] for a in abouts)
    about = f"trained at {trained_at} on days to {last_day}; IWM, QQQ, SPY, swing; {counts}"
    assert sorted(run("list").output.splitlines()) == sorted([f"{shipped} (promoted): {about}", f"{new}: {about}"])
    run("promote", new)
    assert sorted(run("list").output.splitlines()) == sorted(
        [f"{shipped} (before it): {about}", f"{new} (promoted): {about}"]
    )


def test_list_names_a_set_that_cannot_be_read_and_goes_on(run: Run, folder: Path) -> None:
    new = second_set(folder)
    (folder / new / "v6_SPY.json").write_bytes(b"{}")
    lines = run("list").output.splitlines()
    assert lines[-1] == f"{new}: cannot be read: v6_SPY.json is damaged: its hash is not the manifest's"
    assert len(lines) == 2


def test_a_long_list_is_cut_and_says_so(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second_set(folder)
    monkeypatch.setattr(model_sets, "MAX_LISTED", 1)
    lines = run("list").output.splitlines()
    assert (len(lines), lines[-1]) == (2, "and 1 older ones")


def test_verify_ends_with_an_error_if_a_set_cannot_be_served(run: Run, folder: Path) -> None:
    shipped, new = promoted_set(folder).name, second_set(folder)
    whole = [f"{name}: whole, and this server can serve it" for name in sorted((shipped, new))]
    assert (run("verify").exit_code, run("verify").output.splitlines()) == (0, whole)
    (folder / new / "v6_QQQ.npz").write_bytes(b"damaged")
    verified = run("verify")
    why = "model of QQQ refused: v6_QQQ.npz is damaged: its hash is not the manifest's"
    assert verified.exit_code == 1
    assert f"{new}: {why}" in verified.output
    assert f"{shipped}: whole, and this server can serve it" in verified.output
    assert verified.output.endswith("Error: 1 of 2 model sets cannot be served\n")
    assert run("verify", shipped).exit_code == 0


def test_promote_and_rollback_say_what_is_served_next(run: Run, folder: Path) -> None:
    shipped, new = promoted_set(folder).name, second_set(folder)
    before = datetime.now(UTC)
    assert run("promote", new).output == f"{new}: {TAKEN_OVER}\n"
    promotions = Registry(folder).promotions()
    assert promotions.promoted == new
    assert before <= promotions.history[0].at <= datetime.now(UTC) + COUNTS_AFTER, "once every process can read it"
    assert run("rollback").output == f"{shipped}: {TAKEN_OVER}\n"
    assert Registry(folder).promotions().promoted == shipped
    nothing = run("rollback")
    assert nothing.exit_code == 1
    assert nothing.output == f"Error: no set was promoted before {shipped}, so there is none to return to\n"


def test_promote_refuses_a_set_that_cannot_be_served_and_a_name_that_is_none(run: Run, folder: Path) -> None:
    new, before = second_set(folder), (folder / PROMOTED).read_bytes()
    (folder / new / "v6_QQQ.npz").write_bytes(b"damaged")
    why = "model of QQQ refused: v6_QQQ.npz is damaged: its hash is not the manifest's"
    refused = {
        new: f"{new} is not promoted: {why}",
        "v6-nowhere": "there is no model set v6-nowhere",
        "../models": "the name of a model set has lower-case letters, digits and hyphens alone, 64 at most",
    }
    for name, message in refused.items():
        result = run("promote", name)
        assert (result.exit_code, result.output) == (1, f"Error: {message}\n")
    assert (folder / PROMOTED).read_bytes() == before


def test_rollback_refuses_a_set_that_cannot_be_served_any_more(run: Run, folder: Path) -> None:
    shipped, new = promoted_set(folder).name, second_set(folder)
    run("promote", new)
    shutil.rmtree(folder / shipped)
    result = run("rollback")
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {shipped} is not promoted: manifest.json cannot be read")
    assert Registry(folder).promotions().promoted == new


def test_a_folder_without_sets_is_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS_DIR", str(tmp_path / "nowhere"))
    for args in (["list"], ["verify"], ["promote", "v6-a"], ["rollback"]):
        result = run(*args)
        assert result.output == f"Error: MODELS_DIR: there are no model sets in {str(tmp_path / 'nowhere')!r}\n"
        assert result.exit_code == 1


def test_the_first_set_of_an_empty_folder_is_promoted_like_any_other(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    name = save_models(own, {t: promoted_files(ARTEFACTS).member(t)[:2] for t in SUPPORTED}).name
    (own / PROMOTED).unlink()
    monkeypatch.setenv("MODELS_DIR", str(own))
    assert run("list").output.startswith(f"{name}: trained at ")
    assert run("promote", name).exit_code == 0
    assert Registry(own).promotions().promoted == name
