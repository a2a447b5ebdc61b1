"""The README says what is so: settings, routes, commands, figures."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from flask import Flask

from app.config import ARTEFACTS, variables
from app.model.verdicts import counts_text, verdict_of_record
from app.versions import VERSIONS
from blueprints import GROUPS
from blueprints.v1.parameters import HOURS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def table_after(heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, its header row left out."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows][2:]


def test_every_setting_is_documented_with_its_default() -> None:
    said = {row[0].replace("`", ""): row[1].strip("`") for row in table_after("Settings")}
    assert said == {name: default for name, (default, _) in variables().items()}


def test_every_route_is_documented_and_every_documented_route_is_there(serve: Callable[..., Flask]) -> None:
    said = {path for row in table_after("Routes") for path in re.findall(r"`(?:GET|POST) (/[^\s`]*)`", row[0])}
    assert said == {rule.rule for rule in serve().url_map.iter_rules()}


def test_the_versions_are_those_of_the_table() -> None:
    today = datetime.now(UTC).date()
    said = [[cell.strip("`") for cell in row] for row in table_after("Versions")]
    days = [(v, ("" if day is None else str(day) for day in (v.released, v.deprecated, v.sunset))) for v in VERSIONS]
    assert said == [[str(v.number), v.status(today), *shown, str(v.successor or "")] for v, shown in days]


def test_the_groups_of_the_limits_are_those_of_the_routes(serve: Callable[..., Flask]) -> None:
    said = {
        path: row[0].strip("`")
        for row in table_after("Limits and keys")
        for path in re.findall(r"`(/[^\s`]+)`", row[1])
    }
    rules = {rule.rule: GROUPS.get(rule.endpoint, "other") for rule in serve().url_map.iter_rules()}
    named = {rule: group for rule, group in rules.items() if group != "other" and "-" not in rule}
    assert {path: group or "free" for path, group in said.items()} == named


def test_every_make_target_in_the_readme_is_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_commands_name_the_python_that_has_the_packages() -> None:
    assert not re.search(r"(?<!\.venv/bin/)python -m app", README)


def test_the_readme_says_which_times_replay_takes_and_what_a_follower_is() -> None:
    assert f"({HOURS[0]:02}:00 to {HOURS[-1]}:59)" in README
    assert all(f"`{role}` (" in README for role in ("leader", "reader", "unshared", "alone"))
    assert all(f"curl -X {method} http://127.0.0.1:9100/_fault" in README for method in ("PUT", "DELETE"))


def test_the_figures_are_those_of_the_shipped_report() -> None:
    rows = table_after("What the model is worth")
    assert rows
    for ticker, target, hour, *figures in rows:
        cells = json.loads((ARTEFACTS / f"v6_{ticker}.json").read_text())["evaluation"]["cells"]
        cell = next(c for c in cells if (c["target"], c["hour"]) == (target, int(hour)))
        three = [f"{cell[name]:.3f}" for name in ("base_rate", "accuracy", "b1_accuracy")]
        four = [f"{cell[name]:.4f}" for name in ("log_loss", "b2_log_loss")]
        assert figures == [str(cell["n"]), *three, *four, cell["verdict"]]


def test_the_readme_counts_the_verdicts_of_the_shipped_reports() -> None:
    files = [json.loads(path.read_text()) for path in ARTEFACTS.glob("v6_*.json")]
    cells = [cell for about in files for cell in about["evaluation"]["cells"]]
    section = " ".join(README.split("\n## What the model is worth\n")[1].split("\n## ")[0].split())
    assert f"Of the {len(cells)} cells" in section
    assert f"**{counts_text(map(verdict_of_record, cells))}**" in section
    assert [cell["verdict"] for cell in cells] == [verdict_of_record(cell) for cell in cells], "of the files themselves"


def test_no_machine_paths_or_registry_hosts_in_the_tree() -> None:
    bad = re.compile("/wor" + "k/|/hom" + "e/[a-z]|py" + "pi|npm" + "js|pythonhos" + "ted")
    files = [
        f for f in ROOT.rglob("*") if f.is_file() and f.suffix in (".py", ".md", ".cfg", ".json", ".toml", ".txt", "")
    ]
    kept = [
        f for f in files if not {".git", ".venv", "var", ".mypy_cache", ".ruff_cache", ".hypothesis"} & set(f.parts)
    ]
    assert [str(f) for f in kept if bad.search(f.read_text(errors="ignore"))] == []


def test_every_metric_is_documented_with_its_labels_and_no_other(serve: Callable[..., Flask]) -> None:
    app = serve(otlp_endpoint="http://127.0.0.1:9", traces_share=0.0)
    services = app.extensions["predict-server"]
    rows = [row for row in table_after("Seeing inside") if row[0].startswith("`predict_")]
    said = {row[0].strip("`"): tuple(re.findall(r"`([^`]+)`", row[1])) for row in rows}
    assert said == services.metrics.labels
    assert len(said) == len(rows)
    services.close()


def test_every_alert_is_documented_with_its_severity_and_no_other() -> None:
    rows = [row for row in table_after("Seeing inside") if row[0].startswith("`Predict")]
    said = {row[0].strip("`"): row[1] for row in rows}
    assert said == {rule["alert"]: rule["labels"]["severity"] for rule in rules("alerts") if "alert" in rule}


def test_every_recording_rule_with_a_name_of_its_own_is_documented() -> None:
    section = README.split("\n## Seeing inside\n")[1].split("\n## ")[0]
    said = set(re.findall(r"`([a-z0-9_]+)`", section.split("Recording rules:")[1].split("\n\n")[0]))
    assert said == {rule["record"] for rule in rules("records") if ":" not in rule["record"]}


def rules(name: str) -> list[dict[str, Any]]:
    text = (ROOT / "ops" / "prometheus" / f"{name}.yml").read_text()
    return [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
