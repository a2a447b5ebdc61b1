"""The command line, as its own process: every failure is one sentence and a status, never a trace."""

from __future__ import annotations

import gzip
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from app import cli
from app.commands import shared
from app.commands.shared import events_printing_waits
from app.config.settings import ARTEFACTS
from app.factory.markets import namespace_of
from app.market.bars import Span, to_ms
from app.market.cache import BarCache
from app.market.calendar import day_of_ms
from app.market.recorded import RecordedBars
from app.model.verdicts import Verdict, counts_text, verdict_of_record
from app.signals.policy import SUPPORTED
from app.simulator.server import PolygonSimulator
from tests import warm_processes
from tests.market.test_recorded import table, write_csv, write_parquet
from tests.pipeline.recorded_days import coming_true, keep_closes, lock_days, trading_days
from tests.provider.world import KEY as WORLD_KEY
from tests.provider.world import simulated_provider
from tests.support import CALENDAR, promoted_set, session_bars
from tests.waiting import PATIENCE_S

ROOT = Path(__file__).parent.parent


def run(*args: str | Path, **environment: str | Path) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("MARKET", "CLOCK", "POLYGON_API_KEY")}
    command = [sys.executable, "-m", "app", *map(str, args)]
    return warm_processes.run(command, kept | {k: str(v) for k, v in environment.items()})


def test_import_says_what_came_in_and_what_was_left_out(tmp_path: Path) -> None:
    good = write_parquet(tmp_path / "SPY_5min.parquet", table(session_bars(5, span=Span.FIVE_MINUTES), h=1.0))
    done = run("import", good, DATA_DIR=tmp_path / "d")
    assert done.returncode == 0
    assert (
        "SPY_5min.parquet: 4 bars imported, 1 rejected (1 x low or high does not enclose open and close)" in done.stdout
    )
    again = run("import", good, DATA_DIR=tmp_path / "d")
    assert "SPY_5min.parquet: already imported, 4 bars" in again.stdout


def test_import_of_a_folder_takes_its_series_and_leaves_the_rest(tmp_path: Path) -> None:
    folder = tmp_path / "bars"
    folder.mkdir()
    write_csv(folder / "SPY_5min.csv", table(session_bars(span=Span.FIVE_MINUTES)))
    (folder / "README.md").write_text("no bars")
    done = run("import", folder, DATA_DIR=tmp_path / "d")
    assert done.returncode == 0
    assert done.stdout.count("bars imported") == 1


def test_a_broken_file_is_said_and_the_good_one_still_comes_in(tmp_path: Path) -> None:
    bad = tmp_path / "QQQ_5min.parquet"
    bad.write_bytes(b"nothing of the kind")
    good = write_csv(tmp_path / "SPY_5min.csv", table(session_bars(span=Span.FIVE_MINUTES)))
    done = run("import", bad, good, DATA_DIR=tmp_path / "d")
    assert done.returncode == 1
    assert "QQQ_5min.parquet: not imported. Cannot be read" in done.stderr
    assert "SPY_5min.csv: 5 bars imported" in done.stdout
    assert "Traceback" not in done.stderr


def test_import_prints_what_was_recognised_and_reads_every_ending_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "bars"
    folder.mkdir()
    bars = table(session_bars(span=Span.FIVE_MINUTES))
    write_csv(folder / "SPY_5min.CSV", bars)
    plain = write_csv(folder / "QQQ_5min.csv", bars)
    (folder / "IWM_5min.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (folder / "notes.xlsx").write_text("no bars")
    done = run("import", folder, DATA_DIR=tmp_path / "d")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("5 bars imported") == 3
    assert done.stdout.count("milliseconds since the epoch (UTC)") == 3
    assert "columns t = 't', o = 'o'" in done.stdout
    assert "left out, not named like SPY_5min.parquet: notes.xlsx" in done.stdout


def test_the_command_line_outside_its_environment_says_how_to_get_one() -> None:
    """Isolated from all installed packages, as the system's own Python is."""
    bare = [sys.executable, "-S", "-m", "app", "import", "x"]
    done = subprocess.run(bare, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"Error: \w+ is not installed here\. `make setup` installs .*\n", done.stderr)


def test_import_says_which_bars_no_answer_reads(tmp_path: Path) -> None:
    columns = table(session_bars(60, span=Span.FIVE_MINUTES))
    files = [write_csv(tmp_path / f"{name}.csv", columns) for name in ("aapl_5min", "SPY_5min", "SPY_5min_other")]
    done = run("import", *files, DATA_DIR=tmp_path / "d")
    assert done.returncode == 0, done.stderr
    assert "no answer reads these bars: AAPL is not served, SPY, QQQ, IWM are" in done.stdout
    assert "no answer reads these bars: 1min, 5min, 1day bars are read" in done.stdout
    assert done.stdout.count("no answer reads") == 2
    assert done.stdout.count("bars imported, none rejected\n") == 3


def test_import_of_a_folder_without_series_or_of_nothing_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    empty = run("import", tmp_path / "empty", DATA_DIR=tmp_path / "d")
    assert (empty.returncode, "no file in this folder is named like" in empty.stderr) == (1, True)
    nowhere = run("import", tmp_path / "nowhere", DATA_DIR=tmp_path / "d")
    assert (
        nowhere.returncode,
        "nowhere: not imported. Cannot be read: No such file or directory." in nowhere.stderr,
    ) == (1, True)


def test_import_of_a_file_that_is_mostly_rejected_ends_with_an_error(tmp_path: Path) -> None:
    columns = table(session_bars(40, span=Span.FIVE_MINUTES))
    columns["h"] = [1.0] * 36 + columns["h"][36:]
    done = run("import", write_csv(tmp_path / "SPY_5min.csv", columns), DATA_DIR=tmp_path / "d")
    assert done.returncode == 1
    assert "36 of 40 rows rejected" in done.stderr


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = run("import", tmp_path / "SPY_5min.csv", DATA_DIR=tmp_path / "d")
    assert done.returncode == 1
    assert done.stderr.startswith("SPY_5min.csv: not imported. Cannot be read: No such file or directory.\n")


def test_a_file_of_the_data_dir_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "d" / "recorded.sqlite3").mkdir(parents=True)
    bars = write_csv(tmp_path / "SPY_5min.csv", table(session_bars(span=Span.FIVE_MINUTES)))
    done = run("import", bars, DATA_DIR=tmp_path / "d")
    assert (done.returncode, done.stderr) == (1, "Error: the server cannot open its file recorded.sqlite3\n")


USING_DATA_DIR = {
    "import": ["import", "SPY_5min.csv"],
    "replay": ["replay", "2024-06-12", "14:35"],
    "backfill": ["backfill", "--days", "3"],
    "polygon": ["polygon", "--port", "0", "--market", "recorded"],
    "models": ["models", "list"],
    "train": ["train"],
    "evaluate": ["evaluate"],
    "record": ["record", "export", "record.jsonl"],
}


@pytest.mark.parametrize("inside", ["", "deeper"])
@pytest.mark.parametrize("command", USING_DATA_DIR)
def test_a_data_dir_that_is_a_file_ends_every_command_with_one_sentence(
    tmp_path: Path, command: str, inside: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("in the way")
    done = ended(monkeypatch, capsys, USING_DATA_DIR[command], MARKET="recorded", DATA_DIR=file / inside)
    assert done == (1, f"Error: DATA_DIR: {str(file)!r} is a file, where a folder is needed\n")


@pytest.mark.parametrize("command", ["replay", "evaluate"])
def test_a_models_dir_without_models_ends_every_command_that_reads_them_with_one_sentence(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "nowhere"):
        args = USING_DATA_DIR[command]
        done = ended(monkeypatch, capsys, args, MARKET="recorded", DATA_DIR=tmp_path / "d", MODELS_DIR=folder)
        said = f"Error: MODELS_DIR: there are no models in {str(folder)!r}, as it holds no promoted.json\n"
        assert done == (1, said)


def ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], args: Sequence[str], **environment: object
) -> tuple[object, str]:
    """The status and the errors of a command that ends by itself, in this process."""
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(sys, "argv", ["app", *args])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code, capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_the_commands_that_start_the_server_become_gunicorn_and_import_nothing_of_the_service(command: str) -> None:
    """What they need is imported and checked by gunicorn.conf.py alone, and not twice."""
    code = f"""
import os, sys
service = {{'flask', 'numpy', 'pydantic'}}
os.execv = lambda program, command: print(*command[1:], os.environ["MARKET"], len(service & set(sys.modules)))
sys.argv = ["app", "{command}"]
from app.cli import main
main()
"""
    env = os.environ | {"MARKET": "recorded"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, timeout=PATIENCE_S
    )
    market = "demo" if command == "demo" else "recorded"
    assert done.stdout == f"-P -m gunicorn -c {ROOT / 'gunicorn.conf.py'} wsgi:app {market} 0\n", done.stderr


@pytest.mark.parametrize(
    ("variables", "market"),
    [({}, "demo"), ({"MARKET": "", "POLYGON_API_KEY": ""}, "demo"), ({"MARKET": "recorded"}, "recorded")]
    + [({name: "key"}, None) for name in ("POLYGON_API_KEY", "MASSIVE_API_KEY")]
    + [
        ({name: "wrong"}, None)
        for name in ("POLYGON_KEY", "MASSIVE_APIKEY", "polygon_api_key", "POLYGON_DELAY_MINUTES")
    ],
)
def test_serve_takes_the_demo_only_where_neither_a_market_nor_anything_of_a_provider_is_set(
    variables: dict[str, str], market: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MARKET", "POLYGON_API_KEY", "MASSIVE_API_KEY", "PYTHONPATH", "PWD", *variables):
        monkeypatch.setenv(name, variables.get(name, ""))
    monkeypatch.delenv("MARKET") if "MARKET" not in variables else None
    chosen: list[str | None] = []
    monkeypatch.setattr(os, "execv", lambda *_: chosen.append(os.environ.get("MARKET")))
    monkeypatch.setattr(sys, "argv", ["app", "serve"])
    cli.main()
    assert chosen == [market]


@pytest.mark.parametrize("command", USING_DATA_DIR)
def test_a_wrong_setting_ends_every_command_with_its_name(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = ended(monkeypatch, capsys, USING_DATA_DIR[command], PORT="many", DATA_DIR=tmp_path)
    assert status == 1
    assert said.startswith("Error: PORT: ")
    assert said.count("\n") == 1


def test_train_without_bars_says_what_to_do_and_leaves_the_models(tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in ARTEFACTS.rglob("*.*")}
    done = run("train", DATA_DIR=tmp_path)
    assert done.returncode == 1
    assert ".venv/bin/predict import" in done.stderr
    assert {path: path.read_bytes() for path in ARTEFACTS.rglob("*.*")} == before


def test_evaluate_without_bars_prints_the_stored_report_its_hash_and_how_to_get_data(tmp_path: Path) -> None:
    done = run("evaluate", DATA_DIR=tmp_path)
    assert done.returncode == 0
    first, _, later = done.stdout.partition("LATER: 2025-01-01..")
    for part in (first, later):
        rows = [line for line in part.splitlines() if line.startswith(("SPY ", "QQQ ", "IWM "))]
        assert sum(row.endswith(tuple(Verdict)) for row in rows) == 33
    cells = [
        c
        for path in promoted_set(ARTEFACTS).glob("v6_*.json")
        for c in json.loads(path.read_text())["evaluation"]["cells"]
    ]
    assert f"of 33 cells: {counts_text(map(verdict_of_record, cells))}" in done.stdout
    assert "2024Q4" in done.stdout
    assert done.stdout.count(": report ") == len(SUPPORTED) + 1, "of each ticker, and of the swing models"
    assert "MARKET_DATA=" in done.stdout
    assert [*tmp_path.iterdir()] == [], "who only looks leaves nothing behind"


def test_evaluate_live_says_that_the_demo_market_is_no_record_of_the_models(tmp_path: Path) -> None:
    done = run("evaluate", "--live", MARKET="demo", DATA_DIR=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    first, *others = done.stdout.splitlines()
    assert first.startswith("This is the demo market: its days are made up")
    assert others[1] == "signals with a known outcome: 0"


def test_evaluate_live_scores_the_record_and_calls_no_provider(tmp_path: Path, provider: PolygonSimulator) -> None:
    key = {"POLYGON_API_KEY": WORLD_KEY, "POLYGON_BASE_URL": provider.address, "WEB_CONCURRENCY": "2"}
    folder = tmp_path / namespace_of(provider.address)
    folder.mkdir()
    days = trading_days(25, date(2024, 3, 4))
    lock_days(folder / "record.sqlite3", days, dict.fromkeys(SUPPORTED, "v6-SPY-some"))
    keep_closes(folder / "bars.sqlite3", days[:24], coming_true(24, 1.0))
    done = run("evaluate", "--live", MARKET="polygon", DATA_DIR=tmp_path, **key)
    assert (done.returncode, done.stderr) == (0, "")
    assert "24 days" in done.stdout
    assert (
        "432 signals of 24 days stated 0.800 for their side on average, and 1.000 [-] of them were right" in done.stdout
    )
    assert provider.calls == []


def test_evaluate_live_without_its_redis_says_so_in_a_sentence(tmp_path: Path) -> None:
    done = run("evaluate", "--live", MARKET="polygon", DATA_DIR=tmp_path, REDIS_URL="redis://127.0.0.1:1/0")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "Error: the record of signals cannot be read now"


@pytest.mark.soak
def test_evaluate_with_bars_makes_the_report_that_the_models_carry(recorded_dir: Path) -> None:
    done = run("evaluate", DATA_DIR=recorded_dir)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the same as the loaded model's") == 3
    assert "NOT the same" not in done.stdout


def test_replay_prints_the_answer_of_the_route(recorded_dir: Path) -> None:
    done = run("replay", "2024-06-12", "14:35", "--ticker", "SPY", MARKET="recorded", DATA_DIR=recorded_dir)
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert body["as_of"] == "2024-06-12T14:35:00-04:00"
    assert body["tickers"]["SPY"]["target_b_prob"] is not None


def test_replay_needs_nothing_of_the_layers(tmp_path: Path) -> None:
    """Neither its Redis nor its host names: it reads what is stored."""
    door = {"WEB_CONCURRENCY": "2", "REDIS_URL": "redis://127.0.0.1:1/0", "ALLOWED_HOSTS": "api.example.com"}
    done = run("replay", "2024-06-28", "14:35", MARKET="demo", DATA_DIR=tmp_path, **door)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(json.loads(done.stdout)["tickers"]) == {"SPY", "QQQ", "IWM"}


def test_replay_of_nonsense_says_why(tmp_path: Path) -> None:
    done = run("replay", "2024-02-30", "14:35", MARKET="demo", DATA_DIR=tmp_path)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("Error: Date must be a day of the calendar, YYYY-MM-DD")


@pytest.mark.parametrize("command", [["replay", "2024-06-12", "14:35"], ["backfill", "--days", "3"]])
def test_a_command_for_one_ticker_says_which_ones_there_are(command: list[str]) -> None:
    done = run(*command, "--ticker", "SPY,QQQ")
    assert done.returncode == 2
    assert "'spy,qqq' is not one of 'spy', 'qqq', 'iwm', 'all'" in done.stderr.lower()


def test_help_lists_the_commands() -> None:
    done = run("--help")
    assert done.returncode == 0
    for command in ("serve", "demo", "import", "replay", "train", "evaluate"):
        assert command in done.stdout


@pytest.mark.parametrize("group", ["", "keys", "models", "notify", "record"])
def test_no_line_of_the_list_of_commands_is_cut_off(group: str) -> None:
    shown = CliRunner().invoke(cli.cli, [*group.split(), "--help"]).output
    assert "Commands:" in shown
    assert "..." not in shown.partition("Commands:")[2]


def test_an_unknown_command_is_said() -> None:
    done = run("fly")
    assert done.returncode == 2
    assert "No such command" in done.stderr


@pytest.fixture
def provider() -> Iterator[PolygonSimulator]:
    with simulated_provider() as provider:
        yield provider


def backfill(provider: PolygonSimulator, folder: Path, days: int = 30, *more: str) -> subprocess.CompletedProcess[str]:
    asked = ("backfill", "--days", str(days), "--ticker", "SPY", *more)
    key, where = {"POLYGON_API_KEY": WORLD_KEY, "POLYGON_CALLS_PER_MINUTE": "60"}, provider.address
    return run(*asked, **key, POLYGON_BASE_URL=where, DATA_DIR=folder)


def minute_calls(provider: PolygonSimulator) -> int:
    return sum("/minute/" in call.path for call in provider.calls)


def test_backfill_brings_past_days_in_with_a_call_a_page_says_how_far_it_is_and_how_far_it_would_be(
    provider: PolygonSimulator, tmp_path: Path
) -> None:
    planned = backfill(provider, tmp_path, 60, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert provider.calls == []
    day = r"\d{4}-\d\d-\d\d"
    of_spy, in_all, unknown = planned.stdout.splitlines()
    assert re.fullmatch(rf"SPY: 2 calls for one-minute bars of {day} to {day}, 1 call at most for daily bars", of_spy)
    assert in_all.startswith("In all 3 calls: about 1 min at 60 calls in 60 s. 4 calls at most go before them")
    assert unknown == "The plan is not known yet. Days before its history cost no call."
    done = backfill(provider, tmp_path, 60)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1].endswith("done)")
    assert "min left" in lines[0]
    assert minute_calls(provider) == 2, "a page holds the minutes of 52 sessions"
    assert len(provider.calls) <= 3 + 4, "what was planned, and the probe"
    assert len(lines) == minute_calls(provider) + 1
    left = backfill(provider, tmp_path, 62, "--dry-run").stdout
    assert left.startswith("SPY: 1 call for one-minute bars of "), "what is there costs nothing"


def test_backfill_says_of_each_line_which_bars_it_is_about(provider: PolygonSimulator, tmp_path: Path) -> None:
    lines = backfill(provider, tmp_path, days=3).stdout.splitlines()
    day = r"\d{4}-\d\d-\d\d"
    assert re.fullmatch(rf"SPY, daily bars that replays from {day} on need: \d+ bars \(1 of \d calls, .*\)", lines[0])
    for line in lines[1:]:
        assert re.fullmatch(rf"SPY, one-minute bars of {day} to {day}: \d+ bars \(\d of \d calls, .*\)", line)
    assert len(set(lines)) == len(lines) > 1


def test_backfill_again_costs_no_call_for_what_is_there(provider: PolygonSimulator, tmp_path: Path) -> None:
    backfill(provider, tmp_path)
    before = minute_calls(provider)
    again = backfill(provider, tmp_path)
    assert again.returncode == 0
    assert minute_calls(provider) == before
    backfill(provider, tmp_path, days=32)
    assert minute_calls(provider) <= before + 2, "only the days that are missing"


def test_what_was_brought_in_can_be_imported_for_training(provider: PolygonSimulator, tmp_path: Path) -> None:
    """Five-minute bars are those of the minutes; the training that needs more days says so."""
    assert backfill(provider, tmp_path).returncode == 0
    where: dict[str, str | Path] = {"DATA_DIR": tmp_path, "POLYGON_BASE_URL": provider.address}
    done = run("import", "--kept", **where)
    assert done.returncode == 0, done.stderr
    day = r"\d{4}-\d\d-\d\d"
    assert re.search(rf"^SPY: 30 days kept of the provider's, {day} to {day}$", done.stdout, re.MULTILINE)
    assert "QQQ: 0 days kept of the provider's" in done.stdout
    imported = RecordedBars(tmp_path / "recorded.sqlite3", CALENDAR)
    five, daily = (imported.all_bars("SPY", span) for span in (Span.FIVE_MINUTES, Span.DAY))
    imported.close()
    cache = BarCache(next(tmp_path.glob("polygon-*")) / "bars.sqlite3", lambda event, **fields: None)
    minutes = cache.peek("SPY", Span.MINUTE)
    cache.close()
    days = sorted({day_of_ms(t) for t in five.t.tolist()})
    sessions = [session for day in days if (session := CALENDAR.session(day)) is not None]
    assert len(sessions) == 30
    for session in sessions:
        edges = np.arange(to_ms(session.open), to_ms(session.close) + 1, Span.FIVE_MINUTES.ms)
        lo, hi = np.searchsorted(five.t, edges[[0, -1]])
        assert five[int(lo) : int(hi)].equals(minutes.resample(edges))
    assert len(five) == sum((session.close - session.open).seconds // 300 for session in sessions)
    assert set(days) <= {day_of_ms(t) for t in daily.t.tolist()}
    trained = run("train", MODELS_DIR=tmp_path / "models", **where)
    assert trained.returncode == 1
    assert "Error: " in trained.stderr
    assert "Traceback" not in trained.stderr


def test_a_day_whose_minutes_are_incomplete_is_not_trained_on_and_is_counted(
    provider: PolygonSimulator, tmp_path: Path
) -> None:
    assert backfill(provider, tmp_path, days=5).returncode == 0
    with sqlite3.connect(next(tmp_path.glob("polygon-*")) / "bars.sqlite3") as db:
        (day,) = db.execute("SELECT max(first_day) FROM covered WHERE span = ?", (Span.MINUTE.value,)).fetchone()
        db.execute("INSERT INTO incomplete VALUES ('SPY', ?, ?, 1, 0)", (Span.MINUTE.value, day))
    done = run("import", "--kept", DATA_DIR=tmp_path, POLYGON_BASE_URL=provider.address)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^SPY: 4 days kept .*; 1 left out, whose minutes are incomplete$", done.stdout, re.MULTILINE)


def test_import_of_kept_bars_where_there_are_none_and_together_with_files_say_what_to_do(tmp_path: Path) -> None:
    none = run("import", "--kept", DATA_DIR=tmp_path)
    assert none.returncode == 1
    assert none.stderr == (
        "Error: no bars of the provider are kept yet: `.venv/bin/predict backfill --days N` brings them in\n"
    )
    for args in (["import"], ["import", "--kept", "SPY_5min.csv"]):
        done = run(*args, DATA_DIR=tmp_path)
        assert done.returncode == 2
        assert "Name FILES to import, or --kept for the bars that were kept of the provider's." in done.stderr


def test_training_without_its_packages_says_which_one_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shared, "find_spec", lambda name: None)
    status, said = ended(monkeypatch, capsys, ["train"], DATA_DIR=tmp_path)
    assert (status, said) == (
        1,
        "Error: training needs scikit-learn, which the server itself does without: `make setup` installs it, or "
        "`pip install -r requirements-dev.txt`\n",
    )


def test_backfill_that_was_broken_off_goes_on_where_it_stopped(provider: PolygonSimulator, tmp_path: Path) -> None:
    provider.inject_fault("500", only="/minute/")
    broken = backfill(provider, tmp_path)
    assert broken.returncode == 1
    assert broken.stderr.startswith("Error: ")
    assert "Traceback" not in broken.stderr
    assert WORLD_KEY not in broken.stderr
    provider.clear_fault()
    assert backfill(provider, tmp_path).returncode == 0


def test_backfill_says_at_once_what_it_waits_for_and_how_long(provider: PolygonSimulator, tmp_path: Path) -> None:
    key, where = {"POLYGON_API_KEY": WORLD_KEY, "POLYGON_CALLS_PER_MINUTE": "1"}, provider.address
    command = [sys.executable, "-m", "app", "backfill", "--days", "5", "--ticker", "SPY"]
    env = os.environ | key | {"POLYGON_BASE_URL": where, "DATA_DIR": str(tmp_path), "MARKET": "polygon"}
    reading, writing = os.pipe()
    with os.fdopen(reading) as said, os.fdopen(writing, "w") as errors:
        began = time.monotonic()
        waiting = warm_processes.start(command, env, errors, errors)
        first = said.readline()
        took_s = time.monotonic() - began
        waiting.kill()
        waiting.wait(PATIENCE_S)
    found = re.fullmatch(r"Waiting for the data plan's call budget: the next call may go in (\d+) s\n", first)
    assert found, first
    assert 60 - took_s <= int(found[1]) <= 60, "a minute after the one before, which went since the command began"


@pytest.mark.parametrize(
    ("reason", "what"),
    [("pause", "the end of the pause that the provider asked for"), ("budget", "the data plan's call budget")],
)
def test_a_wait_is_printed_with_what_it_is_for(capsys: pytest.CaptureFixture[str], reason: str, what: str) -> None:
    events_printing_waits()("call_waits", seconds=7, priority="backfill", reason=reason)
    assert capsys.readouterr().err == f"Waiting for {what}: the next call may go in 7 s\n"


def test_backfill_without_a_key_says_so(tmp_path: Path) -> None:
    done = run("backfill", "--days", "5", DATA_DIR=tmp_path, MARKET="polygon")
    assert done.returncode == 1
    assert "no market-data key" in done.stderr
