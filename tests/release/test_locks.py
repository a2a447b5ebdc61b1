"""The lists of pinned packages: what the code imports is named, what is named is pinned with hashes, and nothing else is."""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

import pytest

from ops.release.locks import LOCKS, ROOT, RUNTIME, named, normal, pins

SHIPPED = ("app", "blueprints", "middleware", "serving", "gunicorn.conf.py", "wsgi.py")
OPTIONAL = {
    "mcp": "requirements-mcp",
    **dict.fromkeys(("matplotlib", "scipy", "sklearn", "threadpoolctl"), "requirements-dev"),
}
"""What the server imports only where a command needs it, and the list that has it."""
OURS = {path.name.removesuffix(".py") for path in ROOT.iterdir()} | {"predict_client", "generated"}
TYPES = {"_typeshed"}
"""What is there for checkers of types alone."""
LOCK = pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: str(lock.relative_to(ROOT)))


@LOCK
def test_each_package_has_a_hash_and_is_named_or_needed(lock: Path) -> None:
    names, locked = named(lock.with_suffix(".in")), pins(lock)
    source = f"-r {lock.with_suffix('.in').relative_to(ROOT)}"
    for pin in locked.values():
        assert pin.hashes, pin.name
        needed_by = [by for by in pin.needed_by if by.split()[0] not in ("-c", "-r")]
        assert pin.name in names or (needed_by and set(needed_by) <= locked.keys()), pin.name
        assert source not in pin.needed_by or pin.name in names, f"{pin.name} is no longer in {source}: `make lock`"


@LOCK
def test_each_named_package_is_locked_at_the_version_that_is_named(lock: Path) -> None:
    locked = pins(lock)
    for name, pin in named(lock.with_suffix(".in")).items():
        assert (name, pin.version) == (name, locked[name].version if name in locked else "not locked: `make lock`")


@LOCK
def test_a_list_keeps_to_the_versions_and_files_of_the_runtime(lock: Path) -> None:
    runtime, locked = pins(RUNTIME), pins(lock)
    shared = runtime.keys() & locked.keys()
    assert {name: (locked[name].version, set(locked[name].hashes)) for name in shared} == {
        name: (runtime[name].version, set(runtime[name].hashes)) for name in shared
    }


@LOCK
def test_lists_name_no_host_and_no_path_of_a_machine(lock: Path) -> None:
    for file in (lock, lock.with_suffix(".in")):
        assert re.findall(r"^.*(?:://|--index|--find-links|-[cr] /).*$", file.read_text(), re.MULTILINE) == []


def test_what_the_server_imports_is_named() -> None:
    lists = {"": named(RUNTIME.with_suffix(".in"))}
    lists |= {name: named(ROOT / f"{name}.in") for name in OPTIONAL.values()}
    missing = {
        module: sorted(packages)
        for module, packages in _imported(SHIPPED).items()
        if not packages & lists[OPTIONAL.get(module, "")].keys()
    }
    assert missing == {}


def test_what_tests_and_tools_import_is_named() -> None:
    everything = named(RUNTIME.with_suffix(".in")) | named(ROOT / "requirements-dev.in")
    imported = _imported(("tests", "ops", "docs", ".ci", "clients/python", "clients/event_types.py"))
    assert {module: sorted(packages) for module, packages in imported.items() if not packages & everything.keys()} == {}


def _imported(places: tuple[str, ...]) -> dict[str, set[str]]:
    """The modules of others that files below these places import, each with the names of the packages that may bring it."""
    modules = {module for place in places for file in _files(ROOT / place) for module in _modules(file)}
    foreign = modules - sys.stdlib_module_names - TYPES - OURS - {path.stem for path in _files(ROOT / "tests")}
    installed = _installed()
    return {module: installed.get(module, set()) for module in foreign}


@cache
def _installed() -> dict[str, set[str]]:
    """The packages that bring a module of this name, for every module that is installed here."""
    found: dict[str, set[str]] = {}
    for package in distributions():
        files = package.read_text("RECORD") or ""
        for module in set(re.findall(r"^(\w+)(?:/|\.py,|\.[\w-]+\.so,)", files, re.MULTILINE)):
            found.setdefault(module, set()).add(normal(package.metadata["Name"]))
    return found


def _files(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


def _modules(file: Path) -> set[str]:
    """The first parts of the names of all modules that a file imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found
