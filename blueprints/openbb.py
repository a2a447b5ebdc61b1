"""What OpenBB Workspace may show of this server: `/widgets.json` names tables over routes of version 2, `/apps.json` lays them
out.

The data are those routes' own. A table has flat columns alone, so that each asks for such members (`fields`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from flask import Blueprint, Response, jsonify

from app.signals.policy import SUPPORTED
from blueprints.index import NAME
from blueprints.services import services

blueprint = Blueprint("openbb", __name__)

WIDTH: Final = 40
"""Columns of the grid on which Workspace lays tables out."""

READ_EVERY_MS: Final = 60_000
"""Workspace would show for a quarter of an hour what it has read."""

DEMO: Final = "Those of a demo market are invented."
NOW: Final = (
    "ticker",
    "action",
    "direction",
    "strength",
    "active_target",
    "probability",
    "freshness",
    "as_of",
    "expires_at",
    "source",
)
LOCKED: Final = (
    "day",
    "decision_hour",
    "action",
    "direction",
    "strength",
    "active_target",
    "probability",
    "outcome_reason",
)


def _table(name: str, description: str, path: str, key: str, columns: Sequence[str], height: int) -> dict[str, Any]:
    """A widget: the list `key` in the answer of a route, with these members of each entry."""
    fields = {
        "paramName": "fields",
        "type": "text",
        "value": ",".join(f"{key}.{name}" for name in columns),
        "show": False,
    }
    shown = [{"field": column, "headerName": column.replace("_", " ").capitalize()} for column in columns]
    return {
        "name": name,
        "description": description,
        "category": "Signals",
        "type": "table",
        "endpoint": path.removeprefix("/"),
        "refetchInterval": READ_EVERY_MS,
        "staleTime": READ_EVERY_MS,
        "gridData": {"w": WIDTH, "h": height},
        "params": [fields],
        "data": {"dataKey": key, "table": {"showAll": False, "columnsDefs": shown}},
    }


WIDGETS: Final = {
    "signals_now": _table(
        "Signals of the hour",
        f"What each ticker's signal is, how probable, and how fresh. What it is worth stands on the dashboard. {DEMO}",
        *("/v2/trading-directions", "signals", NOW, 8),
    ),
    **{
        f"record_{ticker.lower()}": _table(
            f"Locked signals of {ticker}",
            f"The record of the last 30 days. What came of each signal stands on the dashboard. {DEMO}",
            *(f"/v2/signals/{ticker}", "signals", LOCKED, 12),
        )
        for ticker in SUPPORTED
    },
}
TABS: Final = {
    "now": ("Now", ["signals_now"]),
    "record": ("Record", [name for name in WIDGETS if name != "signals_now"]),
}


def _tab(key: str, title: str, names: Sequence[str]) -> dict[str, Any]:
    """Its tables, one below the other."""
    layout: list[dict[str, Any]] = []
    for name in names:
        place = WIDGETS[name]["gridData"]
        layout.append({"i": name, "x": 0, "y": sum(other["h"] for other in layout), **place})
    return {"id": key, "name": title, "layout": layout}


@blueprint.get("/widgets.json")
def widgets() -> Response:
    """The tables that OpenBB Workspace may show. Their names say which market they are of: rows of the record do not."""
    label = services().pipeline.plan.market.label
    mark = "" if label is None else f"{label}: "
    return jsonify({key: {**table, "name": f"{mark}{table['name']}"} for key, table in WIDGETS.items()})


@blueprint.get("/apps.json")
def apps() -> Response:
    """One app: what holds now, and what was locked."""
    tabs = {key: _tab(key, title, names) for key, (title, names) in TABS.items()}
    about = "Hourly signals for US ETFs and their record; no advice."
    return jsonify(
        [{"name": NAME, "description": about, "img": "", "allowCustomization": True, "tabs": tabs, "groups": []}]
    )
