"""API keys: made, written into the settings, found again; and what is said of a bad one, which is never its hash."""

from __future__ import annotations

import hmac
import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import cli
from app.config.api_keys import MAX_KEYS, MAX_LENGTH, PREFIX, TIERS, ApiKey, digest_of, find, new_key, parse_keys
from app.config.settings import load
from app.errors import SettingsError

LAST_DAY = date(2026, 6, 30)
DAY = timedelta(days=1)
HASH = "ab" * 32


@pytest.mark.parametrize("tier", TIERS)
def test_a_key_is_found_by_its_secret_after_a_round_through_the_settings(tier: str) -> None:
    secret, key = new_key("dashboard", tier, LAST_DAY)
    found = find(parse_keys(str(key)), secret, LAST_DAY)
    assert found == key
    assert (found.name, found.tier, found.expires) == ("dashboard", tier, LAST_DAY)


def test_each_of_several_keys_is_found_by_its_own_secret() -> None:
    made = [new_key(f"client-{number}", "standard", LAST_DAY) for number in range(5)]
    keys = parse_keys(", ".join(str(key) for _, key in made) + ",")
    assert [find(keys, secret, LAST_DAY) for secret, _ in made] == list(keys)


def test_secrets_are_long_random_and_never_the_same() -> None:
    secrets = {new_key("a", "standard", LAST_DAY)[0] for _ in range(50)}
    assert len(secrets) == 50
    assert all(re.fullmatch(re.escape(PREFIX) + r"[A-Za-z0-9_-]{43}", secret) for secret in secrets)


def test_what_the_server_keeps_does_not_hold_the_secret() -> None:
    secret, key = new_key("a", "standard", LAST_DAY)
    assert secret not in str(key) + repr(key)
    assert secret.removeprefix(PREFIX) not in str(key) + repr(key)


def test_a_wrong_secret_finds_nobody() -> None:
    secret, key = new_key("a", "standard", LAST_DAY)
    wrong = [
        "",
        " ",
        secret[:-1],
        secret + "A",
        secret.upper(),
        " " + secret,
        key.digest.hex(),
        str(key),
        "\ud800",
        "é",
    ]
    assert [find([key], other, LAST_DAY) for other in wrong] == [None] * len(wrong)
    assert find([], secret, LAST_DAY) is None


def test_a_key_is_good_on_its_last_day_and_not_on_the_day_after() -> None:
    secret, key = new_key("a", "standard", LAST_DAY)
    good = [find([key], secret, LAST_DAY + n * DAY) is not None for n in (-365, -1, 0, 1, 365)]
    assert good == [True, True, True, False, False]


def test_what_is_too_long_is_refused_whatever_it_hashes_to() -> None:
    longest, longer = "k" * MAX_LENGTH, "k" * (MAX_LENGTH + 1)
    assert find([ApiKey("a", "standard", LAST_DAY, digest_of(longest))], longest, LAST_DAY) is not None
    assert find([ApiKey("a", "standard", LAST_DAY, digest_of(longer))], longer, LAST_DAY) is None


@pytest.mark.parametrize("place", range(4))
def test_every_key_is_compared_in_constant_time_whichever_is_found(monkeypatch: pytest.MonkeyPatch, place: int) -> None:
    made = [new_key(f"client-{number}", "standard", LAST_DAY) for number in range(4)]
    compared: list[tuple[Any, Any]] = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
    keys = [key for _, key in made]
    assert find(keys, made[place][0], LAST_DAY) == keys[place]
    assert len(compared) == 4
    compared.clear()
    assert find(keys, "nobody's", LAST_DAY) is None
    assert len(compared) == 4


BAD_ENTRIES = {
    "three parts": (f"a:standard:{HASH}", "must look like name:tier:expires:hash"),
    "five parts": (f"a:standard:2026-01-01:{HASH}:x", "must look like name:tier:expires:hash"),
    "short hash": (f"a:standard:2026-01-01:{HASH[:-1]}", "64 hexadecimal digits"),
    "long hash": (f"a:standard:2026-01-01:{HASH}a", "64 hexadecimal digits"),
    "upper-case hash": (f"a:standard:2026-01-01:{HASH.upper()}", "64 hexadecimal digits"),
    "hash with a newline": (f"a:standard:2026-01-01:{HASH[:-1]}\n", "64 hexadecimal digits"),
    "no hash": ("a:standard:2026-01-01:", "64 hexadecimal digits"),
    "no such day": (f"a:standard:2026-02-30:{HASH}", "must be a day, YYYY-MM-DD"),
    "no day": (f"a:standard:never:{HASH}", "must be a day, YYYY-MM-DD"),
    "no name": (f":standard:2026-01-01:{HASH}", "a name is up to 32"),
    "long name": (f"{'a' * 33}:standard:2026-01-01:{HASH}", "a name is up to 32"),
    "capital": (f"Dashboard:standard:2026-01-01:{HASH}", "a name is up to 32"),
    "space in the name": (f"a b:standard:2026-01-01:{HASH}", "a name is up to 32"),
    "dot first": (f".a:standard:2026-01-01:{HASH}", "a name is up to 32"),
    "newline in the name": (f"a\nb:standard:2026-01-01:{HASH}", "a name is up to 32"),
    "tier": (f"a:root:2026-01-01:{HASH}", "the tier is one of standard, high, proxy, operator"),
    "no tier": (f"a::2026-01-01:{HASH}", "the tier is one of"),
}


@pytest.mark.parametrize("name", BAD_ENTRIES)
def test_a_bad_entry_is_named_by_its_number_and_its_hash_is_not_told(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry, said = BAD_ENTRIES[name]
    good = f"good:standard:2026-01-01:{'cd' * 32}"
    with pytest.raises(ValueError, match=f"^entry 2.*{said}") as caught:
        parse_keys(f"{good},{entry}")
    monkeypatch.setenv("API_KEYS", f"{good},{entry}")
    with pytest.raises(SettingsError, match=f"^API_KEYS: entry 2.*{said}") as refused:
        load()
    for told in (str(caught.value), refused.value.message):
        assert HASH[:16] not in told.lower()
        assert "cdcdcd" not in told


def test_a_name_twice_is_refused_and_told() -> None:
    entries = [f"{name}:standard:2026-01-01:{digit * 64}" for name, digit in (("a", "1"), ("b", "2"), ("a", "3"))]
    with pytest.raises(ValueError, match=r"^names a twice$"):
        parse_keys(",".join(entries))


def test_there_may_be_so_many_keys_and_no_more() -> None:
    entries = [f"k{number}:standard:2026-01-01:{number:064x}" for number in range(MAX_KEYS + 1)]
    assert len(parse_keys(",".join(entries[:-1]))) == MAX_KEYS
    with pytest.raises(ValueError, match=f"holds {MAX_KEYS + 1} keys, {MAX_KEYS} are allowed"):
        parse_keys(",".join(entries))


@pytest.mark.parametrize("text", ["", " ", ",", " , ,"])
def test_nothing_is_no_keys(text: str) -> None:
    assert parse_keys(text) == ()


@pytest.mark.parametrize(("name", "tier"), [("Bad", "standard"), ("", "standard"), ("a:b", "standard"), ("a", "root")])
def test_a_key_with_a_wrong_name_or_tier_is_not_made(name: str, tier: str) -> None:
    with pytest.raises(ValueError):
        new_key(name, tier, LAST_DAY)


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["keys", "new", *args])


def test_the_command_prints_a_secret_and_the_entry_that_the_settings_take(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("--name", "dashboard", "--tier", "high", "--days", "30")
    assert done.exit_code == 0
    said, secret, where, entry = done.output.splitlines()
    assert "dashboard" in said
    assert "API_KEYS" in where
    monkeypatch.setenv("API_KEYS", entry)
    (key,) = load().api_keys
    today = datetime.now(UTC).date()
    assert (key.name, key.tier) == ("dashboard", "high")
    assert 29 <= (key.expires - today).days <= 30
    assert find([key], secret, today) == key
    assert secret not in entry


def test_two_runs_give_two_secrets() -> None:
    first, second = (run("--name", "a").output.splitlines() for _ in range(2))
    assert first[1] != second[1]
    assert first[3] != second[3]


def test_without_more_a_key_is_standard_and_good_for_a_year() -> None:
    _, tier, expires, _ = run("--name", "a").output.splitlines()[3].split(":")
    assert tier == "standard"
    assert 364 <= (date.fromisoformat(expires) - datetime.now(UTC).date()).days <= 365


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--name", "Two Words"], "a name is up to 32"),
        (["--name", "a" * 33], "a name is up to 32"),
        (["--name", "a,b"], "a name is up to 32"),
        ([], "--name"),
        (["--name", "a", "--tier", "root"], "root"),
        (["--name", "a", "--days", "0"], "0"),
    ],
)
def test_a_bad_wish_is_a_sentence_and_no_key(args: list[str], said: str) -> None:
    done = run(*args)
    assert done.exit_code != 0
    assert said in done.output
    assert "Error: " in done.output
    assert "Traceback" not in done.output
    assert PREFIX not in done.output
