"""Model artefacts on disk: arrays in `.npz` (no pickle), everything else in JSON, hashes in one manifest.

Loading executes nothing and refuses with a reason whatever does not match: a changed byte, other feature code, another
target definition, another policy (v6.md 8). The artefact's identity is the hash over its arrays, its feature list and
its data's hash (ruling L4); times and library versions are provenance beside it.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from app.errors import BrokenData
from app.model import features
from app.model.features import DECISION_HOURS, FEATURES, INPUTS, MIN_DAYS
from app.model.v6 import SLOTS, Accuracy, Logistic, Slot, V6Model

SCHEMA_VERSION = 1
FAMILY = "v6_intraday"
ENGINE_VERSION = "V6.1"
TARGETS = {"A": "A_close_gt_open_v1", "B": "B_close_gt_p1100_v2"}
MANIFEST = "manifest.json"
MAX_FILE_BYTES = 64 * 2**20

Arrays = Mapping[str, npt.NDArray[Any]]
Metadata = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PolicyStamp:
    """The policy a model must have been evaluated under: its version and its thresholds (long, short)."""

    spec_version: str
    long: float
    short: float


@dataclass(frozen=True, slots=True, eq=False)
class ModelSet:
    """What could be loaded, and for each ticker without a model the reason. Equal to itself alone, so that what is derived from
    it can be cached."""

    models: Mapping[str, V6Model]
    missing: Mapping[str, str]

    def that_decided(self, ticker: str, model_id: str) -> V6Model | None:
        """The model of a ticker, if it has this id: a signal of the record may be another one's."""
        model = self.models.get(ticker)
        return model if model is not None and model.model_id == model_id else None

    @property
    def set_id(self) -> str:
        """Names the loaded set: a hash over its members' hashes."""
        text = ",".join(f"{t}:{m.artifact_sha256}" for t, m in sorted(self.models.items()))
        return f"v6-{hashlib.sha256(text.encode()).hexdigest()[:12]}" if self.models else "none"


def feature_code_hash() -> str:
    """SHA-256 of the feature module's source: an artefact trained by other feature code is refused."""
    source = Path(features.__file__).read_bytes().replace(b"\r\n", b"\n")
    return hashlib.sha256(source).hexdigest()


def content_hash(arrays: Arrays, metadata: Metadata) -> str:
    """The artefact's identity: arrays, feature list and data hash (ruling L4)."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.tobytes())
    digest.update(json.dumps([metadata["feature_cols"], metadata["data"]["sha256"]]).encode())
    return digest.hexdigest()


def save_models(folder: Path, artefacts: Mapping[str, tuple[Arrays, Metadata]]) -> None:
    """Write all artefacts of a training run and the manifest beside them; each file whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = {}
    for ticker, (arrays, metadata) in sorted(artefacts.items()):
        files = {f"v6_{ticker}.npz": _npz(arrays), f"v6_{ticker}.json": _json(metadata)}
        for name, content in files.items():
            _write_whole(folder / name, content)
        entries[ticker] = {
            "artifact_sha256": content_hash(arrays, metadata),
            "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        }
    manifest = {"schema_version": SCHEMA_VERSION, "models": entries}
    _write_whole(folder / MANIFEST, _json({**manifest, "manifest_sha256": _self_hash(manifest)}))


def load_models(folder: Path, tickers: tuple[str, ...], policy: PolicyStamp) -> ModelSet:
    """Every ticker's model, or why it is refused. Never raises: a server without models still answers."""
    models, missing = {}, {}
    for ticker in tickers:
        try:
            models[ticker] = load_model(folder, ticker, policy)
        except BrokenData as exc:
            missing[ticker] = exc.message
    return ModelSet(models, missing)


def load_model(folder: Path, ticker: str, policy: PolicyStamp) -> V6Model:
    """One ticker's model. Raises BrokenData with the reason for the refusal."""
    entry = _manifest(folder).get(ticker)
    if not isinstance(entry, dict):
        raise BrokenData(f"the manifest lists no model for {ticker}")
    try:
        arrays = _arrays(_checked(folder, entry, f"v6_{ticker}.npz"))
        metadata = json.loads(_checked(folder, entry, f"v6_{ticker}.json"))
        _refuse_mismatch(metadata, ticker, policy)
        if content_hash(arrays, metadata) != entry["artifact_sha256"]:
            raise BrokenData("its content does not match the manifest's hash")
        return _model(ticker, arrays, metadata, entry["artifact_sha256"])
    except (KeyError, ValueError, TypeError, IndexError) as exc:
        message = f"model of {ticker} refused: its metadata is incomplete"
        raise BrokenData(message, detail=f"{message} ({exc!r})") from None
    except BrokenData as exc:
        message = f"model of {ticker} refused"
        raise BrokenData(f"{message}: {exc.message}", detail=f"{message}: {exc.detail}") from None


def _model(ticker: str, arrays: Arrays, metadata: Metadata, sha256: str) -> V6Model:
    return V6Model(
        ticker=ticker,
        model_id=f"v6-{ticker}-{sha256[:12]}",
        artifact_sha256=sha256,
        data_end=date.fromisoformat(metadata["data"]["last_day"]),
        engine_version=metadata["engine_version"],
        slots={name: _slot(arrays, metadata["slots"][name], name) for name in SLOTS},
        accuracy=Accuracy(**metadata["accuracy"]),
        metadata=metadata,
    )


def _slot(arrays: Arrays, described: Metadata, name: str) -> Slot:
    columns = np.array([INPUTS.index(column) for column in described["inputs"]], dtype=np.int64)
    members = tuple(_member(arrays, member, f"{name}/{i}") for i, member in enumerate(described["members"]))
    center, scale, platt = (arrays[f"{name}/{part}"] for part in ("center", "scale", "platt"))
    shapes = {len(columns), *center.shape, *scale.shape, *(n for m in members for n in m.coef.shape)}
    finite = all(np.isfinite(a).all() for a in (center, scale, platt, *(m.coef for m in members)))
    if len(shapes) != 1 or platt.shape != (2,) or not members or not finite or not (scale > 0).all():
        raise BrokenData(f"the arrays of slot {name} do not fit together")
    return Slot(columns, center, scale, members, (float(platt[0]), float(platt[1])))


def _member(arrays: Arrays, described: Metadata, prefix: str) -> Logistic:
    if described["kind"] != "logistic":
        raise BrokenData(f"unknown kind of model {described['kind']!r}")
    intercept = float(arrays[f"{prefix}/intercept"])
    if not np.isfinite(intercept):
        raise BrokenData(f"{prefix}: the intercept is not a number")
    return Logistic(float(described["weight"]), arrays[f"{prefix}/coef"], intercept)


def _refuse_mismatch(metadata: Metadata, ticker: str, policy: PolicyStamp) -> None:
    expected = {
        "schema_version": SCHEMA_VERSION,
        "model_family": FAMILY,
        "ticker": ticker,
        "targets": TARGETS,
        "decision_hours": list(DECISION_HOURS),
        "feature_cols": list(FEATURES),
        "feature_code_hash": feature_code_hash(),
        "min_days": MIN_DAYS,
        "spec_version": policy.spec_version,
        "thresholds": {"long": policy.long, "short": policy.short},
    }
    for key, value in expected.items():
        if metadata[key] != value:
            raise BrokenData(f"{key} is not what this server computes")


def _manifest(folder: Path) -> Mapping[str, Any]:
    try:
        manifest = json.loads(_read(folder / MANIFEST))
        stated_hash = manifest.pop("manifest_sha256")
        if manifest["schema_version"] != SCHEMA_VERSION or stated_hash != _self_hash(manifest):
            raise BrokenData("the model manifest does not match its own hash")
        models: Mapping[str, Any] = manifest["models"]
    except (KeyError, ValueError, TypeError, AttributeError):
        raise BrokenData("the model manifest is damaged") from None
    return models


def _checked(folder: Path, entry: Mapping[str, Any], name: str) -> bytes:
    content = _read(folder / name)
    if hashlib.sha256(content).hexdigest() != entry["files"][name]:
        raise BrokenData(f"{name} is damaged: its hash is not the manifest's")
    return content


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise BrokenData(f"{path.name} is too large for a model")
        return path.read_bytes()
    except OSError as exc:
        raise BrokenData(f"{path.name} cannot be read: {exc.strerror}") from None


def _arrays(content: bytes) -> Arrays:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
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


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(path.suffix + ".part")
    temporary.write_bytes(content)
    temporary.replace(path)
