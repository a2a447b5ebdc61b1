"""Every command in the documents can be typed as it stands: what it calls is there, and those that need nothing but the demo
market are run, with a PATH that has no Python of the project."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from urllib.request import urlopen

import click
import pytest
from flask import Flask
from werkzeug.exceptions import HTTPException

from app.cli import COMMAND, cli
from app.config.settings import variables
from app.version import VERSION
from clients.event_types import TYPESCRIPT as EVENT_TYPES
from tests import node_packages
from tests.blueprints.v2.calls import document
from tests.markdown import ROOT, SPAN, blocks, pages, prose, section
from tests.redis_server import free_port
from tests.waiting import PATIENCE_S, wait_for
from tests.warm_processes import READ_AT_IMPORT
from tests.warm_processes import run as warm_run

MAKEFILE = (ROOT / "Makefile").read_text()
START = re.sub(r"^web: ", "", (ROOT / "Procfile").read_text().strip())
ADDRESS = "http://127.0.0.1:8000"
TYPED = re.compile(r"^(?:make [a-z]|\.venv/bin/|python -m |[A-Z_]+=\S+ (?:make|\.venv/bin/))")
REDIS = (
    "mkdir -p var && redis-server --port 6400 --dir var --daemonize yes --appendonly yes --maxmemory-policy noeviction",
    "redis-cli -p 6400 shutdown",
)
WHEEL = f"dist/predict_server-{VERSION}-py3-none-any.whl predict serve"
FOREIGN = {
    *("pip install railway-sdk", "railway config plan", "railway config apply", *REDIS),
    *(f"uvx --from {WHEEL}", f"pipx run --spec {WHEEL}"),
    "docker build -f ops/container/Dockerfile -t predict-server .",
    "docker run --read-only --tmpfs /tmp --stop-timeout 25 -v predict:/data -p 127.0.0.1:8000:8000 -e MARKET=demo "
    "predict-server",
    "MARKET=demo docker compose up --build",
}
"""Commands of programs that are not this project's."""


class Typed(NamedTuple):
    """A command line: the page it is on, the line, the variables set before the command, and its words."""

    page: str
    line: str
    variables: dict[str, str]
    words: list[str]


def parsed(page: str, line: str) -> Typed:
    words, set_before = shlex.split(line, comments=True), {}
    while words and re.match(r"[A-Z_]+=", words[0]):
        name, _, value = words.pop(0).partition("=")
        set_before[name] = value
    return Typed(page, line, set_before, words)


def shell_lines() -> list[Typed]:
    """Every line of every shell block."""
    return [
        parsed(str(path.relative_to(ROOT)), line)
        for path in pages()
        for block in blocks(path.read_text())
        if block.language == "sh"
        for line in block.lines
        if line.strip()
    ]


def commands_in_sentences() -> list[Typed]:
    """Every `make ...` and `.venv/bin/...` inside a sentence, without the placeholders."""
    return [
        parsed(str(path.relative_to(ROOT)), span)
        for path in pages()
        if path.name != "CHANGELOG.md"
        for span in SPAN.findall(prose(path.read_text()))
        if TYPED.match(span) and "..." not in span
    ]


LINES, SENTENCES = shell_lines(), commands_in_sentences()


def problem(command: Typed, routes: Flask, *, is_whole: bool = True) -> str | None:
    """Why a command cannot be typed as it stands; None if it can. is_whole: arguments that it needs are not left out."""
    if command.line in (START, *FOREIGN):
        return None
    program, *rest = command.words
    checks: dict[str, Callable[[list[str]], str | None]] = {
        "make": _make,
        COMMAND: lambda words: _predict(words, is_whole),
        ".venv/bin/python": _module,
        "curl": lambda words: _curl(words, routes),
    }
    unknown = [name for name in command.variables if name not in _settings()]
    if unknown:
        return f"there is no setting {unknown[0]}"
    return checks[program](rest) if program in checks else f"{program} is not there after `make setup`"


def _settings() -> set[str]:
    return {name for names in variables() for name in names.split(" or ")}


def _make(words: list[str]) -> str | None:
    targets = [word for word in words if "=" not in word]
    missing = [word for word in targets if not re.search(rf"^{re.escape(word)}:", MAKEFILE, re.MULTILINE)]
    names = [word.partition("=")[0] for word in words if "=" in word]
    unknown = [name for name in names if name not in _settings() and not re.search(rf"^{name} \?=", MAKEFILE, re.M)]
    return f"unknown to make: {missing + unknown}" if missing or unknown or not targets else None


def _predict(words: list[str], is_whole: bool) -> str | None:
    """The subcommand takes these arguments and options; nothing is run."""
    command: click.Command = cli
    try:
        while isinstance(command, click.Group):
            if not words:
                return None
            name, *words = words
            found = command.get_command(click.Context(command), name)
            if found is None:
                return f"there is no subcommand {name}"
            command = found
        if words or is_whole:
            command.make_context(command.name, words)
    except click.ClickException as exc:
        return exc.format_message()
    return None


def _module(words: list[str]) -> str | None:
    is_there = words[:1] == ["-m"] and importlib.util.find_spec(words[1]) is not None
    return None if is_there else f"{' '.join(words)} is not a module of the project"


def _curl(words: list[str], routes: Flask) -> str | None:
    method = words[words.index("-X") + 1] if "-X" in words else "GET"
    address = next(word for word in words if word.startswith("http"))
    path = re.sub("^/v1/", "/", urlsplit(address).path)
    if path.startswith("/_fault"):
        return None if method in ("GET", "PUT", "DELETE") else f"{method} {path}"
    try:
        routes.url_map.bind("localhost").match(path, method=method)
    except HTTPException as exc:
        return f"{method} {path}: {exc.name}"
    return None


@pytest.fixture
def routes(serve: Callable[..., Flask]) -> Flask:
    return serve()


def test_every_command_in_a_shell_block_can_be_typed(routes: Flask) -> None:
    assert len(LINES) > 25
    assert [(c.page, c.line, why) for c in LINES if (why := problem(c, routes))] == []


def test_every_command_in_a_sentence_can_be_typed(routes: Flask) -> None:
    assert len(SENTENCES) > 15
    named = {"python -m app"}  # where the packages are installed without `make`
    assert [
        (c.page, c.line, why) for c in SENTENCES if c.line not in named and (why := problem(c, routes, is_whole=False))
    ] == []


@pytest.mark.parametrize(
    "line",
    [
        "make sevre",
        "make serve PROT=9000",
        "MARKT=demo .venv/bin/predict serve",
        "python -m app serve",
        ".venv/bin/predict reply 2024-06-12 14:35",
        ".venv/bin/predict keys new --name x --teir proxy",
        ".venv/bin/predict backfill --days 0",
        ".venv/bin/predict keys new",
        ".venv/bin/python -m bench.none",
        "curl http://127.0.0.1:8000/none",
        "curl -X POST http://127.0.0.1:8000/mtf",
    ],
)
def test_a_command_that_cannot_be_typed_is_found(routes: Flask, line: str) -> None:
    assert problem(parsed("here", line), routes) is not None


def test_every_block_that_holds_commands_is_marked_as_one() -> None:
    found = [
        (path.name, line)
        for path in pages()
        for block in blocks(path.read_text())
        if block.language != "sh"
        for line in block.lines
        if re.match(r"(?:[A-Z_]+=\S+ )?(?:make|curl|\.venv/bin/\w+|python) ", line)
    ]
    assert found == []


def test_no_message_and_no_page_tells_to_type_what_ends_in_a_traceback() -> None:
    """`python -m app` runs where the packages are installed; two places say so, and the command is what all others name."""
    files = [
        file for folder in ("app", "blueprints", "middleware", "serving", "ops") for file in (ROOT / folder).rglob("*")
    ]
    texts = {file: file.read_text() for file in files if file.suffix in (".py", ".yml", ".md")}
    texts |= {path: path.read_text() for path in pages() if path.name != "CHANGELOG.md"}
    found = {str(path.relative_to(ROOT)): len(re.findall(r"python -m app\b", text)) for path, text in texts.items()}
    assert {name: count for name, count in found.items() if count} == {"app/__main__.py": 1, "docs/operators.md": 1}


def test_without_npm_the_build_of_the_dashboard_says_what_is_missing(tmp_path: Path) -> None:
    for name in ("find", "cmp"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    make, env = shutil.which("make") or "make", {"PATH": str(tmp_path)}
    done = subprocess.run(
        [make, "--silent", "--always-make", "dashboard"], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "npm is missing" in done.stdout


def test_where_uv_cannot_be_had_pip_installs_and_nothing_is_asked_for_again(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)
    python, asked = tmp_path / ".venv/bin/python", tmp_path / "asked"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$*" >>asked\ncase "$*" in *uv.txt) exit 1;; esac\n')
    python.chmod(0o755)

    def installed() -> list[str]:
        asked.write_text("")
        install = ["make", "--silent", ".venv/.runtime"]
        subprocess.run(install, cwd=tmp_path, env=outside(), check=True, capture_output=True, timeout=PATIENCE_S)
        return [line.split()[-1] for line in asked.read_text().splitlines()]

    assert installed() == [".venv/uv.txt", "requirements.txt"]
    assert installed() == []


# --- run as they stand ---


@pytest.fixture(scope="module")
def command() -> Path:
    """The command as `make setup` makes it. Skips where the tests run in another environment."""
    if not (ROOT / ".venv/bin/python").exists():
        pytest.skip("there is no .venv here; `make setup` makes it")
    subprocess.run(["make", "--silent", COMMAND], cwd=ROOT, env=outside(), check=True, timeout=PATIENCE_S)
    return ROOT / COMMAND


def outside(**more: str | Path) -> dict[str, str]:
    """The environment of a shell that knows nothing of the project."""
    names = ("HOME", "LANG", "TMPDIR")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, "PATH": "/usr/local/bin:/usr/bin:/bin", **{name: str(value) for name, value in more.items()}}


NEEDING_MORE = ("polygon", "import", "backfill", "watch", "mcp", "record", "train")


def needs_the_demo_alone(typed: Typed) -> bool:
    own = typed.words[0] == COMMAND and typed.words[1] not in NEEDING_MORE and "MODELS_DIR" not in typed.variables
    changes_models = list(typed.words[1:3]) in (["models", "promote"], ["models", "rollback"])
    return own and not changes_models and typed.variables.get("MARKET", "demo") == "demo"


DEMO = [typed for typed in LINES if needs_the_demo_alone(typed)]


@pytest.mark.parametrize(
    "typed",
    # the page of the report has tests of its own, and takes as long as all others together
    [pytest.param(one, id=one.line[:60], marks=[pytest.mark.soak] * ("--page" in one.words)) for one in DEMO],
)
def test_commands_that_need_the_demo_alone_run(command: Path, tmp_path: Path, typed: Typed) -> None:
    done = as_typed(typed, outside(DATA_DIR=tmp_path, **typed.variables))
    assert done.returncode == 0, done.stderr
    assert done.stdout


def as_typed(typed: Typed, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What a line of nothing but variables and one command does, warm; any other line by a shell, and so all in the soak."""
    is_plain = typed.words[0] == COMMAND and not {"|", ">", "&&", ";"} & set(typed.words)
    if is_plain and "COLD_STARTS" not in os.environ:
        read_at_import = {name: value for name, value in os.environ.items() if name.startswith(READ_AT_IMPORT)}
        return warm_run([sys.executable, "-m", "app", *typed.words[1:]], read_at_import | env)
    return subprocess.run(
        ["sh", "-c", typed.line], cwd=ROOT, env=env, capture_output=True, text=True, timeout=PATIENCE_S
    )


def test_there_are_such_commands() -> None:
    assert {typed.words[1] for typed in DEMO} >= {"replay", "keys"}


def test_the_command_runs_in_any_folder(command: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [command, "import", "SPY.txt"], cwd=tmp_path, env=outside(), capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 1
    assert done.stderr.startswith("SPY.txt: not imported. "), done.stderr


def test_help_and_wrong_usage_name_the_command_as_it_is_typed(command: Path) -> None:
    shown = as_typed(parsed("here", f"{COMMAND} --help"), outside())
    assert shown.stdout.startswith(f"Usage: {COMMAND} ")
    wrong = subprocess.run([command, "nope"], env=outside(), capture_output=True, text=True, timeout=PATIENCE_S)
    assert wrong.stderr.startswith(f"Usage: {COMMAND} ")
    assert f"Try '{COMMAND} --help' for help." in wrong.stderr


@pytest.fixture(scope="module")
def made(command: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that `make serve` started on a free port, with nothing set."""
    port = free_port()
    log = tmp_path_factory.mktemp("made") / "log"
    with log.open("w") as out:
        making = subprocess.Popen(
            ["make", "--silent", "-o", ".venv/.runtime", "serve", f"PORT={port}", f"DATA_DIR={log.parent}"],
            **{"cwd": ROOT, "env": outside(), "stdout": out, "stderr": out, "start_new_session": True},
        )
        try:
            yield _ready(f"http://127.0.0.1:{port}", making, log)
        finally:
            os.killpg(making.pid, signal.SIGTERM)
            making.wait(PATIENCE_S)


def _ready(address: str, making: subprocess.Popen[bytes], log: Path) -> str:
    def answers() -> bool:
        assert making.poll() is None, log.read_text()
        with suppress(OSError), urlopen(f"{address}/v2/bars/SPY", timeout=PATIENCE_S):
            return True  # the days of the demo are made, which may take longer than a request waits
        return False

    wait_for(answers, log.read_text(), every_s=0.1)
    return address


def test_every_request_in_the_pages_is_answered_by_the_server_that_make_serve_starts(made: str) -> None:
    if shutil.which("curl", path=outside()["PATH"]) is None:
        pytest.skip("curl is missing")
    asked = [typed for typed in LINES if typed.words[0] == "curl" and ADDRESS in typed.line]
    assert len(asked) >= 4
    for typed in asked:
        status, line = expected_status(typed.line), typed.line.replace(ADDRESS, made)
        line = line.replace("curl ", "curl -sS " if status else "curl -sS --fail ", 1)
        said = (first_line(line) if "-N" in typed.words else whole(line)).rpartition("\n\n")[2]
        assert said.removeprefix("data: ").startswith("{"), (line, said[:200])
        assert status is None or json.loads(said)["status"] == status, line


def expected_status(line: str) -> int | None:
    """The status of an error that a command asks for, as its comment says; None where it asks for none."""
    found = re.search(r" # (\d{3})$", line)
    return int(found[1]) if found else None


def whole(line: str) -> str:
    """All that a command prints."""
    done = subprocess.run(["sh", "-c", line], env=outside(), capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, (line, done.stderr)
    return done.stdout


def first_line(line: str) -> str:
    """The first line that a command prints, which need not end by itself."""
    with subprocess.Popen(["sh", "-c", f"exec {line}"], env=outside(), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        said = running.stdout.readline()
        running.terminate()
    return said


def examples(language: str) -> list[str]:
    """The blocks of a language on all pages."""
    return [
        "\n".join(block.lines) for path in pages() for block in blocks(path.read_text()) if block.language == language
    ]


EXAMPLES, TYPESCRIPT = examples("python"), examples("ts")


def doors() -> set[str]:
    """What version 2 answers about the market: all its paths but those about the server itself."""
    return {path for path in document()["paths"] if path not in ("/v2/calendar", "/v2/status", "/v2/models")}


def matched(path: str) -> str:
    """The documented path that an address in an example asks for."""
    patterns = {door: re.sub(r"\\{\w+\\}", "[A-Z]+", re.escape(door)) for door in doors()}
    return next((door for door, pattern in patterns.items() if re.fullmatch(pattern, path)), path)


def asked_for(programs: list[str]) -> set[str]:
    """The documented paths that programs ask for."""
    return {matched(urlsplit(text).path) for one in programs for text in re.findall(rf"{ADDRESS}[^\"`\s]*", one)}


def test_each_door_of_version_2_has_an_example_in_shell_in_python_and_in_typescript() -> None:
    assert doors() <= asked_for([typed.line for typed in LINES])
    assert doors() <= asked_for(EXAMPLES)
    assert doors() <= asked_for(TYPESCRIPT)


def test_each_topic_of_the_examples_has_all_three_languages() -> None:
    page = (ROOT / "docs" / "client-examples.md").read_text()
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert {"Signals", "Streams", "Socket.IO", "Errors", "Limits", "Versions"} <= set(headings)
    for heading in headings:
        languages = [block.language for block in blocks(section(page, heading))]
        assert languages == ["sh", "python", "ts"] * (len(languages) // 3), heading


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda text: text.splitlines()[-1][:60])
def test_every_python_example_runs(made: str, tmp_path: Path, example: str) -> None:
    env = outside(PYTHONPATH=ROOT / "clients" / "python")
    command = [ROOT / ".venv/bin/python", "-c", example.replace(ADDRESS, made)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.fixture(scope="module")
def compiled(made: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the TypeScript of the pages for the server that `make serve` started, compiled: 0.js, 1.js, ..."""
    folder = node_packages.linked(tmp_path_factory.mktemp("typescript"))
    shutil.copy(EVENT_TYPES, folder)
    (folder / "package.json").write_text('{"type": "module"}')
    for number, example in enumerate(TYPESCRIPT):
        (folder / f"{number}.ts").write_text(example.replace(ADDRESS, made))
    flags = ["--strict", "--skipLibCheck", "--target", "ES2022", "--module", "NodeNext"]
    files = [f"{number}.ts" for number in range(len(TYPESCRIPT))]
    node_packages.node("node_modules/typescript/bin/tsc", *flags, *files, folder=folder)
    return folder


@pytest.mark.parametrize("number", range(len(TYPESCRIPT)))
def test_every_typescript_example_passes_the_compiler_and_runs(compiled: Path, number: int) -> None:
    if 'socket.on("signal"' in TYPESCRIPT[number]:  # goes on
        assert first_line(f"{shutil.which('node')} {compiled / f'{number}.js'}").strip()
    else:
        assert node_packages.node(f"{number}.js", folder=compiled).strip()
