"""The registry of model sets on disk: `MODELS_DIR/<set>/manifest.json` and the files that it names, and
`MODELS_DIR/promoted.json`, which says what is served.

A set is never changed: its name is a hash of what it holds, so that the same training gives the same name. Sets and promotions
are written whole or not at all. Reading executes nothing and refuses with a reason whatever is damaged.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np

from app.errors import BadRequest, BrokenData
from app.model.artefact import (
    PROVENANCE,
    SCHEMA_VERSION,
    Arrays,
    Metadata,
    ModelSet,
    PolicyStamp,
    content_hash,
    model_of,
)
from app.model.promotions import PROMOTED, SET_NAME, Promotion, Promotions, as_json, checked_name, of_json
from app.model.swing_artefact import swing_model_of
from app.model.v6 import V6Model

MANIFEST: Final = "manifest.json"
PREFIX: Final = "v6"
SWING: Final = "swing"
"""The member of a set that is about all tickers."""

MEMBER: Final = re.compile(r"[A-Za-z][A-Za-z0-9.]{0,15}")
MAX_MEMBERS: Final = 200
MAX_FILE_BYTES: Final = 64 * 2**20
MAX_TEXT_BYTES: Final = 2**20
"""Of the manifest and of promoted.json."""

COUNTS_AFTER: Final = timedelta(seconds=4)
"""From how long after its making on a promotion counts: it is written by then, so that all who ask for the set of a moment see
the same promotions."""

UNFINISHED: Final = ".part-"
M = TypeVar("M")


class Member(NamedTuple):
    """One artefact of a set as it lies on disk."""

    arrays: Arrays
    metadata: Metadata
    sha256: str


class Written(NamedTuple):
    """What a training run wrote. is_new: False if the registry had the set already."""

    name: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class SetFiles:
    """The files of one set, whose manifest fits them. members: the manifest's entries."""

    folder: Path
    members: Mapping[str, Mapping[str, Any]]

    def member(self, member: str) -> Member:
        """One artefact. Raises BrokenData if it is not there or not what the manifest says."""
        entry = self.members.get(member)
        if not isinstance(entry, dict):
            raise BrokenData(f"the manifest lists no model for {member}")
        try:
            arrays = _arrays(self._checked(entry, f"{_stem(member)}.npz"))
            metadata = json.loads(self._checked(entry, f"{_stem(member)}.json"))
            is_whole = content_hash(arrays, metadata) == entry["artifact_sha256"]
        except (KeyError, ValueError, TypeError) as exc:
            raise BrokenData("its metadata is incomplete", detail=f"its metadata is incomplete ({exc!r})") from None
        if not is_whole:
            raise BrokenData("its content does not match the manifest's hash")
        if described_hash(metadata) != entry.get("described_sha256"):
            raise BrokenData("what its metadata says does not match the manifest's hash")
        return Member(arrays, metadata, entry["artifact_sha256"])

    def _checked(self, entry: Mapping[str, Any], name: str) -> bytes:
        content = _read(self.folder / name, MAX_FILE_BYTES)
        if hashlib.sha256(content).hexdigest() != entry["files"][name]:
            raise BrokenData(f"{name} is damaged: its hash is not the manifest's")
        return content


@dataclass(frozen=True, slots=True)
class Registry:
    """The model sets of a folder, and which of them is served."""

    folder: Path

    def names(self) -> list[str]:
        """The sets that there are, by name."""
        try:
            entries = sorted(self.folder.iterdir())
        except OSError:
            return []
        return [e.name for e in entries if SET_NAME.fullmatch(e.name) and (e / MANIFEST).exists()]

    def files(self, name: str) -> SetFiles:
        """The files of a set. Raises BrokenData if the manifest is damaged, or another set's."""
        folder = self.folder / checked_name(name)
        members = _members(folder)
        if set_name(members) != name:
            raise BrokenData(f"the folder {name} holds another set, {set_name(members)}")
        return SetFiles(folder, members)

    def load(self, name: str, tickers: tuple[str, ...], policy: PolicyStamp) -> ModelSet:
        """Every ticker's model of a set and the swing models, or why one is refused. Never raises: a server without models
        still answers."""
        models: dict[str, V6Model] = {}
        missing: dict[str, str] = {}
        try:
            files = self.files(name)
        except BrokenData as exc:
            return ModelSet({}, dict.fromkeys((*tickers, SWING), exc.message), name)
        for ticker in tickers:
            try:
                models[ticker] = _model(files, ticker, partial(model_of, ticker, policy=policy))
            except BrokenData as exc:
                missing[ticker] = exc.message
        swing = None
        try:
            swing = _model(files, SWING, partial(swing_model_of, policy=policy))
        except BrokenData as exc:
            missing[SWING] = exc.message
        return ModelSet(models, missing, name, swing)

    def faults(self, name: str, tickers: tuple[str, ...], policy: PolicyStamp) -> Mapping[str, str]:
        """Why this server cannot serve a set, by member; nothing if it can."""
        missing = self.load(name, tickers, policy).missing
        try:
            files = self.files(name)
        except BrokenData:
            return missing
        faults = {member: why for member, why in missing.items() if member in (*tickers, *files.members)}
        for member in files.members.keys() - {*tickers, *faults}:
            try:
                files.member(member)
            except BrokenData as exc:
                faults[member] = f"{member}: {exc.message}"
        return faults

    def write(self, artefacts: Mapping[str, tuple[Arrays, Metadata]]) -> Written:
        """Write what a training run made, by ticker (or SWING), whole or not at all. A set that is there and whole stays."""
        files, members = _encoded(artefacts)
        name = set_name(members)
        manifest = {"schema_version": SCHEMA_VERSION, "models": members}
        files[MANIFEST] = _json({**manifest, "manifest_sha256": _self_hash(manifest)})
        self.folder.mkdir(parents=True, exist_ok=True)
        with _locked(self.folder):
            is_new = not self._is_whole(name)
            if is_new:
                self._install(name, files)
        return Written(name, is_new)

    def promotions(self) -> Promotions:
        """Raises BrokenData if there are none, or the file is damaged."""
        return of_json(_read(self.folder / PROMOTED, MAX_TEXT_BYTES))

    def stamp(self) -> object:
        """Changes with the promotions, and costs less to read than they do."""
        try:
            known = (self.folder / PROMOTED).stat()
        except OSError:
            return None
        return known.st_mtime_ns, known.st_size, known.st_ino

    def promote(self, name: str, clock: Callable[[], datetime]) -> Promotions:
        """Have a set served from the next decision hour on. clock: real time. Raises BadRequest if there is no such set."""
        if checked_name(name) not in self.names():
            raise BadRequest(f"there is no model set {name}")

        def promoted(before: Promotions | None, at: datetime) -> Promotions:
            return Promotions((Promotion(name, at),)) if before is None else before.promote(name, at)

        return self._change(promoted, clock)

    def roll_back(self, clock: Callable[[], datetime]) -> Promotions:
        """Have the set before served from the next decision hour on. clock: real time. Raises BadRequest if there is none."""

        def rolled_back(before: Promotions | None, at: datetime) -> Promotions:
            if before is None:
                raise BadRequest("no model set is promoted")
            return before.roll_back(at)

        return self._change(rolled_back, clock)

    def _change(
        self, change: Callable[[Promotions | None, datetime], Promotions], clock: Callable[[], datetime]
    ) -> Promotions:
        """Write a promotion that counts from a moment on which is still to come once it can be read: where the disk takes
        longer than that, it is written anew with a later one."""
        with _locked(self.folder):
            before = self.promotions() if (self.folder / PROMOTED).exists() else None
            unfinished, began, counts_after = self.folder / f"{UNFINISHED}{PROMOTED}", clock(), COUNTS_AFTER
            while True:
                promotions = change(before, began + counts_after)
                _write(unfinished, _json(as_json(promotions)))
                if clock() - began < counts_after / 2:
                    break
                began, counts_after = clock(), 2 * counts_after
            unfinished.replace(self.folder / PROMOTED)
            _sync_folder(self.folder)
        return promotions

    def _is_whole(self, name: str) -> bool:
        try:
            files = self.files(name)
            for member in files.members:
                files.member(member)
        except BrokenData:
            return False
        return True

    def _install(self, name: str, files: Mapping[str, bytes]) -> None:
        for left in self.folder.glob(f"{UNFINISHED}*/"):  # by a run that was broken off
            shutil.rmtree(left)
        partial, damaged = self.folder / f"{UNFINISHED}{name}", self.folder / f"{UNFINISHED}{name}-damaged"
        partial.mkdir()
        for file, content in files.items():
            _write(partial / file, content)
        _sync_folder(partial)
        if (self.folder / name).exists():
            (self.folder / name).replace(damaged)
        partial.replace(self.folder / name)
        _sync_folder(self.folder)
        shutil.rmtree(damaged, ignore_errors=True)


def set_name(members: Mapping[str, Mapping[str, Any]]) -> str:
    """Names what a set holds: the hashes of its artefacts (ruling L4), and what else is said of them but their provenance."""
    try:
        parts = [[member, entry["artifact_sha256"], entry["described_sha256"]] for member, entry in members.items()]
    except (KeyError, TypeError, AttributeError):
        raise BrokenData("the model manifest is damaged") from None
    return f"{PREFIX}-{hashlib.sha256(json.dumps(sorted(parts)).encode()).hexdigest()[:12]}"


def _model(files: SetFiles, member: str, of: Callable[[Arrays, Metadata, str], M]) -> M:
    """The model of a member of a set. Raises BrokenData with the reason if it is not there, or is refused."""
    try:
        return of(*files.member(member))
    except BrokenData as exc:
        if member not in files.members:
            raise
        message = f"model of {member} refused"
        raise BrokenData(f"{message}: {exc.message}", detail=f"{message}: {exc.detail}") from None


def _members(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    try:
        manifest = json.loads(_read(folder / MANIFEST, MAX_TEXT_BYTES))
        stated_hash = manifest.pop("manifest_sha256")
        members: Mapping[str, Mapping[str, Any]] = manifest["models"]
        if stated_hash != _self_hash(manifest):
            raise BrokenData("the model manifest does not match its own hash")
        if manifest["schema_version"] != SCHEMA_VERSION:
            raise BrokenData("the model manifest's schema_version is not this server's")
        if len(members) > MAX_MEMBERS or not all(map(MEMBER.fullmatch, members)):
            raise ValueError
    except (KeyError, ValueError, TypeError, AttributeError):
        raise BrokenData("the model manifest is damaged") from None
    return members


def _encoded(artefacts: Mapping[str, tuple[Arrays, Metadata]]) -> tuple[dict[str, bytes], dict[str, dict[str, Any]]]:
    """The files of artefacts, and their entries in the manifest."""
    files: dict[str, bytes] = {}
    members = {}
    for member, (arrays, metadata) in sorted(artefacts.items()):
        own = {f"{_stem(member)}.npz": _npz(arrays), f"{_stem(member)}.json": _json(metadata)}
        members[member] = {
            "artifact_sha256": content_hash(arrays, metadata),
            "described_sha256": described_hash(metadata),
            "files": {name: hashlib.sha256(content).hexdigest() for name, content in own.items()},
        }
        files |= own
    return files, members


def described_hash(metadata: Metadata) -> str:
    """SHA-256 of all that is said of an artefact but its provenance. It is made at every load: without white space the encoder
    takes a tenth of the time."""
    said = {key: value for key, value in metadata.items() if key not in PROVENANCE}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _stem(member: str) -> str:
    return SWING if member == SWING else f"{PREFIX}_{member}"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One process at a time writes to a registry."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _read(path: Path, at_most: int) -> bytes:
    try:
        if path.stat().st_size > at_most:
            raise BrokenData(f"{path.name} is too large for a model")
        return path.read_bytes()
    except OSError as exc:
        raise BrokenData(f"{path.name} cannot be read: {exc.strerror}") from None


def _arrays(content: bytes) -> Arrays:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_FILE_BYTES:
                raise BrokenData("the arrays are too large for a model")
        with np.load(io.BytesIO(content), allow_pickle=False) as loaded:
            return {name: loaded[name] for name in loaded.files}
    except (ValueError, zipfile.BadZipFile, EOFError) as exc:
        raise BrokenData("the arrays cannot be read", detail=f"the arrays cannot be read: {exc}") from None


def _npz(arrays: Arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **dict(arrays))
    return buffer.getvalue()


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _self_hash(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(_json(manifest)).hexdigest()


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
