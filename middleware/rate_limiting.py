"""Rate limits: how many requests a client may send in any minute, by groups of routes that cost alike, and for expensive routes
how many at a time.

Flask-Limiter counts requests that reach Flask. `RateLimits` counts those that get a cached response, in the same windows.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, Protocol

from flask import Flask, Response, request
from flask_limiter import ApplicationLimit, Limiter, RequestLimit
from limits import RateLimitItemPerMinute

from app.errors import RateLimited
from middleware.request_context import ENVIRON_KEY, Client, Quota, RequestContext, is_preflight
from middleware.sliding_windows import Hit, SlidingWindows, last_hit

WINDOW_S: Final = 60
OTHER = "other"
"""The group of routes that have none of their own, and of paths that do not exist."""

FREE = "free"
"""The group that is never limited: the platform's probes, and CORS preflights."""


class RateLimits:
    """The limit of each group, and the windows that count. `amounts`: requests a minute by group; `decisions`: how many
    requests each group's limit allowed and refused."""

    def __init__(self, amounts: Mapping[str, int], windows: SlidingWindows, emit: Callable[..., None]) -> None:
        self._amounts = amounts
        self._emit = emit
        self.windows = windows
        self.decisions: Counter[tuple[str, ...]] = Counter()
        self._key_and_amount = lru_cache(4096)(self._compute_key_and_amount)

    def item(self, group: str, client: Client) -> RateLimitItemPerMinute:
        """The limit of a client in a group."""
        return RateLimitItemPerMinute(max(1, int(self._amounts[group] * client.factor)))

    def count(self, context: RequestContext, group: str) -> None:
        """Count the request. Raises RateLimited."""
        key, amount = self._key_and_amount(group, context.client)
        self.apply(context, group, self.windows.hit(key, amount, WINDOW_S))

    def _compute_key_and_amount(self, group: str, client: Client) -> tuple[str, int]:
        """The key under which the limits package counts a client's requests, and how many of them it allows."""
        item = self.item(group, client)
        return item.key_for(client.id, group), item.amount

    def apply(self, context: RequestContext, group: str, hit: Hit) -> None:
        """Set the client's quota after a hit. Raises RateLimited if the hit was refused."""
        amount = self._key_and_amount(group, context.client)[1]
        context.quota = quota = quota_of(group, amount, hit)
        self.decisions[group, "allowed" if hit.allowed else "refused"] += 1
        if not hit.allowed:
            self._emit("limited", group=group)
            used = f"the limit of the group `{group}` is used up: {amount} of {amount} requests in {WINDOW_S} s"
            raise RateLimited(f"{used}. The next one is allowed in {quota.reset_s} s", retry_after=quota.reset_s)


def quota_of(group: str, amount: int, hit: Hit) -> Quota:
    """What is left after a hit. One more request is allowed when the oldest one leaves the window."""
    reset_us = hit.first + WINDOW_S * 1_000_000
    reset_s = min(WINDOW_S, max(1, -((hit.at - reset_us) // 1_000_000)))
    return Quota(group, amount, WINDOW_S, max(0, amount - hit.used), reset_s, math.ceil(reset_us / 1e6))


def limit_rates(app: Flask, limits: RateLimits, groups: Mapping[str, str]) -> None:
    """Make Flask-Limiter count every request that reaches Flask, by the group of its endpoint."""

    def group() -> str:
        if is_preflight(request.environ):
            return FREE
        return groups.get(request.endpoint or "", OTHER)

    def amount() -> str:
        context: RequestContext = request.environ[ENVIRON_KEY]
        context.group = name = group()
        context.route = request.url_rule.rule if request.url_rule else None
        return "" if name == FREE else str(limits.item(name, context.client))

    def on_breach(_: RequestLimit) -> Response | None:
        apply_limit()
        return None

    def apply_limit() -> None:
        context, hit = request.environ[ENVIRON_KEY], last_hit.get()
        if context.group != FREE and hit is not None:
            limits.apply(context, context.group, hit)

    limiter = Limiter(
        lambda: request.environ[ENVIRON_KEY].client.id,
        storage_uri="predict://",
        storage_options={"windows": limits.windows},  # type: ignore[dict-item]
        strategy="moving-window",
        application_limits=[ApplicationLimit(limit_provider=amount, scope=lambda _: group())],
        request_identifier=lambda: request.endpoint or OTHER,
        on_breach=on_breach,
    )
    limiter.init_app(app)
    app.before_request(apply_limit)


class Counted(Protocol):
    """Whose requests are counted, and by how much the limit is multiplied."""

    @property
    def id(self) -> str: ...
    @property
    def factor(self) -> float: ...


class ConcurrencyLimit:
    """At most `per_client` requests of one client at a time, multiplied by the client's factor, and `total` of all clients.
    Safe between threads; its length is the number of requests in progress. retry_after_s: when a client that is refused may
    ask again; what: the plural of what is counted, for the message."""

    def __init__(self, per_client: int, total: int, retry_after_s: float = 1, what: str = "requests") -> None:
        self._retry_after_s = retry_after_s
        self._what = what
        self._per_client = per_client
        self._total = total
        self._lock = threading.Lock()
        self._by_client: dict[str, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def acquire(self, client: Counted, group: str) -> None:
        """Count one request of the group as in progress. Raises RateLimited if the client, or all clients together, have too
        many."""
        allowed = max(1, int(self._per_client * client.factor))
        with self._lock:
            if self._by_client.get(client.id, 0) >= allowed:
                raise self._all_in_progress(group, allowed, "of one client")
            if self._count >= self._total:
                raise self._all_in_progress(group, self._total, "of all clients")
            self._by_client[client.id] = self._by_client.get(client.id, 0) + 1
            self._count += 1

    def release(self, client_id: str) -> None:
        """One request of the client is over."""
        with self._lock:
            self._count -= 1
            self._by_client[client_id] -= 1
            if not self._by_client[client_id]:
                del self._by_client[client_id]

    def _all_in_progress(self, group: str, most: int, whose: str) -> RateLimited:
        used = f"the limit of the group `{group}` is used up: {most} of {most} {self._what} at a time {whose}"
        return RateLimited(f"{used}. One that ends frees a place", retry_after=self._retry_after_s)


def limit_concurrency(app: Flask, limits: Mapping[str, ConcurrencyLimit]) -> None:
    """Limit how many requests of a group are in progress at a time, each from its start to its last byte."""

    @app.before_request
    def acquire() -> None:
        context: RequestContext = request.environ[ENVIRON_KEY]
        limit = limits.get(context.group or "")
        if limit is not None:
            limit.acquire(context.client, context.group or "")
            context.concurrency_limit = limit

    @app.after_request
    def release(response: Response) -> Response:
        context: RequestContext = request.environ[ENVIRON_KEY]
        limit, context.concurrency_limit = context.concurrency_limit, None
        if limit is not None and response.is_streamed:
            response.call_on_close(lambda: limit.release(context.client.id))
        elif limit is not None:
            limit.release(context.client.id)
        return response
