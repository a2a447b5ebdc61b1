"""The types of Socket.IO's messages for Python and TypeScript: made from the AsyncAPI document, and of use to type checkers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NotRequired, get_origin, get_type_hints

import pytest

from clients import event_types
from tests import node_packages
from tests.markdown import ROOT
from tests.waiting import PATIENCE_S

HERE = Path(__file__).parent / "live"
DOCUMENT = json.loads(event_types.DOCUMENT.read_text())


@pytest.mark.parametrize(
    ("file", "made"),
    [(event_types.PYTHON, event_types.python), (event_types.TYPESCRIPT, event_types.typescript)],
    ids=["Python", "TypeScript"],
)
def test_the_committed_types_are_those_that_the_document_makes(file: Path, made: object) -> None:
    """After a change: make asyncapi."""
    assert callable(made)
    assert file.read_text() == made(DOCUMENT)


def test_a_typed_dictionary_has_the_fields_of_its_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "clients" / "python"))
    from predict_client import live_events

    for name, schema in DOCUMENT["components"]["schemas"].items():
        if "properties" in schema and "oneOf" not in schema:
            kind = getattr(live_events, name)
            hints = get_type_hints(kind, include_extras=True)
            assert hints.keys() == schema["properties"].keys()
            required = {field for field, hint in hints.items() if get_origin(hint) is not NotRequired}
            assert required == set(schema.get("required", ())), name


def test_mypy_accepts_what_is_right_and_finds_what_is_wrong(tmp_path: Path) -> None:
    shutil.copy(HERE / "watch.py", tmp_path)
    (tmp_path / "mypy.ini").write_text(
        f"[mypy]\nstrict = true\nmypy_path = {ROOT / 'clients' / 'python'}\n[mypy-requests.*]\nignore_missing_imports = true\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "watch.py"], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stdout


def test_the_typescript_compiler_accepts_what_is_right_and_finds_what_is_wrong(tmp_path: Path) -> None:
    folder = node_packages.linked(tmp_path)
    shutil.copy(HERE / "watch.ts", folder)
    shutil.copy(event_types.TYPESCRIPT, folder)
    options = {
        "strict": True,
        "noEmit": True,
        "skipLibCheck": True,
        "target": "ES2022",
        "module": "NodeNext",
        "lib": ["ES2022", "DOM"],
    }
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "tsconfig.json").write_text(
        json.dumps({"compilerOptions": {**options, "types": []}, "files": ["watch.ts", "live-events.d.ts"]})
    )
    node_packages.node("node_modules/typescript/bin/tsc", "--project", ".", folder=folder)
