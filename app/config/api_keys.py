"""API keys: random secrets of which the server stores only the hashes.

A key holds 256 random bits, so that one round of SHA-256 is enough: a slow hash protects only secrets that can be guessed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

PREFIX = "predict_"
"""Lets scanners for leaked secrets recognise a key."""

TIERS: Final = {"standard": 1.0, "high": 10.0, "proxy": 100.0, "operator": 10.0}
"""Multiple of the rate limits by tier. `proxy`: a server that forwards the requests of many viewers; `operator`: may also read
the routes for operators."""

MAX_KEYS = 100
MAX_LENGTH = 128
FORM = "name:tier:expires:hash"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key as the settings hold it. expires: the last day on which it is valid, UTC; digest: SHA-256 of the secret."""

    name: str
    tier: str
    expires: date
    digest: bytes

    def __str__(self) -> str:
        return f"{self.name}:{self.tier}:{self.expires.isoformat()}:{self.digest.hex()}"


def new_key(name: str, tier: str, expires: date) -> tuple[str, ApiKey]:
    """A new secret, to be shown once, and its key for the settings. Raises ValueError for a wrong name or tier."""
    secret = PREFIX + secrets.token_urlsafe(32)
    return secret, _checked(name, tier, expires, digest_of(secret))


def digest_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def parse_keys(text: str) -> tuple[ApiKey, ...]:
    """Comma-separated `name:tier:expires:hash`. Raises ValueError with a sentence that names the entry, never its hash."""
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if len(entries) > MAX_KEYS:
        raise ValueError(f"holds {len(entries)} keys, {MAX_KEYS} are allowed")
    keys = tuple(_parsed(number, entry) for number, entry in enumerate(entries, 1))
    names = [key.name for key in keys]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        raise ValueError(f"names {duplicate} twice")
    return keys


def _parsed(number: int, entry: str) -> ApiKey:
    parts = entry.split(":")
    if len(parts) != 4 or not re.fullmatch(r"[0-9a-f]{64}", parts[3]):
        raise ValueError(f"entry {number} must look like {FORM}, the hash 64 hexadecimal digits")
    try:
        expires = date.fromisoformat(parts[2])
    except ValueError:
        raise ValueError(f"entry {number}: expires must be a day, YYYY-MM-DD") from None
    try:
        return _checked(parts[0], parts[1], expires, bytes.fromhex(parts[3]))
    except ValueError as exc:
        raise ValueError(f"entry {number}: {exc}") from None


def _checked(name: str, tier: str, expires: date, digest: bytes) -> ApiKey:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,31}", name):
        raise ValueError("a name is up to 32 of a-z 0-9 _ . - and begins with a letter or a digit")
    if tier not in TIERS:
        raise ValueError(f"the tier is one of {', '.join(TIERS)}")
    return ApiKey(name, tier, expires, digest)


def find(keys: Sequence[ApiKey], secret: str, today: date) -> ApiKey | None:
    """The key with this secret if it is valid on `today`. Takes the same time for every key, and for a wrong secret."""
    if len(secret) > MAX_LENGTH:
        return None
    digest, match = digest_of(secret), None
    for key in keys:
        if hmac.compare_digest(key.digest, digest):
            match = key
    return match if match is not None and today <= match.expires else None
