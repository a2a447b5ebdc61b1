"""The documents say what is so: settings, routes, metrics, alerts and figures, links, and which files a change opens."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask import Flask

from app.config.api_versions import VERSIONS
from app.config.settings import ARTEFACTS, variables
from app.factory import create_app
from app.live.events import EVENTS
from app.model.verdicts import counts_text, verdict_beyond_variance, verdict_of_record
from blueprints import GROUPS
from blueprints.v1.parameters import HOURS
from docs import build as docs
from tests.markdown import ROOT, anchors, blocks, links, pages, prose, section, table
from tests.support import FakeClock, new_york, promoted_set, settings
from tests.test_architecture import ORDER
from tests.waiting import wait_for

README, CONTRIBUTING = (ROOT / "README.md").read_text(), (ROOT / "CONTRIBUTING.md").read_text()
TRADERS, CLIENTS, OPERATORS, DEPLOYING = (
    (ROOT / "docs" / f"{reader}.md").read_text() for reader in ("traders", "clients", "operators", "deploying")
)


def table_below(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    return table(section(page, heading))


def test_every_setting_is_documented_with_its_default() -> None:
    said = {row[0].replace("`", ""): row[1].strip("`") for row in table_below(DEPLOYING, "Settings")}
    assert said == {name: default for name, (default, _) in variables().items()}


def test_every_route_is_documented_and_every_documented_route_is_there(serve: Callable[..., Flask]) -> None:
    rows = [*table_below(CLIENTS, "Routes"), *table_below(CLIENTS, "Version 2")]
    said = {path.partition("?")[0] for row in rows for path in re.findall(r"`(?:GET|POST) (/[^\s`]*)`", " ".join(row))}
    assert said == {templated(rule.rule) for rule in serve().url_map.iter_rules()}


def templated(rule: str) -> str:
    """A rule of the URL map as documents write it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def test_the_versions_are_those_of_the_table() -> None:
    today = datetime.now(UTC).date()
    said = [[cell.strip("`") for cell in row] for row in table_below(CLIENTS, "Versions")]
    days = [(v, ("" if day is None else str(day) for day in (v.released, v.deprecated, v.sunset))) for v in VERSIONS]
    assert said == [[str(v.number), v.status(today), *shown, str(v.successor or "")] for v, shown in days]


def test_the_groups_of_the_limits_are_those_of_the_routes(serve: Callable[..., Flask]) -> None:
    said = {
        path: row[0].strip("`")
        for row in table_below(CLIENTS, "Limits")
        for path in re.findall(r"`(/[^\s`]+)`", row[1])
    }
    rules = {templated(rule.rule): GROUPS.get(rule.endpoint, "other") for rule in serve().url_map.iter_rules()}
    named = {
        rule: group
        for rule, group in rules.items()
        if group != "other" and (rule.startswith("/v2/") or "-" not in rule)
    }
    assert {path: group or "free" for path, group in said.items()} == named


def test_the_pages_say_which_times_replay_takes_and_what_a_follower_is() -> None:
    assert f"({HOURS[0]:02}:00 to {HOURS[-1]}:59" in CLIENTS
    assert all(f"`{role}` (" in OPERATORS for role in ("leader", "reader", "unshared", "alone"))
    assert all(f"curl -X {method} http://127.0.0.1:9100/_fault" in OPERATORS for method in ("PUT", "DELETE"))


def test_the_figures_are_those_of_the_shipped_report() -> None:
    rows = table_below(TRADERS, "What the model is worth")
    assert rows
    for ticker, target, hour, *figures in rows:
        cells = json.loads((promoted_set(ARTEFACTS) / f"v6_{ticker}.json").read_text())["evaluation"]["cells"]
        cell = next(c for c in cells if (c["target"], c["hour"]) == (target, int(hour)))
        three = [f"{cell[name]:.3f}" for name in ("base_rate", "accuracy", "b1_accuracy")]
        four = [f"{cell[name]:.4f}" for name in ("log_loss", "b2_log_loss")]
        assert figures == [str(cell["n"]), *three, *four, cell["verdict"]]


def test_the_pooled_figures_are_those_of_the_shipped_report() -> None:
    evaluation = json.loads((promoted_set(ARTEFACTS) / "v6_SPY.json").read_text())["evaluation"]
    spans = {part["span"]: {one["target"]: one for one in part["pooled"]} for part in (evaluation, evaluation["later"])}
    rows = table(section(TRADERS, "What the model is worth").partition("Pooled over")[2])
    assert len(rows) == 6
    for span, target, *figures in rows:
        one = spans[span][target]
        skills = [
            f"{one[name]:+.4f} ({one[f'{name}_low']:+.4f} to {one[f'{name}_high']:+.4f})"
            for name in ("skill", "beyond_v")
        ]
        rates = [f"{one[name]:.3f}" for name in ("ece", "covered", "covered_hit_rate", "covered_stated")]
        losses = [f"{one[name]:.4f}" for name in ("log_loss", "b2_log_loss")]
        assert figures == [str(one["days"]), *losses, *skills, *rates]


@pytest.mark.parametrize("text", [README, section(TRADERS, "What the model is worth")], ids=["README", "traders"])
def test_the_verdicts_of_the_shipped_reports_are_counted(text: str) -> None:
    files = [json.loads(path.read_text()) for path in promoted_set(ARTEFACTS).glob("v6_*.json")]
    cells = [cell for about in files for cell in about["evaluation"]["cells"]]
    words = " ".join(text.split())
    assert f"Of the {len(cells)} cells" in words
    assert f"**{counts_text(map(verdict_of_record, cells))}**" in words
    assert f"**{counts_text(map(verdict_beyond_variance, cells))}**" in words
    assert [cell["verdict"] for cell in cells] == [verdict_of_record(cell) for cell in cells], "of the files themselves"


def test_no_machine_paths_or_registry_hosts_in_the_tree() -> None:
    bad = re.compile("/wor" + "k/|/hom" + "e/[a-z]|(?<!pkg:)py" + "pi|npm" + "js|pythonhos" + "ted")
    kept = [f for f in files_of_the_tree() if f.suffix in (".py", ".md", ".cfg", ".json", ".toml", ".txt", "")]
    assert [str(f) for f in kept if f.is_file() and bad.search(f.read_text(errors="ignore"))] == []


def files_of_the_tree() -> Iterator[Path]:
    """All but those of folders in which other processes make and remove some meanwhile, and of the page that they build."""
    others = {".git", ".venv", "var", "dist", "node_modules", ".mypy_cache", ".ruff_cache", ".hypothesis"}
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in others]
        yield from (Path(folder) / name for name in names if name not in others)


def test_every_metric_is_documented_with_its_labels_and_no_other(serve: Callable[..., Flask]) -> None:
    app = serve(otlp_endpoint="http://127.0.0.1:9", traces_share=0.0)
    services = app.extensions["predict-server"]
    rows = [row for row in table_below(OPERATORS, "Metrics") if row[0].startswith("`predict_")]
    said = {row[0].strip("`"): tuple(re.findall(r"`([^`]+)`", row[1])) for row in rows}
    assert said == services.metrics.labels
    assert len(said) == len(rows)
    services.close()


def test_every_alert_is_documented_with_its_severity_and_no_other() -> None:
    rows = [row for row in table_below(OPERATORS, "Alerts") if row[0].startswith("`Predict")]
    said = {row[0].strip("`"): row[1] for row in rows}
    assert said == {rule["alert"]: rule["labels"]["severity"] for rule in rules("alerts") if "alert" in rule}


def test_every_recording_rule_with_a_name_of_its_own_is_documented() -> None:
    said = set(re.findall(r"`([a-z0-9_]+)`", section(OPERATORS, "Recording rules")))
    assert said == {rule["record"] for rule in rules("records") if ":" not in rule["record"]}


def test_every_event_of_the_server_is_documented_with_its_level_and_no_other() -> None:
    page = (ROOT / "docs" / "events.md").read_text()
    rows = table_below(page, "Events of the server")
    assert [(row[0].strip("`"), row[1]) for row in rows] == [
        (name, logging.getLevelName(event.level)) for name, event in EVENTS.items()
    ]
    assert all(meaning for _, _, meaning in rows)


def rules(name: str) -> list[dict[str, Any]]:
    text = (ROOT / "ops" / "prometheus" / f"{name}.yml").read_text()
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120


def test_the_answer_in_the_readme_is_one_of_the_demo_market(tmp_path: Path) -> None:
    clock = FakeClock(new_york("2025-03-06 12:10"))
    assert "at 12:10 on 6 March 2025" in README
    app = create_app(settings(market="demo", data_dir=tmp_path), clock=clock)
    ask = lambda: app.test_client().get("/trading-directions?ticker=SPY").get_json()  # noqa: E731
    wait_for(lambda: ask()["tickers"]["SPY"]["locked"], "the days of the demo take longer to make than a request waits")
    answer = ask()
    shown = [json.loads("\n".join(block.lines)) for block in blocks(README) if block.language == "json"]
    assert shown == [_excerpt(answer, one) for one in shown]
    assert len(shown) == 1
    app.extensions["predict-server"].close()


def _excerpt(whole: Any, part: Any) -> Any:
    """Of `whole` what `part` names."""
    return {name: _excerpt(whole[name], inner) for name, inner in part.items()} if isinstance(part, dict) else whole


# --- walks ---

WALKS = (ROOT / "docs" / "walks.md").read_text()


@pytest.mark.parametrize("walk", ["The way of one request", "The way of one bar"])
def test_each_step_of_a_walk_names_what_is_in_its_file(walk: str) -> None:
    rows = table_below(WALKS, walk)
    assert [row[0] for row in rows] == [str(number) for number in range(1, len(rows) + 1)]
    for _, who, _ in rows:
        name, file = re.findall(r"`([^`]+)`", who)
        source = (ROOT / file).read_text()
        for part in name.split("."):
            assert re.search(rf"\b(?:class|def) {part}\b", source), f"{file}: {name}"


def test_every_file_that_the_walks_name_is_in_the_tree() -> None:
    assert [name for name in re.findall(r"`([\w/]+\.py)`", WALKS) if not (ROOT / name).exists()] == []


# --- the docs site ---


def test_every_page_is_in_the_navigation_of_the_docs_site_once() -> None:
    assert sorted(map(docs.source, docs.places())) == pages()


# --- links ---


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    assert list(dead(page, page.read_text())) == []


def dead(page: Path, text: str) -> Iterator[str]:
    """The links of a page that lead nowhere; addresses on the web are not looked up."""
    for link in links(text):
        if not re.match(r"https?:", link):
            name, _, anchor = link.partition("#")
            target = (page.parent / name) if name else page
            if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
                yield link


def test_a_page_with_the_command_of_a_checkout_says_how_it_is_called_elsewhere() -> None:
    """A reader of the site who has the wheel, or the image, has no `.venv`; CONTRIBUTING is about a checkout."""
    others = ("CONTRIBUTING.md", "CHANGELOG.md")
    showing = [page for page in pages() if ".venv/bin/predict" in page.read_text() and page.name not in others]
    assert len(showing) > 3
    heading = "how-the-command-is-called"
    assert heading in anchors(OPERATORS)
    silent = [
        page.name for page in showing if not any(link.endswith(f"#{heading}") for link in links(page.read_text()))
    ]
    assert silent == ["operators.md"], "which has the heading"


def test_a_link_that_leads_nowhere_is_found() -> None:
    text = "[a](docs/none.md) [b](docs/traders.md#none) [c](#what-it-is-worth) [d](docs/traders.md#what-the-model-is-worth)"
    assert list(dead(ROOT / "README.md", text)) == ["docs/none.md", "docs/traders.md#none"]


def test_what_code_and_rules_say_of_the_pages_is_there() -> None:
    """`CONTRIBUTING.md, "The house"` and `docs/operators.md` in comments, docstrings and rules."""
    named = re.compile(r"(?<![\w/.])((?:docs/|ops/)?[\w-]+\.md)(?:, \"([^\"]+)\"|#([\w-]+))?")
    folders = ("app", "blueprints", "middleware", "serving", "ops", "bench")
    files = [f for folder in folders for f in (ROOT / folder).rglob("*") if f.suffix in (".py", ".yml", ".json")]
    bad = []
    for file in files:
        for name, title, anchor in named.findall(file.read_text()):
            found = [
                path for path in pages() if str(path.relative_to(ROOT)) == name or path.parts[-2:] == ("spec", name)
            ]
            text = found[0].read_text() if found else ""
            if not found or (title and f"# {title}\n" not in text) or (anchor and anchor not in anchors(text)):
                bad.append(f"{file.relative_to(ROOT)}: {name} {title}{anchor}")
    assert bad == []


# --- CONTRIBUTING.md ---


def to_open(kind: str) -> set[str]:
    """The files and folders that CONTRIBUTING.md names for a change of this kind, by its own row."""
    cells = dict(table_below(CONTRIBUTING, "I want to add ..."))
    return {name for name in re.findall(r"`([^`\s]+)`", cells[kind]) if "/" in name}


def is_named(file: str, names: set[str]) -> bool:
    """Whether the file, or its folder, is among the names."""
    return any(file == name or (name.endswith("/") and file.startswith(name)) for name in names)


def defining(pattern: str, *folders: str) -> set[str]:
    """The Python files in these folders that hold the pattern."""
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py")]
    return {str(file.relative_to(ROOT)) for file in files if re.search(pattern, file.read_text(), re.MULTILINE)}


def test_every_file_that_contributing_names_is_in_the_tree() -> None:
    kinds = [kind for kind, _ in table_below(CONTRIBUTING, "I want to add ...")]
    for kind in ("a route", "a market", "a model", "a metric", "an alert", "a setting", "a limit", "an event"):
        assert kind in kinds
    named = {name for kind in kinds for name in to_open(kind)}
    house = {
        line.split()[0]
        for block in blocks(section(CONTRIBUTING, "The house"))
        for line in block.lines
        if line[:1].strip()
    }
    named |= {name for name in house if "/" in name} | set(re.findall(r"`(\w+/[\w./]+\.py)`", prose(CONTRIBUTING)))
    assert len(named) > 40
    assert sorted(name for name in named if not (ROOT / name).exists()) == []


def test_routes_are_where_contributing_says(serve: Callable[..., Flask]) -> None:
    modules = {view.__module__.replace(".", "/") + ".py" for view in serve().view_functions.values()}
    assert [module for module in modules if not is_named(module, to_open("a route"))] == []
    assert GROUPS
    assert is_named("blueprints/__init__.py", to_open("a route") & to_open("a limit"))


def test_markets_are_where_contributing_says() -> None:
    found = defining(r"^class (\w*Feed|RecordedBars|HttpTransport)\b", "app/market") - {"app/market/feed_transport.py"}
    assert found <= to_open("a market")
    assert defining(r"\"RECORDED: \"", "blueprints") | defining(r"\"recorded bars\"", "blueprints") <= to_open(
        "a market"
    )


def test_metrics_are_where_contributing_says(serve: Callable[..., Flask]) -> None:
    services = serve(otlp_endpoint="http://127.0.0.1:9", traces_share=0.0).extensions["predict-server"]
    for name in services.metrics.labels:
        found = defining(rf"\"{name}\"", "app", "middleware", "blueprints", "serving")
        assert found <= to_open("a metric"), name
    services.close()


def test_alerts_settings_events_errors_and_commands_are_where_contributing_says() -> None:
    rules_in = {
        str(path.relative_to(ROOT)) for path in (ROOT / "ops").rglob("*.yml") if "- alert: " in path.read_text()
    }
    assert rules_in <= to_open("an alert")
    assert defining(r"\bBaseSettings\)", "app") <= to_open("a setting")
    assert defining(r"^EVENTS\b", "app") <= to_open("an event")
    assert defining(r"^class PredictError\b", "app") <= to_open("an error")
    assert all(is_named(file, to_open("a command")) for file in defining(r"@(click|cli)\.command", "app"))


def test_limits_are_where_contributing_says() -> None:
    assert defining(r"^GROUPS\b", "blueprints") <= to_open("a limit")
    assert defining(r"\brate_limit_\w+: ", "app") <= to_open("a limit")
    assert defining(r"^class RateLimits\b", "middleware") <= to_open("a limit")
    assert defining(r"^class Bounds\b", "serving") <= to_open("a limit")


def test_the_order_of_the_modules_is_the_one_that_is_enforced() -> None:
    shown = " ".join(blocks_text for block in blocks(section(CONTRIBUTING, "The house")) for blocks_text in block.lines)
    order = shown[shown.index("errors <") :].split()[::2]
    assert order == [module.removeprefix("app.") for module in ORDER]
