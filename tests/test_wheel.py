"""The wheel alone serves: in an empty folder, by a user without a checkout who may write nowhere else. Its packages are those
of this environment; the soak test downloads them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from email.parser import BytesParser
from pathlib import Path
from zipfile import ZipFile

import pytest
import requests
import socketio

from app.market.bars import Span
from app.model.verdicts import Verdict
from app.version import VERSION
from ops.release import wheel as ops_wheel
from tests.browser.watching import build as build_dashboard
from tests.markdown import ROOT
from tests.market.test_recorded import table, write_csv
from tests.redis_server import free_port
from tests.serving.test_gunicorn import Server
from tests.support import session_bars
from tests.waiting import PATIENCE_S

NOBODY = 65534
AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)
"""Runs a command as a user who may read everything, since this Python may be in another user's folder, and own nothing."""

UNREACHABLE = ("error sending request", "dns error", "Could not connect", "tcp connect error", "timed out")
"""What uv says where there is no registry."""

LEFT_OUT = {"blueprints/v2/examples.json"}
"""Files of the packages that only the making of documents reads."""

PACKAGES = ("app", "blueprints", "middleware", "serving")


def wheel_in(folder: Path) -> Path:
    """The wheel of this checkout. Skips the test where what builds it cannot be had."""
    build_dashboard()
    try:
        return ops_wheel.build(folder)
    except SystemExit as exc:
        if any(words in str(exc) for words in UNREACHABLE):
            pytest.skip(f"the packages that build a wheel cannot be had: {exc}")
        raise


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel_in(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    with ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_same_tree_gives_the_same_bytes_whatever_the_umask_is(wheel: Path, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        again = wheel_in(tmp_path)
    finally:
        os.umask(before)
    assert again.name == wheel.name == f"predict_server-{VERSION}-py3-none-any.whl"
    assert ops_wheel.sha256_of(again) == ops_wheel.sha256_of(wheel)


def test_nothing_in_the_wheel_names_a_machine(wheel: Path) -> None:
    places = "|".join(map(re.escape, (f"{ROOT}/", f"{sys.prefix}/", "predict-wheel-")))
    bad = re.compile((r"(?<!\w)/(?:work|root|home|tmp|Users)/|" + places).encode())
    with ZipFile(wheel) as archive:
        assert [name for name in archive.namelist() if bad.search(archive.read(name))] == []


def test_the_wheel_has_every_file_of_its_packages(names: Sequence[str]) -> None:
    listed = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(listed.stdout.split()) - set(names) == LEFT_OUT
    assert {name.split("/")[0] for name in names} == {*PACKAGES, f"predict_server-{VERSION}.dist-info"}


def test_a_file_in_the_wheel_is_as_in_the_checkout(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not name.startswith("predict_server-"):
                beside = ROOT / name.removeprefix("app/shipped/")
                assert archive.read(name) == beside.read_bytes(), name


def test_the_wheel_asks_for_the_pinned_packages(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        about = BytesParser().parsebytes(archive.read(f"predict_server-{VERSION}.dist-info/METADATA"))
    needed = {line for line in about.get_all("Requires-Dist", []) if ";" not in line}
    lines = (line.partition("#")[0].strip() for line in (ROOT / "requirements.in").read_text().splitlines())
    assert needed == {line for line in lines if line}
    assert all("==" in line for line in needed)


# --- installed ---


@dataclass(frozen=True)
class Installed:
    """The wheel in a virtual environment, and the user who runs it: with an empty home, in an empty folder."""

    programs: Path
    home: Path
    folder: Path
    user: Sequence[str]

    @property
    def state(self) -> Path:
        usual = ("Library", "Application Support") if sys.platform == "darwin" else (".local", "share")
        return self.home.joinpath(*usual, "predict-server")

    def environment(self, **more: object) -> Mapping[str, str]:
        """All that the user's shell knows."""
        path = f"{self.programs}:/usr/local/bin:/usr/bin:/bin"
        return {"HOME": str(self.home), "PATH": path, **{name: str(value) for name, value in more.items()}}

    def command(self, *words: str | Path) -> list[str]:
        return [*self.user, *map(str, words)]

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        command = self.command(self.programs / "predict", *words)
        return subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=PATIENCE_S
        )


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the installed commands."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, symlinks=True)
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--compile-bytecode"]
    subprocess.run([*install, "--python", environment / "bin" / "python", wheel], check=True, timeout=PATIENCE_S)
    (library,) = environment.glob("lib/python*/site-packages")
    (library / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin"


@pytest.fixture
def installed(programs: Path, tmp_path: Path) -> Installed:
    return user_of(programs, tmp_path)


def user_of(programs: Path, folder: Path) -> Installed:
    """The user: another one than this process's where that is root and may change."""
    user = AS_NOBODY if os.geteuid() == 0 and can_change() else ()
    own = Installed(programs, folder / "home", folder / "empty", user)
    for place in (own.home, own.folder):
        place.mkdir()
        if user:
            os.chown(place, NOBODY, NOBODY)
    return own


def can_change() -> bool:
    return shutil.which("setpriv") is not None and not subprocess.run([*AS_NOBODY, "true"], check=False).returncode


def line_of_watch(user: Installed, base: str) -> str:
    """The first line of `predict watch`, which follows by the official client."""
    words = user.command(user.programs / "predict", "watch", "SPY", "--url", base)
    process = subprocess.Popen(
        words, cwd=user.folder, env=user.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        return process.stdout.readline()
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE_S)


@pytest.fixture
def server(installed: Installed) -> Iterator[Server]:
    """A server of the demo, as `predict serve` starts it in an empty folder with nothing set but a free port."""
    yield from serving(installed, installed.programs / "predict", "serve")


def serving(user: Installed, *words: str | Path, **more: object) -> Iterator[Server]:
    port, log = free_port(), user.home.with_name("log")
    with log.open("w") as out:
        process = subprocess.Popen(
            user.command(*words),
            cwd=user.folder,
            env=user.environment(PORT=port, **more),
            stdout=out,
            stderr=out,
            text=True,
            start_new_session=True,
        )
    try:
        running = Server(process, f"http://127.0.0.1:{port}", log)
        running.wait_ready()
        yield running
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)


def has_all_pages(server: Server) -> None:
    """The dashboard with its assets, the pages of documents and what they load, and a signal."""
    page = requests.get(server.base, headers={"Accept": "text/html"}, timeout=PATIENCE_S)
    assets = re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text)
    assert len(assets) >= 2
    for path in ("/docs", "/docs/page.js", "/docs/swagger-ui.css", "/docs/socket-io", "/asyncapi.json", *assets):
        assert server.get(path).status_code == 200, path
    assert server.get("/openapi.json").content == (ROOT / "blueprints" / "v2" / "openapi.json").read_bytes()
    assert server.get("/readyz").json()["status"] == "ok"
    assert server.get("/health").json()["version"] == VERSION
    assert server.get("/trading-directions?ticker=SPY").json()["data_status"]["source"] == "demo"


def test_the_wheel_alone_serves_the_demo_in_an_empty_folder(server: Server, installed: Installed) -> None:
    has_all_pages(server)
    with socketio.SimpleClient() as client:
        client.connect(server.base)
        assert client.call("subscribe", {"ticker": "SPY"}, timeout=PATIENCE_S)["subscribed"] == ["SPY"]
        heard = ""
        while heard != "snapshot":
            heard, *_ = client.receive(timeout=PATIENCE_S)
    assert " SPY  snapshot " in line_of_watch(installed, server.base)
    assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()
    assert list(installed.state.rglob("record.sqlite3")), "the record is in the user's folder"
    assert list(installed.folder.iterdir()) == []


def test_modules_in_the_working_folder_are_not_taken_for_the_servers(installed: Installed) -> None:
    """`app` and `wsgi` are names that the folder of another project is likely to hold."""
    for name in ("wsgi.py", "app.py", "serving.py", "gunicorn.conf.py"):
        (installed.folder / name).write_text("raise SystemExit('this is another project')\n")
    for server in serving(installed, installed.programs / "predict", "serve"):
        assert server.get("/readyz").status_code == 200


def test_the_wheel_alone_imports_bars_and_shows_the_stored_report(installed: Installed) -> None:
    bars = write_csv(installed.folder / "SPY_5min.csv", table(session_bars(span=Span.FIVE_MINUTES)))
    brought = installed.run("import", bars.name)
    assert "SPY_5min.csv: 5 bars imported, none rejected" in brought.stdout, brought.stderr
    assert (installed.state / "recorded.sqlite3").exists()
    report = installed.run("evaluate")
    assert report.returncode == 0, report.stderr
    rows = [line for line in report.stdout.splitlines() if line.startswith(("SPY ", "QQQ ", "IWM "))]
    assert sum(row.endswith(tuple(Verdict)) for row in rows) == 66, "the cells of both spans"
    assert "bring them in with `predict import`" in report.stdout


def test_the_wheel_writes_its_rules_for_prometheus_and_grafana_where_it_is_told(installed: Installed) -> None:
    done = installed.run("rules", "watching")
    assert done.returncode == 0, done.stderr
    for path in ("prometheus/alerts.yml", "prometheus/records.yml", "grafana/predict.json", "RUNBOOK.md"):
        assert (installed.folder / "watching" / path).read_bytes() == (ROOT / "ops" / path).read_bytes()


READ_ONLY = """
mount --rbind / "$1" && mount -o remount,bind,ro "$1" && mount --bind "$2" "$1$2" || exit 77
shift 2 && PATH="$PATH:/usr/sbin" exec chroot "$root" "$@"
"""
"""Runs a command on a root of which nothing but one folder can be written."""


def test_the_server_needs_no_other_folder_than_its_own_on_a_read_only_root(installed: Installed) -> None:
    """As in a container with `read_only`."""
    if not installed.user or not can_mount():
        pytest.skip("it takes root and unshare to make a root that is read-only")
    root = installed.home.with_name("root")
    root.mkdir()
    outer = ("unshare", "--mount", "--propagation", "private", "env", f"root={root}", "sh", "-c", READ_ONLY, "sh")
    inside = ("sh", "-c", 'cd "$DATA_DIR" && ! touch /tmp/written && exec "$@"', "sh")
    user = replace(installed, user=(*outer, str(root), str(installed.folder), *installed.user))
    own = {"DATA_DIR": installed.folder, "TMPDIR": installed.folder, "HOME": "/nowhere"}
    for server in serving(user, *inside, installed.programs / "predict", "serve", **own):
        assert server.get("/readyz").json()["status"] == "ok"
        assert server.get("/trading-directions?ticker=SPY").json()["data_status"]["source"] == "demo"
    assert list(installed.folder.rglob("record.sqlite3"))


def can_mount() -> bool:
    probe = ["unshare", "--mount", "--propagation", "private", "mount", "--bind", "/", "/mnt"]
    return (
        shutil.which("unshare") is not None and not subprocess.run(probe, check=False, capture_output=True).returncode
    )


def test_help_and_version_of_the_installed_command(installed: Installed) -> None:
    assert "Try 'predict --help' for help." in installed.run("nothing").stderr
    assert installed.run("--version").stdout == f"predict server {VERSION}\n"


@pytest.mark.soak
def test_uvx_runs_the_wheel_with_packages_that_it_downloads(wheel: Path, tmp_path: Path) -> None:
    user = user_of(Path(sys.executable).parent, tmp_path)
    uvx = [*(sys.executable, "-m", "uv", "tool", "run"), "--python", sys.executable, "--from", str(wheel)]
    own = {"UV_CACHE_DIR": user.home / "cache", "UV_TOOL_DIR": user.home / "tools"}
    reaching = {
        name: value for name, value in os.environ.items() if name.startswith(("UV_", "SSL_")) or "PROXY" in name
    }
    for server in serving(user, *uvx, "predict", "serve", **{**reaching, **own}):
        has_all_pages(server)
    assert stat.S_ISDIR((user.home / "cache").stat().st_mode)
