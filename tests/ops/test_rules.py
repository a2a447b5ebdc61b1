"""What is watched: the rules work, each alert is tested, routed and explained, and nothing asks for a metric that is not."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ops.families import series
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
OPS = ROOT / "ops"
RULES = OPS / "prometheus"
TESTS = sorted((RULES / "tests").glob("*.yml"))
ALERTMANAGER = RULES / "alertmanager.yml"
RUNBOOK = (OPS / "RUNBOOK.md").read_text()

INSTALLED_BY = {"promtool": ("prometheus", "prometheus"), "amtool": ("prometheus-alertmanager", "alertmanager")}
RECEIVERS = {"page": "pager", "critical": "pager", "investigate": "tickets"}
OTHERS = {"up", "push_time_seconds", "ALERTS"}
"""What Prometheus and a Pushgateway make themselves."""

HIT_OR_MISS = {"hit", "miss"}
VALUES: Mapping[tuple[str, str], set[str]] = {
    ("predict_cache_lookups_total", "cache"): {"answers", "memory", "disk", "record"},
    ("predict_cache_lookups_total", "outcome"): HIT_OR_MISS,
    ("cache_hit_rate", "cache"): {"answers", "memory", "disk", "record"},
    ("predict_stage_seconds", "stage"): {
        *("fetch-data", "await-data", "compute-structure", "compute-rpe", "compute-v6", "policy", "shape"),
    },
    ("predict_polygon_call_seconds", "kind"): {"bars", "days", "snapshot", "status"},
    ("predict_polygon_call_seconds", "outcome"): {"ok", "slow", "limited", "refused", "failed"},
    ("predict_polygon_calls_withheld_total", "reason"): {"breaker", "budget", "key"},
    ("predict_breaker_state", "kind"): {"bars", "days", "snapshot", "status"},
    ("predict_breaker_state", "state"): {"closed", "open", "half_open"},
    ("predict_breaker_changes_total", "state"): {"closed", "open", "half_open"},
    ("predict_budget_calls", "state"): {"spent", "left"},
    ("predict_limit_decisions_total", "outcome"): {"allowed", "refused"},
    ("predict_signals_locked_total", "action"): {"LONG", "SHORT", "NO_TRADE"},
    ("predict_notifications_total", "outcome"): {"sent", "failed", "dead"},
    ("predict_notifications_total", "kind"): {"signal", "state"},
    ("predict_spans_total", "outcome"): {"exported", "lost"},
}
CLOSED = {"stage", "cache", "outcome", "state", "kind", "reason", "action"}


def rules_of(name: str) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load((RULES / name).read_text())["groups"] for rule in group["rules"]]


RECORDS, ALERTS = rules_of("records.yml"), rules_of("alerts.yml")
NAMES = sorted({rule["alert"] for rule in ALERTS})


def run(program: str, *arguments: object) -> str:
    """What the program says; fails with that if it is not content. Skips the test where there is no such program."""
    if shutil.which(program) is None:
        debian, homebrew = INSTALLED_BY[program]
        pytest.skip(
            f"{program} is missing; to install it: `sudo apt-get install {debian}` (Debian), "
            f"`brew install {homebrew}` (macOS)"
        )
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def panels() -> list[dict[str, Any]]:
    return [p for p in json.loads((OPS / "grafana" / "predict.json").read_text())["panels"] if p["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Every query, and where it stands."""
    for rule in (*RECORDS, *ALERTS):
        yield rule.get("record") or rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for name, text in sections().items():
        for block in re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            for query in block.splitlines():
                yield f"runbook, {name}", query


def sections() -> dict[str, str]:
    """The runbook's text by heading."""
    return {part.partition("\n")[0]: part for part in re.split(r"^## ", RUNBOOK, flags=re.MULTILINE)[1:]}


def names_in(query: str) -> set[str]:
    """The metrics of a query: its words, but for texts, labels, ranges, functions and keywords."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]', lambda found: "" if found[0][0] == "[" else "{}", query)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\boffset\s+\w+", "", bare)
    words = re.findall(r"(?<![\w.:$])([a-zA-Z_:][\w:]*)(?!\s*\(|[\w:])", bare)
    return set(words) - {"and", "or", "unless", "bool", "group_left", "group_right", "by"}


def family_of(name: str) -> str:
    return re.sub(r"_(bucket|count|sum)$", "", name)


def test_the_names_of_a_query_are_found() -> None:
    query = 'a_total{x="b{c"} / on (d) group_left sum by (e, le) (rate(f_bucket[5m])) unless g:rate5m offset 1h > 0.5e3'
    assert names_in(query.replace("b{c", "bc")) == {"a_total", "f_bucket", "g:rate5m"}


def test_prometheus_takes_the_configuration_and_the_rules() -> None:
    run("promtool", "check", "config", RULES / "prometheus.yml")
    run("promtool", "check", "rules", "--lint-fatal", RULES / "records.yml", RULES / "alerts.yml")


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.stem)
def test_the_rules_do_what_their_tests_say(file: Path) -> None:
    run("promtool", "test", "rules", file)


def test_alertmanager_takes_the_configuration() -> None:
    run("amtool", "check-config", ALERTMANAGER)


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_reaches_its_receiver(name: str) -> None:
    for rule in (rule for rule in ALERTS if rule["alert"] == name):
        labels = {"alertname": name, "job": "predict", **rule["labels"]}
        said = run(
            *("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}"),
            *(f"{label}={value}" for label, value in labels.items()),
        )
        assert said.split() == [RECEIVERS[rule["labels"]["severity"]]]


def test_what_opens_a_ticket_never_silences_a_page() -> None:
    loud = {rule["alert"] for rule in ALERTS if RECEIVERS[rule["labels"]["severity"]] == "pager"}
    for rule in yaml.safe_load(ALERTMANAGER.read_text())["inhibit_rules"]:
        sources, targets = _matched(rule["source_matchers"]), _matched(rule["target_matchers"])
        assert sources
        assert targets
        assert not sources & targets
        assert sources <= loud or not targets & loud


def _matched(matchers: list[str]) -> set[str]:
    """The alerts that all of these matchers of `alertname` let through."""
    found = set(NAMES)
    for matcher in matchers:
        how, what = re.fullmatch(r'alertname (=~|!=|=) "(.+)"', matcher).groups()  # type: ignore[union-attr]
        found = {name for name in found if bool(re.fullmatch(what, name)) != (how == "!=")}
    return found


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_how_bad_and_what_next(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in RECEIVERS
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"ops/RUNBOOK.md#{rule['alert'].lower()}"
    assert ("$labels.job" in rule["annotations"]["summary"]) == ("job" not in rule["labels"])


def test_the_runbook_has_a_section_for_each_alert_and_no_other() -> None:
    assert sorted(sections()) == NAMES
    for name, text in sections().items():
        for heading in ("For traders:", "Look first", "ikely causes", "Do not:"):
            assert heading in text, (name, heading)


def test_what_the_runbook_names_is_there() -> None:
    anchors = set(re.findall(r"\]\(#([^)]*)\)", RUNBOOK))
    assert anchors <= {name.lower() for name in NAMES}
    source = "".join(f.read_text() for part in ("app", "middleware", "blueprints") for f in (ROOT / part).rglob("*.py"))
    names = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", RUNBOOK))
    assert {name for name in names if not re.search(rf"\b{name}\b", source)} == {
        *("no_scrape", "no_target", "no_metrics", "no_push"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_alert_is_tested_to_fire_and_not_to_fire(name: str) -> None:
    cases = [
        case
        for file in TESTS
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test.get("alert_rule_test", [])
        if case["alertname"] == name
    ]
    firing = [case["exp_alerts"] for case in cases if case["exp_alerts"]]
    assert firing
    assert any(not case["exp_alerts"] for case in cases)
    fixed = [{k: v for k, v in rule["labels"].items() if k != "job"} for rule in ALERTS if rule["alert"] == name]
    for labels in fixed:
        assert any(labels.items() <= alert["exp_labels"].items() for alerts in firing for alert in alerts), labels


def test_every_record_has_a_value_in_a_test() -> None:
    asked = {
        name
        for file in TESTS
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test.get("promql_expr_test", [])
        for name in names_in(case["expr"])
    }
    assert {rule["record"] for rule in RECORDS} <= asked


def test_every_metric_that_is_asked_for_exists() -> None:
    known = series() | OTHERS | {rule["record"] for rule in RECORDS}
    unknown = {(where, name) for where, query in queries() for name in names_in(query) - known}
    assert not unknown
    mentioned = set(re.findall(r"\bpredict_[a-z_]+\b", RUNBOOK))
    assert mentioned <= known | {family_of(name) for name in known}


def test_every_label_value_that_is_asked_for_can_be() -> None:
    seen = set()
    for where, query in queries():
        for name, matchers in re.findall(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}", query):
            for label, how, text in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers):
                if label not in CLOSED:
                    continue
                values = set(text.split("|")) if how.endswith("~") else {text}
                assert values <= VALUES[family_of(name), label], (where, name, label)
                seen.add(label)
    assert {"stage", "cache", "outcome", "state"} <= seen


def test_the_dashboard_shows_what_became_of_messages() -> None:
    shown = {name for panel in panels() for target in panel["targets"] for name in names_in(target["expr"])}
    told = {name for name in series() if name.startswith("predict_notifications")}
    assert told
    assert told <= shown


def test_every_panel_says_what_it_is_and_fits_the_grid() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        x, y, w, h = (panel["gridPos"][side] for side in "xywh")
        cells = {(column, line) for column in range(x, x + w) for line in range(y, y + h)}
        assert x + w <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        for link in panel.get("links", []):
            assert link["url"].partition("#")[2] in {name.lower() for name in NAMES}


def test_prometheus_can_read_every_query_of_dashboard_and_runbook(tmp_path: Path) -> None:
    asked = [query.replace("$__rate_interval", "1m").replace("$job", "predict") for _, query in queries()]
    rules = [{"record": f"asked:{number}", "expr": query} for number, query in enumerate(asked)]
    file = tmp_path / "asked.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    run("promtool", "check", "rules", file)
