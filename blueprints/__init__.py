"""The routes, and the shapes of responses per version. Nothing here computes; `register` lists every blueprint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import Flask

from blueprints import errors, openbb, ops
from blueprints.dashboard import routes as dashboard
from blueprints.pages import routes as pages
from blueprints.pages.files import FILES
from blueprints.services import Services
from blueprints.v1 import routes as v1
from blueprints.v2 import routes as v2

PAGES: Final = ("/docs", "/docs/errors", "/docs/socket-io", "/docs/versions")
PROBES: Final = frozenset({"/livez", "/readyz"})
UNVERSIONED: Final[Mapping[str, int]] = {
    **dict.fromkeys((*PROBES, "/", "/versions", "/metrics", "/openapi/v1.json"), 1),
    **dict.fromkeys(
        (
            *(*PAGES, *(f"{page}/" for page in PAGES), "/dashboard", "/widgets.json", "/apps.json"),
            *(path for path in FILES if path != "/openapi/v1.json"),
        ),
        2,
    ),
}
"""Paths that belong to no version, and the version whose rules hold for them: who may read them, and the shape of errors."""

UNVERSIONED_BELOW: Final[Mapping[str, int]] = {"/dashboard/": 2, "/assets/": 2}
"""The same for all paths that begin so."""

RENAMED: Final[Mapping[str, str]] = {"/trading_directions": "/trading-directions"}
"""Paths of version 1 that later versions spell otherwise: `X-API-Version` asks for the same thing under both spellings."""

OPERATIONS: Final = frozenset({"/metrics"})
"""Paths for operators."""

GROUPS: Final[Mapping[str, str]] = {
    "ops.livez": "free",
    "ops.readyz": "free",
    "v1.trading_directions": "directions",
    **{
        f"v1.{name}": "analysis"
        for name in (
            *("mtf", "northstar", "rpe", "swing", "daily_signals", "signal_breakdown"),
            *("volatility_meter", "price_ranges"),
        )
    },
    "v1.replay": "replay",
    "v2.trading_directions": "directions",
    "v2.trading_direction": "directions",
    "v2.trading_direction_stream": "streams",
    "v2.bars": "analysis",
    "v2.structure": "analysis",
    "v2.swing": "analysis",
    "v2.replay": "replay",
    "v2.recorded_signals": "replay",
}
"""The group whose limit an endpoint counts against; endpoints that are not listed are in the group `other`."""


def register(app: Flask, services: Services) -> None:
    """Attach all routes and error shapes to `app`."""
    services.attach(app)
    app.register_blueprint(v1.blueprint)
    app.register_blueprint(v2.blueprint)
    app.register_blueprint(ops.blueprint)
    app.register_blueprint(openbb.blueprint)
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(dashboard.blueprint)
    errors.register(app)
