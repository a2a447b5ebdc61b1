"""The packages of Node that tests use are pinned, and their list names no registry."""

from __future__ import annotations

import json

import pytest

from tests.markdown import ROOT


@pytest.mark.parametrize("folder", ["dashboard", "tests/node", "tests/clients/typescript", "bench/peers/node"])
def test_a_lock_file_pins_every_package_and_names_no_registry(folder: str) -> None:
    packages = json.loads((ROOT / folder / "package-lock.json").read_text())["packages"]
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert all("integrity" in package for name, package in packages.items() if name)


@pytest.mark.parametrize("folder", ["dashboard", "tests/node"])
def test_packages_run_nothing_when_they_are_installed(folder: str) -> None:
    assert "ignore-scripts=true" in (ROOT / folder / ".npmrc").read_text().splitlines()
