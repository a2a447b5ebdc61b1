"""A wrong setting stops the start with a sentence that names the variable."""

from __future__ import annotations

import re
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.config.settings import load, variables
from app.core import operations
from app.errors import SettingsError
from app.factory import build
from app.redis_address import SentinelAddress, sentinel_address_of
from tests.support import new_york, settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "0"),
        ("PORT", "70000"),
        ("MARKET", "crypto"),
        ("CLOCK", "yesterday"),
        ("CLOCK_SPEED", "0"),
        ("CLOCK_SPEED", "nan"),
        ("WEB_CONCURRENCY", "-1"),
        ("POLYGON_BASE_URL", "ftp://x"),
        ("POLYGON_BASE_URL", "https://api.example/?apiKey=abc"),
        ("POLYGON_DELAY_MINUTES", "soon"),
        ("LOG_LEVEL", "LOUD"),
        ("NOTIFY_URLS", "not-an-address"),
        ("NOTIFY_TICKERS", "SPY,DIA"),
        ("NOTIFY_ACTIONS", "BUY"),
        ("NOTIFY_MIN_PROBABILITY", "80"),
        ("NOTIFY_STATES", "sometimes"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert caught.value.message.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "many", "PORT: must be a whole number (it is 'many')"),
        ("PORT", "80000", "PORT: must be at most 65535 (it is '80000')"),
        ("RATE_LIMIT_OTHER", "9" * 12, f"RATE_LIMIT_OTHER: must be at most 1000000000 (it is '{'9' * 12}')"),
        ("MAX_CONNECTIONS", "3", "MAX_CONNECTIONS: must be at least 16 (it is '3')"),
        ("CLOCK", "noon", "CLOCK: must be a moment like 2025-11-05T13:30 (it is 'noon')"),
        ("CLOCK", "2025-11-05T25:00", "CLOCK: must be a moment like 2025-11-05T13:30 (it is '2025-11-05T25:00')"),
        ("CLOCK_SPEED", "fast", "CLOCK_SPEED: must be a number (it is 'fast')"),
        ("CLOCK_SPEED", "0", "CLOCK_SPEED: must be above 0 (it is '0')"),
        ("TRUST_PROXY", "maybe", "TRUST_PROXY: must be true or false (it is 'maybe')"),
        ("MARKET", "crypto", "MARKET: must be polygon, recorded or demo (it is 'crypto')"),
        (
            "RATE_LIMIT_ALLOW",
            "x",
            "RATE_LIMIT_ALLOW: must be addresses or networks like 192.0.2.7 or 192.0.2.0/24 (it is 'x')",
        ),
    ],
)
def test_a_wrong_value_is_told_in_plain_words_once(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert caught.value.message == said


def test_no_setting_is_refused_in_the_words_of_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables():
        monkeypatch.setenv(name.split(" or ")[0], "\N{SNOWMAN} ")
    with pytest.raises(SettingsError) as caught:
        load()
    assert not re.search(r"(?i)input should|unable to|pydantic|string_|value error", caught.value.message)
    assert "is not valid" not in caught.value.message


def test_several_workers_need_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    with pytest.raises(SettingsError, match="WEB_CONCURRENCY: more than one worker needs REDIS_URL"):
        load()


def test_every_wrong_value_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("MARKET", "y")
    with pytest.raises(SettingsError, match=r"MARKET: .*; PORT: "):
        load()


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")
    monkeypatch.setenv("POLYGON_API_KEY", "")
    assert load().port == 8000
    assert not load().has_key


@pytest.mark.parametrize("name", ["POLYGON_API_KEY", "MASSIVE_API_KEY"])
def test_the_key_is_read_stripped_and_never_shown(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "  secret-key \n")
    found = load()
    assert found.polygon_api_key is not None
    assert found.polygon_api_key.get_secret_value() == "secret-key"
    assert "secret-key" not in repr(found)
    assert "secret-key" not in str(found.model_dump())


def test_a_key_with_a_line_break_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLYGON_API_KEY", "SECRET1\nSECRET2")
    with pytest.raises(SettingsError) as caught:
        load()
    assert caught.value.message.startswith("POLYGON_API_KEY: ")
    assert "SECRET" not in caught.value.message


def test_a_clock_without_offset_is_new_york(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOCK", "2025-03-11T11:30")
    clock = load().clock
    assert clock is not None
    assert clock.utcoffset() == timedelta(hours=-4)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load().port = 1


def test_defaults_are_those_of_the_specification() -> None:
    table = variables()
    assert table["MARKET"][0] == "polygon"
    assert table["DATA_DIR"][0] == "var"
    assert table["CLOCK_SPEED"][0] == "1.0"
    assert load(data_dir="x").data_dir == Path("x")
    assert all(text for _, text in table.values())


REGIONAL = "us-west2=redis://:hush@west:6379/0, us-east4=rediss://east"


def redis_of(region: str | None, **values: Any) -> str | None:
    url = settings(**{"redis_urls": REGIONAL, "railway_region": region, **values}).redis_url
    return None if url is None else url.get_secret_value()


def test_a_replica_takes_the_redis_of_its_region_and_else_that_of_all() -> None:
    assert redis_of("us-west2") == "redis://:hush@west:6379/0"
    assert redis_of("us-east4", redis_url="redis://all") == "rediss://east"
    assert redis_of("asia", redis_url="redis://all") == redis_of(None, redis_url="redis://all") == "redis://all"
    assert settings(redis_urls=REGIONAL, railway_region="us-west2", web_concurrency=2).redis_url is not None
    said = settings(redis_urls=REGIONAL, railway_region="asia", redis_url="redis://all").ignored
    assert said == ["REDIS_URLS names no Redis for the region asia: REDIS_URL is used"]
    sentinels = "redis+sentinel://:hush,word@one:26379,two:26379,three:26379/main"
    assert redis_of("us-west2", redis_urls=f"asia=redis://asia,us-west2={sentinels},us-east4=redis://east") == sentinels
    assert "hush" not in repr(settings(redis_urls=REGIONAL, railway_region="us-west2"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("redis://west", "each must be a region and its Redis"),
        ("us west=redis://west", "each must be a region and its Redis"),
        ("us-west2=http://:hush@west", "must begin with redis://"),
        ("us-west2=redis://:hush@a,us-west2=redis://b", "must name each region once"),
        ("us-east4=redis://:hush@east", "names no Redis for us-west2, and there is no REDIS_URL"),
    ],
)
def test_a_wrong_redis_of_a_region_is_named_in_a_sentence_without_its_secret(
    text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URLS", text)
    with pytest.raises(SettingsError, match="REDIS_URLS: ") as raised:
        load(railway_region="us-west2")
    assert said in str(raised.value)
    assert "hush" not in str(raised.value)


def test_the_home_record_is_known_by_its_redis_and_without_one_by_its_region() -> None:
    def is_home(**values: Any) -> bool:
        return settings(home_region="us-east4", **values).has_home_record

    shared = {"redis_urls": f"{REGIONAL},us-central1=rediss://east"}
    assert is_home(**shared, railway_region="us-east4")
    assert is_home(**shared, railway_region="us-central1"), "it shares the Redis of the home region"
    assert not is_home(**shared, railway_region="us-west2")
    assert is_home(railway_region="us-east4")
    assert not is_home(railway_region="us-west2")
    assert not is_home()
    assert settings(railway_region="us-west2").has_home_record
    with pytest.raises(SettingsError, match="HOME_REGION: REDIS_URLS must name its Redis"):
        is_home(redis_url="redis://all")


@pytest.mark.parametrize("name", ["REDIS_URL", "METRICS_PUSHGATEWAY"])
def test_an_address_that_cannot_be_taken_apart_is_not_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scheme = "redis" if name == "REDIS_URL" else "http"
    monkeypatch.setenv(name, f"{scheme}://user:hush\u2100@host/")
    with pytest.raises(SettingsError, match=name) as raised:
        load()
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    "address",
    [
        *("one:26379,two:26379", ":hush@one:26379,two:26379/", ":hush@one:26379,/predict", ":hush@one:hush/predict"),
        *("someone:hush@one/predict/first", ":hush@/predict"),
    ],
)
def test_an_address_of_sentinels_that_lacks_something_is_not_shown(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", f"redis+sentinel://{address}")
    with pytest.raises(SettingsError, match=r"REDIS_URL: must be like redis\+sentinel://host1:26379") as raised:
        load()
    assert "hush" not in str(raised.value)


def test_an_address_of_sentinels_says_who_they_are_and_how_their_redis_is_reached() -> None:
    url = "rediss+sentinel://me:a%2Fb@one,[::1]:5/predict/3?ssl_ca_certs=ca.pem&sentinel_password=c"
    assert sentinel_address_of(url) == SentinelAddress(
        sentinels=(("one", 26379), ("::1", 5)),
        service="predict",
        redis_url="rediss://me:a%2Fb@redis/3?ssl_ca_certs=ca.pem",
        options={"password": "c"},
    )
    assert sentinel_address_of("redis://one:6379/0") is None


def test_closures_are_named_by_day_with_or_without_a_close() -> None:
    found = settings(market_closures="2026-01-09, 2026-07-02=13:00").market_closures
    assert found == ((date(2026, 1, 9), None), (date(2026, 7, 2), time(13)))


@pytest.mark.parametrize(
    "text",
    [
        *("soon", "2026-01-10", "2026-01-09=noon", "2026-01-09=", "2026-01-09=09:30", "2026-01-09=17:00"),
        *("2026-01-09=13:00:30", "2026-01-09=13:00Z", "2026-01-09,2026-01-09=13:00", "2026-02-30"),
    ],
)
def test_a_closure_that_cannot_be_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MARKET_CLOSURES", text)
    with pytest.raises(SettingsError, match="MARKET_CLOSURES"):
        load()


def test_a_named_closure_closes_the_market_where_no_provider_is_asked(tmp_path: Path) -> None:
    named = {"market_closures": "2025-03-11,2025-03-12=13:00", "data_dir": tmp_path}
    core = build(settings(market="recorded", **named), clock=lambda: new_york("2025-03-11 11:00"))
    assert core.calendar.session(date(2025, 3, 11)) is None
    assert not core.pipeline.board(["SPY"], new_york("2025-03-11 11:00")).market_open
    assert core.calendar.is_open(new_york("2025-03-12 12:59"))
    assert not core.calendar.is_open(new_york("2025-03-12 13:00"))
    assert {"day": "2025-03-11", "close": None} in operations(core)["calendar"]["upcoming"]
    core.close()


GOOD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_who_is_told_is_read_from_spaces_or_commas_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_URLS", "discord://one/a,b  mailto://two,slack://three")
    monkeypatch.setenv(
        "WEBHOOK_URLS", "https://hooks.example/a?token=b http://127.0.0.1:9/c,http://hooks.railway.internal"
    )
    monkeypatch.setenv("WEBHOOK_SECRET", GOOD_SECRET)
    monkeypatch.setenv("NOTIFY_ACTIONS", "long, no_trade")
    found = load()
    assert [url.get_secret_value() for url in found.notify_urls] == [
        "discord://one/a,b",
        "mailto://two",
        "slack://three",
    ]
    assert len(found.webhook_urls) == 3
    assert found.notify_actions == ("LONG", "NO_TRADE")
    assert not any(secret in repr(found) for secret in ("discord:", "hooks.example", GOOD_SECRET))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WEBHOOK_SECRET", "a-secret-word", "each must be whsec_ and 24 to 64 random bytes in base64"),
        ("WEBHOOK_SECRET", "whsec_a-secret-word", "each must be whsec_ and 24 to 64 random bytes in base64"),
        ("WEBHOOK_SECRET", "whsec_YWJj", "each must be whsec_ and 24 to 64 random bytes in base64"),
        ("WEBHOOK_SECRET", ",".join([GOOD_SECRET] * 3), "must be one secret, or the new and the old one"),
        (
            "WEBHOOK_URLS",
            "http://hooks.example/a-secret-word",
            "http:// is for this machine and private networks alone",
        ),
        ("WEBHOOK_URLS", "http://8.8.8.8/a-secret-word", "http:// is for this machine and private networks alone"),
        ("WEBHOOK_URLS", "https://me:a-secret-word@hooks.example/", "each must be an https:// address without a user"),
        ("WEBHOOK_URLS", "a-secret-word", "each must be an https:// address without a user"),
        ("NOTIFY_URLS", "a-secret-word", "each must be an address of Apprise like discord://... or mailto://..."),
        (
            "NOTIFY_URLS",
            " ".join(f"json://a-secret-word/{n}" for n in range(11)),
            "must name 10 addresses at most together",
        ),
    ],
)
def test_who_is_told_and_how_it_is_signed_is_refused_in_plain_words_without_the_secret(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load()
    assert name in caught.value.message
    assert said in caught.value.message
    assert not any(secret in caught.value.message for secret in ("a-secret-word", "whsec_YWJj", GOOD_SECRET))


def test_webhooks_without_a_secret_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_URLS", "https://hooks.example/a-secret-word")
    with pytest.raises(SettingsError, match=r"^WEBHOOK_SECRET: must be set where WEBHOOK_URLS is") as caught:
        load()
    assert "a-secret-word" not in caught.value.message


def test_regions_with_a_redis_each_must_say_which_one_tells() -> None:
    who = {"notify_urls": "discord://a-secret-word/b", "redis_urls": REGIONAL, "railway_region": "us-east4"}
    with pytest.raises(
        SettingsError, match=r"^HOME_REGION: must be set where REDIS_URLS is and somebody is told"
    ) as caught:
        settings(**who)
    assert "a-secret-word" not in caught.value.message
    assert settings(**who, home_region="us-east4").notify_urls
