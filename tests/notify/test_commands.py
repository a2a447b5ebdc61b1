"""`notify test` and `notify dead`: an operator tries the targets, and sees what was given up."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from app import cli
from app.clock import REAL_TIME, wall_clock
from app.notify.message import Message
from app.notify.outbox import Outbox
from app.notify.sqlite_outbox import SqliteOutbox
from app.notify.target import targets_of
from tests.notify.messages import SECRET, message
from tests.notify.receiver import receiving, status
from tests.support import settings

ADDRESS = "https://hooks.example/a-secret-word"
KEY = targets_of([], [SecretStr(ADDRESS)])[0].key

Type = Callable[..., tuple[object, str, str]]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Type:
    """Types `predict notify ...` in this process. Returns its status, and what it printed."""
    for name in ("REDIS_URL", "REDIS_URLS", "POLYGON_API_KEY", "POLYGON_BASE_URL", "NOTIFY_URLS", "WEBHOOK_URLS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MARKET", "polygon")
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)

    def type_in(*args: str, **environment: str) -> tuple[object, str, str]:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["app", "notify", *args])
            try:
                cli.main()
                code: object = 0
            except SystemExit as exc:
                code = exc.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return type_in


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    """That of a server on the same folder."""
    return SqliteOutbox(tmp_path / "polygon" / "notify.sqlite3", REAL_TIME)


def give_up(outbox: Outbox, lost: Message, reason: str) -> None:
    outbox.add(lost, [KEY])
    [claim] = outbox.claim([KEY], 9)
    outbox.finish(claim, reason)


def test_a_test_goes_to_every_target_and_the_command_fails_if_one_does_not_take_it(typed: Type) -> None:
    with receiving() as good, receiving(status(500)) as bad:
        code, out, err = typed("test", WEBHOOK_URLS=f"{good.url} {bad.url}", NOTIFY_URLS=good.apprise_url)
        assert code == 1
        assert out.splitlines() == ["json #1: sent", "webhook #1: sent", "webhook #2: failed: answered with status 500"]
        assert err == "Error: 1 of 3 did not take the message\n"
        assert len(good.deliveries) == 2
        assert len({delivery.id for delivery in good.deliveries[1:] + bad.deliveries}) == 1


def test_a_test_that_all_take_ends_well_and_enables_who_was_disabled(typed: Type, outbox: Outbox) -> None:
    with receiving() as good:
        outbox.disable(targets_of([], [SecretStr(good.url)])[0].key, "answered with status 410")
        said = "webhook #1: sent\nwebhook #1: gets messages again\n"
        assert typed("test", WEBHOOK_URLS=good.url) == (0, said, "")
    assert outbox.disabled() == {}


def test_a_test_without_a_market_is_of_the_demo_which_the_server_takes_then(typed: Type) -> None:
    with receiving() as good:
        assert typed("test", WEBHOOK_URLS=good.url, MARKET="")[0] == 0
    assert json.loads(good.deliveries[0].body)["data"] == {"source": "demo"}


def test_a_new_secret_is_one_that_the_server_takes(typed: Type) -> None:
    first, second = (typed("secret")[1].strip() for _ in range(2))
    assert first != second
    assert settings(webhook_secret=first).webhook_secret


def test_a_test_says_if_nobody_is_named(typed: Type) -> None:
    code, _, err = typed("test")
    assert (code, err) == (1, "Error: nobody is to be told: NOTIFY_URLS and WEBHOOK_URLS are not set\n")


def test_what_was_given_up_is_listed_without_addresses(typed: Type, outbox: Outbox) -> None:
    give_up(outbox, message(), "too late: answered with status 500")
    code, out, _ = typed("dead", WEBHOOK_URLS=ADDRESS)
    assert code == 0
    assert f"webhook #1  {message().id}  too late: answered with status 500 (failed tries: 0)" in out
    assert "a-secret-word" not in out
    assert "a target that is not set any more" in typed("dead")[1]


def test_only_what_is_still_valid_is_sent_again(typed: Type, outbox: Outbox) -> None:
    give_up(outbox, message("old"), "too late")
    give_up(outbox, replace(message("new"), expires_at=wall_clock().replace(year=2100)), "no answer in time")
    _, out, _ = typed("dead", "--retry", WEBHOOK_URLS=ADDRESS)
    assert out.splitlines()[-1] == "1 of 2 will be sent again; the others are too late"
    assert [claim.message.id for claim in outbox.claim([KEY], 9)] == ["new"]
