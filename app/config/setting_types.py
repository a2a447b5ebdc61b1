"""Types of the settings: how a variable's text is read, and what it must be."""

from __future__ import annotations

import base64
import ipaddress
import re
from datetime import date, datetime, time
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from app.config.api_keys import ApiKey, parse_keys
from app.config.replica import NAME, usable
from app.market.calendar import is_usable_override
from app.redis_address import sentinel_address_of

MAX_CLOSURES = 100
NEXT_REGION = re.compile(r",(?=\s*[^\s=,/@]*=[a-z+]+://)")
"""The comma before the next region of REDIS_URLS."""

NEXT_ADDRESS = re.compile(r"[\s,]+(?=[A-Za-z][\w+.-]*://)")
SERVICE = re.compile(r"[A-Za-z][\w+.-]*://[!-~]+")


def _http_url(value: str) -> str:
    """Returns an http(s) address without a slash at its end."""
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise ValueError("must be an http(s) address without a query or a user")
    return value.rstrip("/")


def _new_york_if_naive(value: datetime) -> datetime:
    """Returns the moment, of New York if it names no zone."""
    return value if value.tzinfo else value.replace(tzinfo=ZoneInfo("America/New_York"))


def _stripped(value: SecretStr) -> SecretStr:
    """Returns a key without the spaces around it."""
    key = value.get_secret_value().strip()
    if not all("!" <= character <= "~" for character in key):
        raise ValueError("must be printable characters without spaces")
    return SecretStr(key)


def _listed(value: object) -> object:
    """Returns the parts of a text like `a, b`, and any other value as it is."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _upper(value: object) -> object:
    """Returns a text in capitals, and any other value as it is."""
    return value.upper() if isinstance(value, str) else value


def _keys(value: object) -> object:
    return parse_keys(value) if isinstance(value, str) else value


def _closures(value: object) -> object:
    """Returns a text like `2026-01-09, 2026-07-02=13:00` as pairs of a day and its close, None for a day without trading."""
    parts = _listed(value)
    if not isinstance(parts, tuple) or not all(isinstance(part, str) for part in parts):
        return value
    pairs = [_closure(part) for part in parts]
    if len(pairs) > MAX_CLOSURES or len(dict(pairs)) < len(pairs):
        raise ValueError(f"must name at most {MAX_CLOSURES} days, each once")
    return tuple(pairs)


def _closure(text: str) -> tuple[date, time | None]:
    day_text, _, close_text = text.partition("=")
    try:
        day, close = (
            date.fromisoformat(day_text.strip()),
            time.fromisoformat(close_text.strip()) if close_text else None,
        )
    except ValueError:
        raise ValueError("each must be a day like 2026-01-09, or with its close, 2026-07-02=13:00") from None
    if text.endswith("=") or (close is not None and close.tzinfo is not None) or not is_usable_override(day, close):
        raise ValueError("each must be a weekday, its close New York time after 10:00 and by 16:00") from None
    return day, close


def _origin(value: str) -> str:
    """Returns an origin (RFC 6454) in lower case."""
    parts = urlsplit(value)
    whole = value == f"{parts.scheme}://{parts.netloc}" and parts.hostname is not None
    if parts.scheme not in ("http", "https") or not whole or parts.username is not None:
        raise ValueError("each must be an origin like https://dashboard.example")
    return value.lower()


def _split(value: SecretStr) -> SplitResult:
    """Returns the parts of a URL. Python's own error would show the whole URL with its password."""
    try:
        return urlsplit(value.get_secret_value())
    except ValueError:
        raise ValueError("is no address") from None


def _has_host(parts: SplitResult) -> bool:
    """Whether there is a host, and no invalid port. Python's own error would show a part of the password."""
    try:
        return bool(parts.hostname) and (parts.port is None or parts.port >= 0)
    except ValueError:
        return False


def _redis_url(value: SecretStr) -> SecretStr:
    parts = _split(value)
    if sentinel_address_of(value.get_secret_value()) is not None:
        return value
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("must begin with redis://, rediss://, unix:// or redis+sentinel://")
    if parts.scheme != "unix" and not _has_host(parts):
        raise ValueError("is no address; what is special in a password must be escaped (%2F for /)")
    return value


def _region(value: str) -> str:
    """Returns the name of a region as a platform gives it."""
    if usable(value) is None:
        raise ValueError(f"must be {NAME}")
    return value


def _regional(value: object) -> object:
    """Returns a text like `us-west2=redis://a, us-east4=redis://b` as pairs of a region and its Redis. An address of Sentinels
    has commas too."""
    if not isinstance(value, str):
        return value
    pairs = [part.strip().partition("=")[::2] for part in NEXT_REGION.split(value) if part.strip()]
    if not all(usable(region) and url for region, url in pairs):
        raise ValueError("each must be a region and its Redis, like us-west2=redis://...")
    if len(dict(pairs)) < len(pairs):
        raise ValueError("must name each region once")
    return tuple((region, _redis_url(SecretStr(url))) for region, url in pairs)


def _push_url(value: SecretStr) -> SecretStr:
    parts = _split(value)
    if parts.scheme not in ("http", "https") or not _has_host(parts) or parts.query:
        raise ValueError("must be an http(s) address without a query")
    return value


def _addresses(value: object) -> object:
    """Returns the addresses of a text that has spaces or commas between them; an address may hold commas itself."""
    if not isinstance(value, str):
        return value
    return tuple(SecretStr(part.strip()) for part in NEXT_ADDRESS.split(value) if part.strip())


def _service(value: SecretStr) -> SecretStr:
    """Returns an address of Apprise. Apprise itself, which knows the services, is imported when something is sent."""
    if not SERVICE.fullmatch(value.get_secret_value()):
        raise ValueError("each must be an address of Apprise like discord://... or mailto://...")
    return value


def _webhook(value: SecretStr) -> SecretStr:
    """Returns the address of a webhook. What it gets is signed but not encrypted, so that it leaves the private network over
    HTTPS alone."""
    parts = _split(value)
    if parts.scheme not in ("http", "https") or not _has_host(parts) or "@" in parts.netloc:
        raise ValueError("each must be an https:// address without a user")
    if parts.scheme == "http" and not _is_private(parts.hostname or ""):
        raise ValueError("each must begin with https://; http:// is for this machine and private networks alone")
    return value


def _is_private(host: str) -> bool:
    """Whether a host is this machine's, or one of a private network."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".internal", ".local", ".localhost"))


def _webhook_secret(value: SecretStr) -> SecretStr:
    """Returns a secret of Standard Webhooks."""
    begin, prefix, text = value.get_secret_value().partition("whsec_")
    try:
        size = len(base64.b64decode(text, validate=True))
    except ValueError:
        size = 0
    if begin or not prefix or not 24 <= size <= 64:
        raise ValueError("each must be whsec_ and 24 to 64 random bytes in base64")
    return value


def _refused(value: str) -> str:
    raise ValueError("must not be set: workers find each other by themselves, and it would hide all metrics")


Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Listed = BeforeValidator(_listed)
HttpUrl = Annotated[str, AfterValidator(_http_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
Region = Annotated[str, AfterValidator(_region)]
RedisUrls = Annotated[tuple[tuple[str, SecretStr], ...], NoDecode, BeforeValidator(_regional)]
PushUrl = Annotated[SecretStr, AfterValidator(_push_url)]
Secret = Annotated[SecretStr, AfterValidator(_stripped)]
NewYorkMoment = Annotated[datetime, AfterValidator(_new_york_if_naive)]
Closures = Annotated[tuple[tuple[date, time | None], ...], NoDecode, BeforeValidator(_closures)]
Networks = Annotated[tuple[Network, ...], NoDecode, Listed]
ApiKeys = Annotated[tuple[ApiKey, ...], NoDecode, BeforeValidator(_keys)]
Origins = Annotated[tuple[Annotated[str, AfterValidator(_origin)], ...], NoDecode, Listed]
HostNames = Annotated[tuple[str, ...], NoDecode, Listed]
Services = Annotated[tuple[Annotated[SecretStr, AfterValidator(_service)], ...], NoDecode, BeforeValidator(_addresses)]
Webhooks = Annotated[tuple[Annotated[SecretStr, AfterValidator(_webhook)], ...], NoDecode, BeforeValidator(_addresses)]
WebhookSecrets = Annotated[tuple[Annotated[SecretStr, AfterValidator(_webhook_secret)], ...], NoDecode, Listed]
Tickers = Annotated[tuple[Literal["SPY", "QQQ", "IWM"], ...], NoDecode, Listed, BeforeValidator(_upper)]
Actions = Annotated[tuple[Literal["LONG", "SHORT", "NO_TRADE"], ...], NoDecode, Listed, BeforeValidator(_upper)]
Unset = Annotated[str, AfterValidator(_refused)]
"""Types of fields. `Unset` is that of a variable that must not be set."""
