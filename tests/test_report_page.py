"""The page of the report: made from the loaded models alone, the same bytes each time, and with nothing of other hosts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import cli
from app.config.settings import ARTEFACTS
from tests.support import promoted_set

COMMITTED = Path(__file__).parent.parent / "docs" / "model" / "report.html"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    found = CliRunner().invoke(cli, ["evaluate", "--page", str(path)], env={"DATA_DIR": str(path.parent / "data")})
    assert found.exit_code == 0, found.output
    return path.read_text()


def test_the_committed_page_is_of_the_shipped_models() -> None:
    text = COMMITTED.read_text()
    assert f"<code>{promoted_set(ARTEFACTS).name}</code>" in text


def test_it_says_every_cell_and_every_pooled_figure_of_the_artefacts(page: str) -> None:
    lines = page.splitlines()
    for path in promoted_set(ARTEFACTS).glob("v6_*.json"):
        evaluation = json.loads(path.read_text())["evaluation"]
        for cell in evaluation["cells"]:
            skill = re.escape(f"{cell['skill']:+.4f}")
            row = rf"{cell['ticker']} +{cell['target']} +{cell['hour']} +{cell['n']} .*{skill}"
            assert any(re.search(row, line) for line in lines if cell["ticker"] in line), cell
        for pooled in evaluation["pooled"]:
            assert f"{pooled['skill']:+.4f} [{pooled['skill_low']:+.4f}, {pooled['skill_high']:+.4f}]" in page


def test_it_has_its_pictures_in_itself_and_asks_no_other_host(page: str) -> None:
    assert page.count("<svg ") == page.count("<figcaption>") >= 5
    outside = re.findall(r"(?:src|href)=[\"']?(?:https?:)?//[^\s\"'>]+", page)
    assert outside == []
    assert "<script" not in page
