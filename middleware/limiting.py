"""Rate limits: so many requests of a client in any minute, by groups of routes that cost alike; and for dear routes so many
at a time.

Flask-Limiter counts requests that reach Flask. `Limits` counts those that get a cached response, in the same windows.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from flask import Flask, Response, request
from flask_limiter import ApplicationLimit, Limiter, RequestLimit
from limits import RateLimitItemPerMinute

from app.errors import RateLimited
from middleware.request_context import ENVIRON_KEY, Client, Quota, RequestContext, is_preflight
from middleware.windows import Taken, Windows, last_taken

WINDOW_S: Final = 60
OTHER = "other"
"""The group of whatever has none of its own, paths that are not there included."""

FREE = "free"
"""The group that is never limited: the platform's probes, and preflights."""


class Limits:
    """What each group allows, and the windows that count. `amounts`: requests a minute by group; `decisions`: how often
    each group's limit allowed and refused."""

    def __init__(self, amounts: Mapping[str, int], windows: Windows, emit: Callable[..., None]) -> None:
        self._amounts = amounts
        self._emit = emit
        self.windows = windows
        self.decisions: Counter[tuple[str, ...]] = Counter()
        self._bucket = lru_cache(4096)(self._filled)

    def item(self, group: str, client: Client) -> RateLimitItemPerMinute:
        """The limit of a client in a group."""
        return RateLimitItemPerMinute(max(1, int(self._amounts[group] * client.factor)))

    def count(self, context: RequestContext, group: str) -> None:
        """Count the request. Raises RateLimited."""
        key, amount = self._bucket(group, context.client)
        self.judge(context, group, self.windows.take(key, amount, WINDOW_S))

    def _filled(self, group: str, client: Client) -> tuple[str, int]:
        """Where the limits package counts a client's requests, and how many it lets through."""
        item = self.item(group, client)
        return item.key_for(client.id, group), item.amount

    def judge(self, context: RequestContext, group: str, taken: Taken) -> None:
        """Say what was counted. Raises RateLimited if it was too much."""
        amount = self._bucket(group, context.client)[1]
        context.quota = quota = quota_of(group, amount, taken)
        self.decisions[group, "allowed" if taken.allowed else "refused"] += 1
        if not taken.allowed:
            self._emit("limited", group=group)
            raise RateLimited(f"more than {amount} requests in {WINDOW_S} s", retry_after=quota.reset_s)


def quota_of(group: str, amount: int, taken: Taken) -> Quota:
    """What is left after `taken`; a place comes back when the oldest request leaves the window."""
    until_us = taken.first + WINDOW_S * 1_000_000
    reset_s = min(WINDOW_S, max(1, -((taken.at - until_us) // 1_000_000)))
    return Quota(group, amount, WINDOW_S, max(0, amount - taken.used), reset_s, math.ceil(until_us / 1e6))


def limit_requests(app: Flask, limits: Limits, groups: Mapping[str, str]) -> None:
    """Have Flask-Limiter count every request that reaches Flask, by the group of its endpoint."""

    def group() -> str:
        if is_preflight(request.environ):
            return FREE
        return groups.get(request.endpoint or "", OTHER)

    def amount() -> str:
        context: RequestContext = request.environ[ENVIRON_KEY]
        context.group = found = group()
        context.route = request.url_rule.rule if request.url_rule else None
        return "" if found == FREE else str(limits.item(found, context.client))

    def refuse(_: RequestLimit) -> Response | None:
        judge()
        return None

    def judge() -> None:
        context, taken = request.environ[ENVIRON_KEY], last_taken.get()
        if context.group != FREE and taken is not None:
            limits.judge(context, context.group, taken)

    limiter = Limiter(
        lambda: request.environ[ENVIRON_KEY].client.id,
        storage_uri="predict://",
        storage_options={"windows": limits.windows},  # type: ignore[dict-item]
        strategy="moving-window",
        application_limits=[ApplicationLimit(limit_provider=amount, scope=lambda _: group())],
        request_identifier=lambda: request.endpoint or OTHER,
        on_breach=refuse,
    )
    limiter.init_app(app)
    app.before_request(judge)


class Crowd:
    """At most so many at a time, of one client and of all; safe between threads."""

    def __init__(self, each: int, total: int) -> None:
        self._each = each
        self._total = total
        self._lock = threading.Lock()
        self._inside: dict[str, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def enter(self, client: Client) -> None:
        """Raises RateLimited if the client has too many under way, or all have. Who may ask more often may have more."""
        each = max(1, int(self._each * client.factor))
        with self._lock:
            if self._inside.get(client.id, 0) >= each:
                raise RateLimited(f"more than {each} of these at a time", retry_after=1)
            if self._count >= self._total:
                raise RateLimited("too many of these are under way on this server", retry_after=1)
            self._inside[client.id] = self._inside.get(client.id, 0) + 1
            self._count += 1

    def leave(self, client: str) -> None:
        with self._lock:
            self._count -= 1
            self._inside[client] -= 1
            if not self._inside[client]:
                del self._inside[client]


def bound_crowds(app: Flask, crowds: Mapping[str, Crowd]) -> None:
    """Let so many requests of a group in at a time, from their start to their last byte."""

    @app.before_request
    def enter() -> None:
        context: RequestContext = request.environ[ENVIRON_KEY]
        crowd = crowds.get(context.group or "")
        if crowd is not None:
            crowd.enter(context.client)
            context.inside = crowd

    @app.after_request
    def leave_at_the_end(response: Response) -> Response:
        context: RequestContext = request.environ[ENVIRON_KEY]
        crowd, context.inside = context.inside, None
        if crowd is not None and response.is_streamed:
            response.call_on_close(lambda: crowd.leave(context.client.id))
        elif crowd is not None:
            crowd.leave(context.client.id)
        return response
