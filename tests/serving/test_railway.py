"""The two forms of a deployment on Railway: each file is one that Railway takes, both systems say the same, and the numbers of
a rolling deployment fit those of gunicorn."""

from __future__ import annotations

import ast
import json
import runpy
import shlex
import sys
import tomllib
from types import ModuleType
from typing import Any

import jsonschema
import pytest

from app.config.settings import Settings
from tests.markdown import ROOT

FORMS = {"one region": "railway.json", "several regions": "ops/regions/railway.json"}
REGIONS = ("us-west2", "us-east4-eqdc4a", "europe-west4-drams3a", "asia-southeast1-eqsg3a")
MARGIN_S = 5
"""Seconds between the end of gunicorn's patience and Railway's SIGKILL."""

COUNT = {"type": "integer", "minimum": 0}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["$schema", "build", "deploy"],
    "properties": {
        "$schema": {"const": "https://railway.com/railway.schema.json"},
        "build": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"builder": {"const": "RAILPACK"}, "buildCommand": {"type": "string"}},
        },
        "deploy": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "startCommand": {"type": "string"},
                "healthcheckPath": {"type": "string", "pattern": "^/"},
                "healthcheckTimeout": COUNT,
                "restartPolicyType": {"enum": ["ON_FAILURE", "ALWAYS", "NEVER"]},
                "restartPolicyMaxRetries": COUNT,
                "overlapSeconds": COUNT,
                "drainingSeconds": COUNT,
                "multiRegionConfig": {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        name: {
                            "type": "object",
                            "additionalProperties": False,
                            "required": ["numReplicas"],
                            "properties": {"numReplicas": {"type": "integer", "minimum": 1, "maximum": 50}},
                        }
                        for name in REGIONS
                    },
                },
            },
        },
    },
}
"""The keys of https://railway.com/railway.schema.json that are used here, closed, and the regions that Railway has."""


def as_file(form: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / FORMS[form]).read_text())
    return found


def gunicorn_setting(name: str) -> int:
    tree = ast.parse((ROOT / "gunicorn.conf.py").read_text())
    (value,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name
    ]
    found: int = ast.literal_eval(value)
    return found


@pytest.fixture
def as_code(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The services and volumes that `.railway/railway.py` declares, in the words that the SDK gets them in."""
    sdk: Any = ModuleType("railway_sdk")
    sdk.define_railway = lambda function: function
    sdk.github = lambda repository: {"github": repository}
    sdk.preserve = lambda: "kept as it is"
    sdk.volume = lambda name: {"volume": name}
    sdk.service = lambda name, **config: {"service": name, **config}
    sdk.project = lambda name, resources: resources
    monkeypatch.setitem(sys.modules, "railway_sdk", sdk)

    def declared(form: str) -> tuple[list[Any], dict[str, Any]]:
        main = runpy.run_path(str(ROOT / ".railway" / "railway.py"))["main"]
        main.__globals__["SEVERAL_REGIONS"] = form == "several regions"
        resources = main()
        (service,) = [one for one in resources if "service" in one]
        return [one for one in resources if "volume" in one], service

    return declared


@pytest.mark.parametrize("form", FORMS)
def test_railway_takes_the_file(form: str) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(as_file(form))


@pytest.mark.parametrize(
    "wrong", [{"drainingSeconds": "25"}, {"multiRegionConfig": {"us-east": {"numReplicas": 1}}}, {"drainSeconds": 25}]
)
def test_what_railway_refuses_is_noticed(wrong: dict[str, Any]) -> None:
    body = as_file("one region")
    body["deploy"] |= wrong
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(body)


@pytest.mark.parametrize("form", FORMS)
def test_both_systems_say_the_same(form: str, as_code: Any) -> None:
    body, (_, service) = as_file(form), as_code(form)
    deploy = dict(body["deploy"])
    regions = {name: region["numReplicas"] for name, region in deploy.pop("multiRegionConfig").items()}
    said = {
        **service["deploy"],
        "startCommand": service["start"],
        "healthcheckPath": service["healthcheck"],
        "healthcheckTimeout": service["healthcheckTimeout"],
    }
    assert said == deploy
    assert service["regions"] == regions
    assert service["build"] == body["build"]


def test_railway_builds_by_requirements_txt_and_not_by_another_file() -> None:
    """Railway builds a Dockerfile that is in the root, whatever its files say. Railpack installs requirements.txt before all
    others; a lock file of another tool would bring that tool along."""
    assert json.loads((ROOT / "railpack.json").read_text())["provider"] == "python"
    assert (ROOT / "requirements.txt").is_file()
    others = (
        "Dockerfile",
        "Pipfile",
        "uv.lock",
        "poetry.lock",
        "pdm.lock",
        ".python-version",
        "runtime.txt",
        "main.py",
    )
    assert [name for name in others if (ROOT / name).exists()] == []
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert list(tools) == ["build-system"], "the package is described in setup.cfg"


def test_the_two_forms_differ_in_replicas_and_overlap_alone() -> None:
    one, several = (as_file(form) for form in FORMS)
    for body in (one, several):
        for name in ("multiRegionConfig", "overlapSeconds"):
            del body["deploy"][name]
    assert one == several


def test_the_plain_form_is_one_replica_with_the_volume_that_keeps_the_record(as_code: Any) -> None:
    volumes, service = as_code("one region")
    assert list(service["regions"].values()) == [1]
    assert service["volumeMounts"] == {service["env"]["DATA_DIR"]: volumes[0]}
    assert service["deploy"]["overlapSeconds"] == 0, "two servers would share a volume"
    assert "REDIS_URL" not in service["env"]


def test_the_form_with_several_regions_has_redis_and_no_volume(as_code: Any) -> None:
    volumes, service = as_code("several regions")
    assert set(service["regions"]) == set(REGIONS)
    assert sum(service["regions"].values()) > len(REGIONS)
    assert "REDIS_URL" in service["env"]
    assert (volumes, "volumeMounts" in service, "DATA_DIR" in service["env"]) == ([], False, False)
    assert service["deploy"]["overlapSeconds"] > 0, "new replicas serve before old ones stop"


def test_the_form_that_is_chosen_unless_one_says_otherwise_is_the_plain_one() -> None:
    tree = ast.parse((ROOT / ".railway" / "railway.py").read_text())
    assert "SEVERAL_REGIONS = False" in [ast.unparse(node) for node in tree.body]


@pytest.mark.parametrize("form", FORMS)
def test_gunicorn_has_ended_before_railway_kills_it(form: str) -> None:
    deploy, drains_s = as_file(form)["deploy"], Settings.model_fields["drain_seconds"].default
    assert drains_s + gunicorn_setting("graceful_timeout") + MARGIN_S <= deploy["drainingSeconds"]


@pytest.mark.parametrize("form", FORMS)
def test_railway_starts_the_same_command_as_the_procfile(form: str) -> None:
    deploy = as_file(form)["deploy"]
    command = (ROOT / "Procfile").read_text().strip().removeprefix("web: ")
    assert deploy["startCommand"] == command
    assert shlex.split(command)[1] == "exec"
    assert deploy["healthcheckPath"] == "/readyz"


@pytest.mark.parametrize("form", FORMS)
def test_railway_builds_the_dashboard_with_a_node_that_can(form: str) -> None:
    command = as_file(form)["build"]["buildCommand"]
    assert command.startswith("npm --prefix dashboard ci ")
    assert "npm --prefix dashboard run build" in command
    scripts = json.loads((ROOT / "dashboard" / "package.json").read_text())["scripts"]
    assert "vite build" in scripts["build"]
    assert json.loads((ROOT / "railpack.json").read_text())["packages"]["node"] == "24"
