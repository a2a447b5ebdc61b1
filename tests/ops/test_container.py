"""The image and `compose.yaml`, as far as that can be known without a container engine: the linter is content, the image is
built from all that it needs, its steps install a server that serves, and the files keep what the documents promise."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from app.config.settings import variables
from tests.browser.watching import build as build_dashboard
from tests.markdown import ROOT
from tests.ops.test_rules import run
from tests.redis_server import free_port
from tests.serving.test_gunicorn import Server, started
from tests.waiting import PATIENCE_S

CONTAINER = ROOT / "ops" / "container"
DOCKERFILE = (CONTAINER / "Dockerfile").read_text()
RUNTIME = DOCKERFILE.rpartition("\nFROM ")[2]
"""The last stage, which is what runs."""

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SHIPPED: tuple[str, ...] = ast.literal_eval(
    (ROOT / "setup.py").read_text().partition("SHIPPED = ")[2].partition("\n\n\n")[0]
)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
IGNORED = [
    line for line in (CONTAINER / "Dockerfile.dockerignore").read_text().splitlines() if line[:1] not in ("", "#")
]


def is_sent(path: str) -> bool:
    """Whether a file of the checkout comes into the build: the last line of .dockerignore that fits it decides."""
    parts = path.split("/")
    folders = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    sent = True
    for line in IGNORED:
        pattern = line.removeprefix("!")
        names = parts if pattern.startswith("**/") else folders
        if any(fnmatch(name, pattern.removeprefix("**/")) for name in names):
            sent = line.startswith("!")
    return sent


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("app/cli.py", True),
        ("dashboard/src/main.ts", True),
        ("ops/container/install", True),
        ("setup.py", True),
        ("app/__pycache__/cli.pyc", False),
        ("dashboard/dist/index.html", False),
        ("dashboard/node_modules/vite/index.js", False),
        ("var/record.sqlite3", False),
        (".git/config", False),
        (".venv/bin/python", False),
        ("tests/conftest.py", False),
        ("docs/index.md", False),
    ],
)
def test_the_build_gets_sources_and_nothing_else(path: str, sent: bool) -> None:
    assert is_sent(path) is sent


def test_the_build_gets_every_file_that_the_wheel_is_made_of() -> None:
    packages = ("app", "blueprints", "middleware", "serving", "setup.py", "setup.cfg", "pyproject.toml", "dashboard")
    tracked = subprocess.run(["git", "ls-files", *packages], cwd=ROOT, capture_output=True, text=True, check=True)
    shipped = [path for pattern in SHIPPED for path in ROOT.glob(pattern) if not pattern.startswith("dashboard/")]
    named = [*tracked.stdout.split(), *(str(path.relative_to(ROOT)) for path in shipped)]
    assert len(named) > 300
    assert [name for name in named if "__pycache__" not in name and not is_sent(name)] == []
    copied = re.findall(r"^COPY ((?!--from).+) \S+$", DOCKERFILE, re.MULTILINE)
    assert [name for line in copied for name in line.split() if name != "." and not is_sent(name)] == []


def test_the_linter_is_content() -> None:
    beside = Path(sys.prefix, "bin", "hadolint")
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is missing; `make setup` installs it where there is one for the machine")
    done = subprocess.run([program, CONTAINER / "Dockerfile"], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_runs_as_a_user_of_its_own_and_keeps_state_in_its_volume() -> None:
    assert re.search(r"^USER 10001:10001$", RUNTIME, re.MULTILINE)
    assert re.search(r"^VOLUME /data$", RUNTIME, re.MULTILINE)
    said = dict(re.findall(r"(\w+)=(\S+)", RUNTIME.partition("\nENV ")[2].partition("\nWORKDIR")[0]))
    assert (said["DATA_DIR"], said["MARKET"]) == ("/data", "polygon"), "without a key it is an error and no demo"
    assert set(said) - {"PATH", "PYTHONDONTWRITEBYTECODE"} <= set(variables())
    assert RUNTIME.rstrip().endswith('ENTRYPOINT ["predict"]\nCMD ["serve"]')


def test_no_image_is_named_without_a_tag() -> None:
    images = [*re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE), *(one["image"] for one in SERVICES.values())]
    tags = [name.partition(":")[2] for name in images if name != "predict-server"]
    assert all(tag and tag != "latest" for tag in tags), images


# --- the health check ---


HEALTH: list[str] = json.loads(re.findall(r"^  CMD (\[.*\])$", RUNTIME, re.MULTILINE)[0])


@contextmanager
def answering(status: int) -> Iterator[int]:
    """The port of a server whose /readyz has this status, and where nothing else is."""

    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def is_healthy(port: int) -> bool:
    program, *words = HEALTH
    assert program == "python", "the image has no curl"
    done = subprocess.run(
        [sys.executable, *words], env={"PORT": str(port)}, capture_output=True, timeout=PATIENCE_S, check=False
    )
    return done.returncode == 0


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_health_check_is_what_readyz_says(status: int, healthy: bool) -> None:
    with answering(status) as port:
        assert is_healthy(port) is healthy


def test_the_health_check_fails_where_nothing_listens() -> None:
    assert not is_healthy(free_port())


# --- compose.yaml ---


def test_compose_starts_what_the_documents_promise() -> None:
    assert set(SERVICES) == {"predict", "redis", "prometheus", "grafana", "jaeger"}
    command = SERVICES["redis"]["command"]
    assert command[command.index("--appendonly") + 1] == "yes"
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    build = SERVICES["predict"]["build"]
    assert (ROOT / build["context"] / build["dockerfile"]) == CONTAINER / "Dockerfile"


def test_compose_gives_the_server_a_read_only_root_and_25_s_to_stop() -> None:
    server = SERVICES["predict"]
    assert (server["read_only"], server["tmpfs"], server["cap_drop"]) == (True, ["/tmp"], ["ALL"])
    assert server["volumes"] == ["predict:/data"]
    assert int(server["stop_grace_period"].removesuffix("s")) >= 25


def test_compose_opens_ports_on_loopback_alone() -> None:
    ports = [port for one in SERVICES.values() for port in one.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_sets_settings_that_exist_and_has_the_operator_choose_the_market() -> None:
    """Made-up prices are shown to nobody who did not ask for them: compose does not start without MARKET."""
    known = {name for names in variables() for name in names.split(" or ")}
    environment = SERVICES["predict"]["environment"]
    assert set(environment) <= known
    assert environment["MARKET"].startswith("${MARKET:?choose a market, demo or polygon")
    for name in ("POLYGON_API_KEY", "MASSIVE_API_KEY"):
        assert environment[name] == f"${{{name}:-}}"


def test_every_file_and_volume_that_compose_mounts_is_there() -> None:
    mounts = [mount.split(":")[0] for one in SERVICES.values() for mount in one.get("volumes", ())]
    files = [name for name in mounts if name.startswith("./")]
    assert [name for name in files if not (ROOT / name).is_file()] == []
    assert set(mounts) - set(files) == set(COMPOSE["volumes"])


def test_prometheus_of_compose_has_the_rules_and_the_servers_private_port(tmp_path: Path) -> None:
    for mount in SERVICES["prometheus"]["volumes"]:
        source, target, *_ = mount.split(":")
        if source.startswith("./"):
            shutil.copy(ROOT / source, tmp_path / Path(target).name)
    run("promtool", "check", "config", tmp_path / "prometheus.yml")
    settings = yaml.safe_load((tmp_path / "prometheus.yml").read_text())
    (job,) = settings["scrape_configs"]
    assert job["job_name"] == "predict", "the rules rely on it"
    port = SERVICES["predict"]["environment"]["OPERATIONS_PORT"]
    assert job["static_configs"] == [{"targets": [f"predict:{port}"]}]
    assert set(settings["rule_files"]) == {"records.yml", "alerts.yml"}


def test_grafana_of_compose_has_the_dashboard_and_both_sources() -> None:
    provided = yaml.safe_load((CONTAINER / "grafana" / "dashboards.yml").read_text())["providers"][0]["options"]["path"]
    mounts = [mount.split(":") for mount in SERVICES["grafana"]["volumes"]]
    assert ["./ops/grafana/predict.json", f"{provided}/predict.json", "ro"] in mounts
    sources = yaml.safe_load((CONTAINER / "grafana" / "datasources.yml").read_text())["datasources"]
    assert {source["url"] for source in sources} == {"http://prometheus:9090", "http://jaeger:16686"}


# --- the steps of the image ---


@pytest.mark.soak
def test_the_steps_of_the_image_install_a_server_that_serves(tmp_path: Path) -> None:
    """In a folder that has only what the build gets; the packages are downloaded."""
    build_dashboard()
    source, installed = tmp_path / "source", tmp_path / "predict"
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    built = [str(path.relative_to(ROOT)) for path in (ROOT / "dashboard" / "dist").rglob("*") if path.is_file()]
    for name in [*filter(is_sent, tracked), *built]:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    steps = re.findall(r"^RUN ops/container/install (\w+) /opt/predict$", DOCKERFILE, re.MULTILINE)
    assert steps == ["packages", "server"]
    for step in steps:
        subprocess.run(["ops/container/install", step, installed], cwd=source, env=env, check=True, timeout=550)
    shutil.rmtree(source)
    command = [str(installed / "bin" / "predict"), "serve"]
    with started(command, tmp_path / "log", MARKET="demo", DATA_DIR=tmp_path / "data") as server:
        serves(server)
    assert not list(installed.glob("lib/python*/site-packages/pip"))


def serves(server: Server) -> None:
    server.wait_ready()
    assert server.get("/openapi.json").status_code == 200
    assert server.get("/trading-directions?ticker=SPY").json()["data_status"]["source"] == "demo"
