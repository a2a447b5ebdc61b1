"""Reads prices and volumes out of texts: thousands separators, a decimal comma, a dollar sign. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from app.errors import BrokenData
from app.market.bars import Floats

POINT, COMMA = "decimal point", "decimal comma"
THOUSANDS = {POINT: re.compile(r"\d{1,3}(,\d{3})+(\.\d+)?"), COMMA: re.compile(r"\d{1,3}(\.\d{3})+(,\d+)?")}


def decimal_mark(prices: Iterable[str]) -> str:
    """Returns which mark the prices of a file use. Raises BrokenData where a comma could be either."""
    with_comma = [text.strip() for text in prices if "," in text]
    if not with_comma:
        return POINT
    if any(re.search(r",\d+\.", text) for text in with_comma):
        return POINT
    if any(re.search(r"\.\d+,", text) or not re.search(r",\d{3}$", text) for text in with_comma):
        return COMMA
    raise BrokenData(f"{with_comma[0]!r}: cannot tell a thousands separator from a decimal comma")


def floats(texts: Sequence[str], mark: str) -> Floats:
    """Returns the numbers; NaN where there is none."""
    if mark == POINT:
        try:
            return np.array(texts, dtype=np.float64)
        except (ValueError, TypeError):
            pass
    return np.array([_float(text, mark) for text in texts], dtype=np.float64)


def _float(text: str | None, mark: str) -> float:
    bare = (text or "").strip().lstrip("$")
    if THOUSANDS[mark].fullmatch(bare):
        bare = bare.replace("," if mark == POINT else ".", "")
    if mark == COMMA:
        bare = bare.replace(",", ".") if "." not in bare else "" if "," in bare else bare
    try:
        return float(bare) if "_" not in bare else float("nan")
    except ValueError:
        return float("nan")
