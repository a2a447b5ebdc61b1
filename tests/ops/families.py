"""The metrics of a server, by name: what rules, dashboard and runbook may ask for."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from app.factory import create_app
from tests.support import settings

SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("", "_count", "_sum")}


@lru_cache(maxsize=1)
def families() -> Mapping[str, str]:
    """Kind by name of every metric that a server with a provider and a collector shows; nothing is asked of the provider."""
    with tempfile.TemporaryDirectory(prefix="families-") as folder:
        traced = {"otlp_endpoint": "http://127.0.0.1:9", "traces_share": 0.0}
        app = create_app(settings(market="polygon", polygon_api_key="not-a-key", data_dir=Path(folder), **traced))
        text = app.test_client().get("/metrics").get_data(as_text=True)
        app.extensions["predict-server"].close()
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


def series() -> set[str]:
    """The names under which a query finds them."""
    return {name + suffix for name, kind in families().items() for suffix in SUFFIXES.get(kind, ("",))}
