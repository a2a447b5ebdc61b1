"""The files for OpenBB Workspace name routes and members that version 2 has."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from app.signals.policy import SUPPORTED


def test_each_table_reads_rows_of_a_route_of_version_2_with_flat_columns(serve: Callable[..., Flask]) -> None:
    client = serve().test_client()
    widgets = client.get("/widgets.json").json
    assert set(widgets) == {"signals_now", *(f"record_{ticker.lower()}" for ticker in SUPPORTED)}
    for name, widget in widgets.items():
        query = {param["paramName"]: param["value"] for param in widget["params"]}
        answer = client.get(f"/{widget['endpoint']}", query_string=query)
        assert answer.status_code == 200, (name, answer.json)
        rows = answer.json[widget["data"]["dataKey"]]
        columns = {column["field"] for column in widget["data"]["table"]["columnsDefs"]}
        assert all(set(row) == columns for row in rows)
        assert not any(isinstance(value, dict | list) for row in rows for value in row.values())
    assert [row["ticker"] for row in client.get("/v2/trading-directions").json["signals"]] == list(SUPPORTED)


def test_the_app_shows_every_table_once_without_overlap(serve: Callable[..., Flask]) -> None:
    client = serve().test_client()
    (app,) = client.get("/apps.json").json
    shown = [place["i"] for tab in app["tabs"].values() for place in tab["layout"]]
    assert sorted(shown) == sorted(client.get("/widgets.json").json)
    for tab in app["tabs"].values():
        below = 0
        for place in tab["layout"]:
            assert (place["x"], place["y"]) == (0, below)
            below += place["h"]


def test_pages_of_listed_origins_alone_may_read_the_files(serve: Callable[..., Flask]) -> None:
    client = serve(cors_origins="https://pro.openbb.co").test_client()
    for path in ("/widgets.json", "/apps.json"):
        listed = client.get(path, headers={"Origin": "https://pro.openbb.co"})
        other = client.get(path, headers={"Origin": "https://example.org"})
        assert listed.headers["Access-Control-Allow-Origin"] == "https://pro.openbb.co"
        assert "Access-Control-Allow-Origin" not in other.headers


def test_tables_say_which_market_they_are_of_unless_it_is_the_live_one(serve: Callable[..., Flask]) -> None:
    def names(**values: object) -> list[str]:
        return [widget["name"] for widget in serve(**values).test_client().get("/widgets.json").json.values()]

    assert all(name.startswith("DEMO: ") for name in names(market="demo"))
    assert names()[0] == "Signals of the hour"


def test_signals_are_read_again_each_minute_and_say_until_when_they_hold(serve: Callable[..., Flask]) -> None:
    """Workspace shows for a quarter of an hour what it has read, unless a table says otherwise."""
    table = serve().test_client().get("/widgets.json").json["signals_now"]
    assert max(table["refetchInterval"], table["staleTime"]) <= 60_000
    columns = {column["field"] for column in table["data"]["table"]["columnsDefs"]}
    assert {"as_of", "expires_at"} <= columns
    assert "age_seconds" not in columns, "an age that stands still is none"
