"""The address of a Redis that a Sentinel watches over. Sentinels know which Redis of a service is its master:

    redis+sentinel://[user:password@]host1:26379,host2:26379/SERVICE[/DB][?options]

`rediss+sentinel://` is the same with TLS, to the Sentinels as well. User and password are those of the Redis; those of the
Sentinels, if they ask for any, are the options `sentinel_username` and `sentinel_password`.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

SCHEMES: Final = {"redis+sentinel": "redis", "rediss+sentinel": "rediss"}
"""The schemes of such addresses, and those of the Redis behind them."""

PORT: Final = 26379
PREFIX: Final = "sentinel_"


class SentinelAddress(NamedTuple):
    """sentinels: their hosts and ports; service: whose master is meant; redis_url: user, password, database and options for
    that master, whose place is not in it; options: for connections to the Sentinels."""

    sentinels: tuple[tuple[str, int], ...]
    service: str
    redis_url: str
    options: dict[str, str]


def sentinel_address_of(url: str) -> SentinelAddress | None:
    """None for the address of a Redis itself. Raises ValueError, which names no part of the address."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        return None
    credentials, _, hosts = parts.netloc.rpartition("@")
    service, _, db = parts.path.removeprefix("/").partition("/")
    sentinels = tuple(_host_and_port(host) for host in hosts.split(","))
    if not service or not all(host for host, _ in sentinels) or not (db or "0").isdecimal():
        raise ValueError("must be like redis+sentinel://host1:26379,host2:26379/SERVICE/0")
    query = parse_qsl(parts.query, keep_blank_values=True)
    own = {name.removeprefix(PREFIX): value for name, value in query if name.startswith(PREFIX)}
    rest = urlencode([(name, value) for name, value in query if not name.startswith(PREFIX)])
    redis_url = f"{SCHEMES[parts.scheme]}://{credentials and credentials + '@'}redis/{db or 0}?{rest}"
    return SentinelAddress(sentinels, unquote(service), redis_url, own)


def _host_and_port(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        return parts.hostname or "", parts.port or PORT
    except ValueError:
        return "", PORT
