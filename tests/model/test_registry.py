"""The registry of model sets: what a training run writes, which set is promoted, and what is refused."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.config.settings import ARTEFACTS
from app.errors import BadRequest, BrokenData
from app.factory import POLICY
from app.model import registry as registry_module
from app.model.artefact import ModelSet, PolicyStamp
from app.model.promotions import MAX_KEPT, PROMOTED, Promotion, Promotions, as_json, of_json
from app.model.registry import MANIFEST, MAX_FILE_BYTES, SWING, Registry
from app.model.served import ServableSets, load_models
from app.signals.policy import SUPPORTED
from tests.support import FakeClock, counting_from, models_saying, promoted_files, promoted_set, save_models
from tests.waiting import PATIENCE_S

TEN = datetime(2025, 3, 11, 14, tzinfo=UTC)
HALF_AN_HOUR = timedelta(minutes=30)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ARTEFACTS, tmp_path / "models"))


def loaded(folder: Path) -> ModelSet:
    return load_models(folder, SUPPORTED, POLICY)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def members(folder: Path) -> dict[str, tuple[Any, Any]]:
    files = promoted_files(folder)
    return {member: files.member(member)[:2] for member in (*SUPPORTED, SWING)}


# --- what is refused, while the others serve ---


@pytest.mark.parametrize("flips", [12, pytest.param(40, marks=pytest.mark.soak)])
@pytest.mark.parametrize("name", ["v6_SPY.npz", "v6_SPY.json"])
def test_any_flipped_byte_is_refused_and_the_others_serve(folder: Path, name: str, flips: int) -> None:
    path = promoted_set(folder) / name
    original = path.read_bytes()
    for position in range(0, len(original), max(1, len(original) // flips)):
        broken = bytearray(original)
        broken[position] ^= 0x01
        path.write_bytes(bytes(broken))
        found = loaded(folder)
        assert found.missing == {"SPY": f"model of SPY refused: {name} is damaged: its hash is not the manifest's"}
        assert set(found.models) == {"QQQ", "IWM"}


def test_any_flipped_byte_of_the_manifest_refuses_all(folder: Path) -> None:
    path = promoted_set(folder) / MANIFEST
    original = path.read_bytes()
    for position in range(0, len(original) - 1, 5):
        broken = bytearray(original)
        broken[position] ^= 0x01
        path.write_bytes(bytes(broken))
        found = loaded(folder)
        assert found.models == {}, f"byte {position}: {chr(original[position])!r} -> {chr(broken[position])!r}"
        assert all(found.missing.values())


@pytest.mark.parametrize("name", ["v6_SPY.npz", "v6_SPY.json"])
@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_truncated_file_is_refused(folder: Path, name: str, kept: int) -> None:
    path = promoted_set(folder) / name
    path.write_bytes(path.read_bytes()[:kept])
    assert f"model of SPY refused: {name} is damaged" in loaded(folder).missing["SPY"]


def test_missing_files_are_named(folder: Path) -> None:
    (promoted_set(folder) / "v6_SPY.npz").unlink()
    assert loaded(folder).missing == {
        "SPY": "model of SPY refused: v6_SPY.npz cannot be read: No such file or directory"
    }
    shutil.rmtree(promoted_set(folder))
    assert "manifest.json cannot be read" in loaded(folder).missing["QQQ"]
    shutil.rmtree(folder)
    assert "promoted.json cannot be read" in loaded(folder).missing["QQQ"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda metadata: metadata.update(ticker="QQQ"), "ticker is not what this server computes"),
        (lambda metadata: metadata["feature_cols"].reverse(), "feature_cols is not what this server computes"),
        (lambda metadata: metadata.update(schema_version=99), "schema_version is not what this server computes"),
        (lambda metadata: metadata.pop("slots"), "its metadata is incomplete"),
    ],
    ids=["wrong ticker", "wrong feature list", "future schema", "incomplete"],
)
def test_what_means_something_else_is_refused_by_name_and_the_others_serve(
    folder: Path, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    arrays, metadata = members(folder)["SPY"]
    changed = json.loads(json.dumps(dict(metadata)))
    change(changed)
    save_models(folder / "other", {**members(folder), "SPY": (arrays, changed)})
    found = loaded(folder / "other")
    assert found.missing == {"SPY": f"model of SPY refused: {why}"}
    assert set(found.models) == {"QQQ", "IWM"}


def test_claims_that_were_changed_under_new_hashes_of_files_are_refused(folder: Path) -> None:
    """The set keeps its name, which is made from what its artefacts said when they were written."""
    at = promoted_set(folder)
    path, manifest = at / "v6_SPY.json", json.loads((at / "manifest.json").read_text())
    about = json.loads(path.read_text())
    about["accuracy"]["early"] = 0.99
    path.write_bytes(registry_module._json(about))
    manifest["models"]["SPY"]["files"]["v6_SPY.json"] = hashlib.sha256(path.read_bytes()).hexdigest()
    del manifest["manifest_sha256"]
    manifest["manifest_sha256"] = registry_module._self_hash(manifest)
    (at / "manifest.json").write_bytes(registry_module._json(manifest))
    assert "what its metadata says does not match" in loaded(folder).missing["SPY"]
    assert set(loaded(folder).models) == {"QQQ", "IWM"}


def test_another_tickers_files_under_right_names_are_refused(folder: Path) -> None:
    at = promoted_set(folder)
    shutil.copy(at / "v6_QQQ.json", at / "v6_SPY.json")
    assert "v6_SPY.json is damaged" in loaded(folder).missing["SPY"]


def test_a_manifest_of_a_later_release_is_named_as_such(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artefacts = members(folder)
    with monkeypatch.context() as later:
        later.setattr(registry_module, "SCHEMA_VERSION", 99)
        save_models(folder / "later", artefacts)
    assert set(loaded(folder / "later").missing.values()) == {
        "the model manifest's schema_version is not this server's"
    }


def test_a_set_in_a_folder_of_another_name_is_refused(folder: Path) -> None:
    own = promoted_set(folder)
    own.rename(folder / "v6-000000000000")
    assert Registry(folder).faults("v6-000000000000", SUPPORTED, POLICY) == dict.fromkeys(
        (*SUPPORTED, SWING), f"the folder v6-000000000000 holds another set, {own.name}"
    )


def test_a_file_that_is_too_large_is_not_read(folder: Path) -> None:
    with (promoted_set(folder) / "v6_SPY.npz").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert loaded(folder).missing["SPY"] == "model of SPY refused: v6_SPY.npz is too large for a model"


def test_arrays_that_unpack_to_too_much_are_not_unpacked(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, zeros=np.zeros(MAX_FILE_BYTES // 8 + 1))
    assert path.stat().st_size < 2**20
    with pytest.raises(BrokenData, match="too large for a model"):
        registry_module._arrays(path.read_bytes())


@pytest.mark.parametrize("name", ["", "..", "../v6-e1b2d1ace99c", "/etc", "a/b", "V6", ".part-x", "a" * 65])
def test_a_name_that_leads_elsewhere_is_refused(folder: Path, name: str) -> None:
    before = content(folder)
    with pytest.raises(BadRequest, match="lower-case letters, digits and hyphens"):
        Registry(folder).promote(name, counting_from(TEN))
    with pytest.raises(BadRequest, match="lower-case letters, digits and hyphens"):
        Registry(folder).files(name)
    assert content(folder) == before


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"not json",
        b'{"schema_version": 1, "promoted": "../x", "before": [], "history": [{"set": "../x", "at": "2026-01-01T00:00:00Z"}]}',
        b'{"schema_version": 1, "promoted": "v6-a", "before": [], "history": []}',
        b'{"schema_version": 1, "promoted": "v6-a", "before": [], "history": [{"set": "v6-a", "at": "2026-01-01T00:00:00"}]}',
        b'{"schema_version": 1, "promoted": "v6-b", "before": [], "history": [{"set": "v6-a", "at": "2026-01-01T00:00:00Z"}]}',
        b'{"schema_version": 2, "promoted": "v6-a", "before": [], "history": [{"set": "v6-a", "at": "2026-01-01T00:00:00Z"}]}',
    ],
)
def test_promotions_that_make_no_sense_serve_nothing_and_say_so(folder: Path, text: bytes) -> None:
    (folder / PROMOTED).write_bytes(text)
    assert set(loaded(folder).missing.values()) == {"promoted.json is damaged, or of a later release"}


# --- writing ---


def test_the_same_training_gives_the_same_name_and_writes_nothing_new(folder: Path) -> None:
    registry, before = Registry(folder), content(folder)
    again = {
        t: (arrays, {**metadata, "trained_at": "2030-01-01T00:00:00+00:00"})
        for t, (arrays, metadata) in members(folder).items()
    }
    assert registry.write(again) == (promoted_set(folder).name, False)
    assert content(folder) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays, metadata: ({**arrays, "late_b/line": arrays["late_b/line"] + 1e-15}, metadata),
        lambda arrays, metadata: (arrays, {**metadata, "data": {**metadata["data"], "sha256": "other"}}),
        lambda arrays, metadata: (arrays, {**metadata, "feature_code_hash": "other"}),
        lambda arrays, metadata: (arrays, {**metadata, "evaluation": {}}),
    ],
    ids=["arrays", "data", "feature code", "report"],
)
def test_another_content_is_another_set_beside_the_first(folder: Path, change: Callable[[Any, Any], Any]) -> None:
    registry, before = Registry(folder), content(folder)
    name, is_new = registry.write({**members(folder), "SPY": change(*members(folder)["SPY"])})
    assert is_new
    assert registry.names() == sorted({name, promoted_set(folder).name})
    assert before.items() <= content(folder).items(), "what was there stays, also what is promoted"


def test_a_damaged_set_is_written_anew_by_the_same_training(folder: Path) -> None:
    right = members(folder)
    (promoted_set(folder) / "v6_SPY.npz").write_bytes(b"damaged")
    assert Registry(folder).write(right) == (promoted_set(folder).name, True)
    assert loaded(folder).missing == {}
    assert Registry(folder).names() == [promoted_set(folder).name]


def _dies(at: str, work: Callable[[], object]) -> None:
    """Run `work` in a process that is killed at the first call of os.`at`, as a machine that loses its power."""

    def child() -> None:
        setattr(os, at, lambda *_, **__: os._exit(9))
        work()
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(PATIENCE_S)
    assert process.exitcode == 9


@pytest.mark.parametrize("at", ["mkdir", "fsync", "replace"])
def test_a_crash_in_the_middle_of_training_leaves_what_is_served_and_nothing_half_written(
    folder: Path, at: str
) -> None:
    registry, before = Registry(folder), content(folder)
    other = members(models_saying(folder.parent / "other", 0.9))
    _dies(at, lambda: registry.write(other))
    assert registry.names() == [promoted_set(folder).name]
    assert before.items() <= content(folder).items()
    name, is_new = registry.write(other)
    assert is_new
    assert {path.name for path in folder.iterdir()} == {PROMOTED, name, promoted_set(folder).name}


@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_a_crash_in_the_middle_of_a_promotion_leaves_what_is_served(folder: Path, at: str) -> None:
    registry, served = Registry(folder), loaded(folder).name
    name = registry.write(members(models_saying(folder.parent / "other", 0.9))).name
    _dies(at, lambda: registry.promote(name, counting_from(TEN)))
    assert loaded(folder).name == served != name
    registry.promote(name, counting_from(TEN))
    assert loaded(folder).name == name


def test_a_promotion_that_takes_long_to_write_counts_from_a_moment_after_it_can_be_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, write = FakeClock(TEN), registry_module._write
    for seconds in (3, 1):
        monkeypatch.setattr(
            registry_module, "_write", lambda *file, s=seconds: (write(*file), clock.forward(seconds=s))
        )
        made = Registry(folder).promote(promoted_set(folder).name, clock)
        assert made.history[0].at > clock.at, seconds
        assert Registry(folder).promotions() == made


def test_a_disk_that_is_full_leaves_what_is_served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(folder)
    other = members(models_saying(folder.parent / "other", 0.9))
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            Registry(folder).write(other)
    assert loaded(folder).name == promoted_set(folder).name
    assert before.items() <= content(folder).items()


def test_two_trainings_at_once_both_leave_their_sets(folder: Path) -> None:
    sets = [members(models_saying(folder.parent / f"m{p}", p)) for p in (0.1, 0.2, 0.8, 0.9)]
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=Registry(folder).write, args=(one,)) for one in sets]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(PATIENCE_S)
        assert writer.exitcode == 0
    registry = Registry(folder)
    assert len(registry.names()) == 5
    assert all(registry.faults(name, SUPPORTED, POLICY) == {} for name in registry.names())


# --- which one is served ---


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A registry to copy, and the names of its sets `a`, `b` and `c`, promoted at 10:00, 10:30 and 11:00."""
    folder, names = tmp_path_factory.mktemp("written"), []
    for i, p in enumerate((0.1, 0.5, 0.9)):
        files = members(models_saying(folder / f"p{p}", p))
        names.append(save_models(folder / "m", files, TEN + i * HALF_AN_HOUR).name)
    return folder / "m", names


@pytest.fixture
def three_sets(tmp_path: Path, written: tuple[Path, list[str]]) -> list[str]:
    """The names of the sets of a registry at `m`."""
    folder, names = written
    shutil.copytree(folder, tmp_path / "m")
    return names


def test_the_last_promotion_is_served_and_each_rollback_goes_one_further_back(
    tmp_path: Path, three_sets: list[str]
) -> None:
    a, b, c = three_sets
    registry = Registry(tmp_path / "m")
    assert (loaded(registry.folder).name, registry.promotions().before) == (c, (b, a))
    assert registry.roll_back(counting_from(TEN)).promoted == loaded(registry.folder).name == b
    assert registry.roll_back(counting_from(TEN)).promoted == loaded(registry.folder).name == a
    with pytest.raises(BadRequest, match=f"no set was promoted before {a}, so there is none to return to"):
        registry.roll_back(counting_from(TEN))
    registry.promote(c, counting_from(TEN))
    assert registry.promotions().before == (a,)


def test_promoting_what_is_promoted_changes_no_rollback(tmp_path: Path, three_sets: list[str]) -> None:
    a, b, c = three_sets
    promotions = Registry(tmp_path / "m").promote(c, counting_from(TEN))
    assert (promotions.promoted, promotions.before) == (c, (b, a))


def test_a_moment_has_the_set_that_was_promoted_then_through_rollbacks_too(
    tmp_path: Path, three_sets: list[str]
) -> None:
    a, b, c = three_sets
    promotions = Registry(tmp_path / "m").roll_back(counting_from(TEN + 3 * HALF_AN_HOUR))

    def at(minutes: int) -> str:
        return promotions.made_by(TEN + timedelta(minutes=minutes), lambda moment: moment)[0].name

    assert [at(minutes) for minutes in (0, 29, 30, 59, 60, 89, 90, 900)] == [a, a, b, b, c, c, b, b]
    assert at(-60) == a, "before the first promotion there was no other one"


def test_what_is_kept_of_promotions_is_bounded() -> None:
    kept = Promotions((Promotion("a", TEN),))
    for i in range(2 * MAX_KEPT):
        kept = kept.promote(("a", "b")[i % 2], TEN + timedelta(days=1 + i))
    assert (len(kept.history), len(kept.before), kept.promoted) == (MAX_KEPT, MAX_KEPT, "b")
    assert of_json(json.dumps(as_json(kept)).encode()) == kept


def broken(folder: Path, name: str, member: str) -> None:
    (folder / name / f"v6_{member}.npz").write_bytes(b"damaged")


def served(folder: Path) -> tuple[str, str | None]:
    choice = ServableSets(Registry(folder), SUPPORTED, POLICY).newest()
    return choice.models.name, choice.refused


def test_a_promoted_set_that_lacks_a_model_of_the_one_before_is_not_served_and_nothing_is_mixed(
    tmp_path: Path, three_sets: list[str]
) -> None:
    _, b, c = three_sets
    broken(tmp_path / "m", c, "IWM")
    why = "model of IWM refused: v6_IWM.npz is damaged: its hash is not the manifest's"
    assert served(tmp_path / "m") == (b, f"the promoted set {c} is not served: {why}")


def test_the_one_before_that_is_broken_too_leads_to_the_one_before_it(tmp_path: Path, three_sets: list[str]) -> None:
    a, b, c = three_sets
    broken(tmp_path / "m", c, "IWM")
    shutil.rmtree(tmp_path / "m" / b)
    name, refused = served(tmp_path / "m")
    assert name == a
    assert refused is not None
    assert c in refused


def test_a_set_that_lacks_what_the_one_before_lacks_too_is_served(tmp_path: Path, three_sets: list[str]) -> None:
    *_, c = three_sets
    for name in Registry(tmp_path / "m").names():
        broken(tmp_path / "m", name, "IWM")
    assert served(tmp_path / "m") == (c, None)
    assert set(loaded(tmp_path / "m").missing) == {"IWM"}


def test_a_broken_set_with_none_before_it_serves_what_it_has(folder: Path) -> None:
    broken(folder, promoted_set(folder).name, "IWM")
    assert served(folder) == (promoted_set(folder).name, None)
    assert set(loaded(folder).models) == {"SPY", "QQQ"}


def test_a_set_that_was_repaired_is_served_once_it_is_promoted_again(tmp_path: Path, three_sets: list[str]) -> None:
    _, b, c = three_sets
    right = (tmp_path / "m" / c / "v6_IWM.npz").read_bytes()
    broken(tmp_path / "m", c, "IWM")
    sets = ServableSets(Registry(tmp_path / "m"), SUPPORTED, POLICY)
    assert sets.newest().models.name == b
    (tmp_path / "m" / c / "v6_IWM.npz").write_bytes(right)
    assert sets.newest().models.name == b, "no hour is decided by two sets because a file came back"
    Registry(tmp_path / "m").promote(c, counting_from(TEN + timedelta(days=1)))
    assert sets.newest().models.name == c


def test_another_policy_refuses_every_set(folder: Path) -> None:
    faults = Registry(folder).faults(promoted_set(folder).name, SUPPORTED, PolicyStamp("2030-01-01", 0.75, 0.25))
    assert set(faults) == {*SUPPORTED, SWING}
