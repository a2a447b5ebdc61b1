"""What the artefact of the swing models holds: arrays, and metadata about them (v6.md 8, 9).

Whatever does not match is refused with a reason: other feature code, another target definition, another policy. Its identity
and its files are those of every artefact (artefact.py).
"""

from __future__ import annotations

from datetime import date

import numpy as np

from app.errors import BrokenData
from app.model import elementary, swing_features
from app.model.artefact import Arrays, Metadata, PolicyStamp, source_hash
from app.model.swing import TARGETS, Horizon, SwingModel
from app.model.swing_features import FEATURES, MIN_DAYS

SCHEMA_VERSION = 1
FAMILY = "swing"
ARRAYS = ("base_rate", "weight", "center", "scale", "coef", "intercept")


def feature_code_hash() -> str:
    """That of the feature modules: an artefact trained by other feature code is refused."""
    return source_hash(swing_features, elementary)


def arrays_of(horizon: int, model: Horizon) -> Arrays:
    """The arrays of one horizon, as the artefact keeps them."""
    return {f"{horizon}/{name}": np.asarray(getattr(model, name), dtype=np.float64) for name in ARRAYS}


def swing_model_of(arrays: Arrays, metadata: Metadata, sha256: str, policy: PolicyStamp) -> SwingModel:
    """The model that an artefact holds. Raises BrokenData with the reason if this server cannot serve it."""
    try:
        _refuse_mismatch(metadata, policy)
        return SwingModel(
            model_id=f"swing-{sha256[:12]}",
            artifact_sha256=sha256,
            data_end=date.fromisoformat(metadata["data"]["last_day"]),
            tickers=tuple(metadata["tickers"]),
            horizons={
                int(key): _horizon(arrays, about, key)
                for key, about in sorted(metadata["horizons"].items(), key=_number)
            },
            metadata=metadata,
        )
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as exc:
        message = "its metadata is incomplete"
        raise BrokenData(message, detail=f"{message} ({exc!r})") from None


def _number(item: tuple[str, Metadata]) -> int:
    return int(item[0])


def _horizon(arrays: Arrays, about: Metadata, key: str) -> Horizon:
    columns = np.array([FEATURES.index(name) for name in about["inputs"]], dtype=np.int64)
    base_rate, weight, center, scale, coef, intercept = (arrays[f"{key}/{name}"] for name in ARRAYS)
    shapes = [array.shape for array in (center, scale, coef)] + [
        array.shape for array in (base_rate, weight, intercept)
    ]
    finite = all(np.isfinite(arrays[f"{key}/{name}"]).all() for name in ARRAYS)
    if shapes != [columns.shape] * 3 + [()] * 3 or not finite or not (scale > 0).all():
        raise BrokenData(f"the arrays of horizon {key} do not fit together")
    if not 0 < base_rate < 1 or not 0 <= weight <= 1:
        raise BrokenData(f"base rate or weight of horizon {key} is no share")
    return Horizon(float(base_rate), float(weight), columns, center, scale, coef, float(intercept))


def _refuse_mismatch(metadata: Metadata, policy: PolicyStamp) -> None:
    targets = metadata["targets"]
    expected = {
        "schema_version": SCHEMA_VERSION,
        "model_family": FAMILY,
        "feature_cols": list(FEATURES),
        "feature_code_hash": feature_code_hash(),
        "min_days": MIN_DAYS,
        "spec_version": policy.spec_version,
        "targets": {str(horizon): target for horizon, target in TARGETS.items() if str(horizon) in targets},
    }
    for key, value in expected.items():
        if metadata[key] != value:
            raise BrokenData(f"{key} is not what this server computes")
    for part in ("horizons", "evaluation"):
        found = metadata[part] if part == "horizons" else metadata[part]["horizons"]
        if not targets or found.keys() != targets.keys():
            raise BrokenData(f"{part} and targets are not of the same horizons")
