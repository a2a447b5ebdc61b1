"""Metrics of the layers: rate limits, requests in progress, and the response cache."""

from __future__ import annotations

from collections.abc import Mapping

from app.telemetry.metrics import Metric, unlabelled
from middleware.rate_limiting import ConcurrencyLimit, RateLimits
from middleware.response_cache import ResponseCache
from middleware.sliding_windows import InMemoryWindows, WindowsWithFallback


def limit_metrics(limits: RateLimits, concurrency_limits: Mapping[str, ConcurrencyLimit]) -> list[Metric]:
    windows = limits.windows
    local = windows.local if isinstance(windows, WindowsWithFallback) else windows
    assert isinstance(local, InMemoryWindows)
    return [
        Metric(
            "predict_limit_decisions_total",
            "Requests counted against a limit",
            lambda: dict(limits.decisions),
            ("group", "outcome"),
        ),
        Metric("predict_limit_windows", "Clients whose requests this process counts", unlabelled(lambda: len(local))),
        Metric(
            "predict_limits_local",
            "1 while Redis is lost and each process counts for itself",
            unlabelled(lambda: float(isinstance(windows, WindowsWithFallback) and windows.is_local)),
        ),
        Metric(
            "predict_limit_fallbacks_total",
            "How often Redis was lost",
            unlabelled(lambda: windows.fallbacks if isinstance(windows, WindowsWithFallback) else 0),
        ),
        Metric(
            "predict_under_way",
            "Requests of bounded groups under way",
            lambda: {(group,): len(limit) for group, limit in concurrency_limits.items()},
            ("group",),
        ),
    ]


def response_cache_metrics(cache: ResponseCache) -> list[Metric]:
    return [
        Metric("predict_kept_answers", "Answers kept to be given again", unlabelled(lambda: len(cache))),
        Metric("predict_kept_answer_bytes", "Size of the answers kept", unlabelled(lambda: cache.bytes)),
    ]
