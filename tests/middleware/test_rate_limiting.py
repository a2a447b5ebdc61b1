"""What a client notices of the limits: how many requests go, what the headers say, who counts together. In memory and in
Redis; with answers made anew and with kept ones."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import ceil
from pathlib import Path
from time import monotonic
from typing import Any

import http_sf
import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import settings as rules
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

from app.config.api_keys import ApiKey, new_key
from app.factory import create_app
from app.market.polygon import Reply
from middleware.rate_limiting import ConcurrencyLimit, limit_concurrency
from tests.support import FakeClock, FakeTimer, ScriptedMarket, settings, settle
from tests.waiting import PATIENCE_S

DIRECTIONS = "/trading_directions?ticker=SPY"
SATURDAY = "/replay?date=2025-03-08&time=11:00&ticker=SPY"
"""A replay that asks the market for nothing."""

SESSION = "/replay?date=2025-03-10&time=11:00&ticker=SPY"

NAMES = ("RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
ROUTES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "directions": (
        ("GET", "/trading_directions?ticker=SPY"),
        ("GET", "/trading-directions?ticker=SPY"),
        ("GET", "/v1/trading_directions?ticker=SPY"),
        ("GET", "/v1/trading-directions?tickers=SPY,QQQ"),
        ("GET", "/trading_directions?ticker=NOPE"),
        ("HEAD", "/trading-directions?ticker=SPY"),
        ("OPTIONS", "/trading_directions"),
    ),
    "analysis": (
        *(("GET", f"/{name}?ticker=SPY") for name in ("mtf", "northstar", "rpe", "swing", "v1/mtf")),
        *(("GET", f"/{name}?ticker=SPY") for name in ("daily_signals", "daily-signals", "v1/daily-signals")),
        *(("GET", f"/{name}?ticker=SPY") for name in ("signal_breakdown", "v1/signal-breakdown", "price_ranges")),
        ("GET", "/volatility_meter?ticker=SPY"),
        ("HEAD", "/mtf?ticker=SPY"),
        ("OPTIONS", "/rpe"),
    ),
    "replay": (
        ("GET", SATURDAY),
        ("GET", f"/v1{SATURDAY}"),
        ("GET", "/replay"),
        ("HEAD", SATURDAY),
        ("OPTIONS", "/replay"),
    ),
    "other": (
        *(
            ("GET", path)
            for path in ("/health", "/v1/health", "/models", "/model_info", "/versions", "/nope", "/v1/nope")
        ),
        ("POST", "/predict"),
        ("POST", "/trading_directions"),
        ("DELETE", "/replay"),
        ("POST", "/livez"),
        *(("GET", path) for path in ("/v9/health", "/v1/livez", "/doubled//slash", "/v1/v1/health")),
        ("HEAD", "/health"),
        ("OPTIONS", "/nope"),
    ),
}
Build = Callable[..., Flask]


@dataclass(frozen=True)
class Quota:
    """An answer's headers, read as the structured fields that they are."""

    group: str
    limit: int
    remaining: int
    reset_s: int
    reset_at: int


def quota(answer: TestResponse) -> Quota:
    """What the answer says is left; its five headers agree."""
    [(group, policy)], [(named, left)] = (structured(answer, name) for name in NAMES[:2])
    assert type(group) is type(named) is str, "a string, not a token"
    assert named == group
    assert list(policy) == ["q", "w"]
    assert policy["w"] == 60
    assert list(left) == ["r", "t"]
    limit, remaining, reset_at = (int(one(answer, name)) for name in NAMES[2:])
    assert (limit, remaining) == (policy["q"], left["r"])
    assert 0 <= remaining < limit
    assert 1 <= left["t"] <= 60
    return Quota(group, limit, remaining, left["t"], reset_at)


def structured(answer: TestResponse, name: str) -> Any:
    return http_sf.parse(one(answer, name).encode(), tltype="list")


def one(answer: TestResponse, name: str) -> str:
    """The header, which is there once."""
    [value] = answer.headers.getlist(name)
    return value


def shown(answer: TestResponse) -> dict[str, list[str]]:
    """All that an answer says about limits."""
    return {name: answer.headers.getlist(name) for name in (*NAMES, "Retry-After")}


def names_of(answer: TestResponse) -> list[str]:
    return sorted(name.lower() for name in answer.headers.keys())  # noqa: SIM118  it may hold a name twice


def statuses(ask: Callable[[], TestResponse], times: int) -> list[int]:
    return [ask().status_code for _ in range(times)]


@pytest.fixture
def timer() -> FakeTimer:
    return FakeTimer()


@pytest.fixture(params=["memory", "redis"])
def counts_are_in(request: pytest.FixtureRequest) -> str:
    return str(request.param)


in_memory = pytest.mark.parametrize(
    "counts_are_in", ["memory", pytest.param("redis", marks=pytest.mark.soak)], indirect=True
)
"""For tests of who is counted and what is asked, which is settled before anything is counted: in Redis they are soak."""


@pytest.fixture
def build(
    request: pytest.FixtureRequest,
    counts_are_in: str,
    tmp_path: Path,
    clock: FakeClock,
    market: ScriptedMarket,
    timer: FakeTimer,
) -> Iterator[Build]:
    """Builds servers that share nothing but the clocks; settings by field name."""
    redis_url = request.getfixturevalue("redis_url") if counts_are_in == "redis" else None
    apps: list[Flask] = []

    def make(**overrides: object) -> Flask:
        values: dict[str, object] = {"market": "polygon", "polygon_api_key": "k", "data_dir": tmp_path / f"{len(apps)}"}
        if redis_url is not None:
            values["redis_url"] = redis_url.replace("/0?", f"/{len(apps)}?")
        app = create_app(settings(**{**values, **overrides}), clock=clock, transport=market, timer=timer.timer)
        apps.append(app)
        return app

    yield make
    shared = apps if redis_url is not None else []
    lost = ["predict_limits_local 1.0" in at(app, "127.0.0.1").get("/metrics").text for app in shared]
    for app in apps:
        app.extensions["predict-server"].close()
    assert not any(lost), "Redis counted all along"


def at(app: Flask, address: str) -> FlaskClient:
    """A client there."""
    client = app.test_client()
    client.environ_base["REMOTE_ADDR"] = address
    return client


def metrics(app: Flask) -> dict[tuple[str, tuple[str, ...]], float]:
    """Values by name and labels, as loopback may read them."""
    text = at(app, "127.0.0.1").get("/metrics").text
    families = text_string_to_metric_families(text)
    return {(s.name, tuple(s.labels.values())): s.value for family in families for s in family.samples}


def decisions(app: Flask) -> Counter[tuple[str, ...]]:
    name = "predict_limit_decisions_total"
    return Counter({labels: int(value) for (found, labels), value in metrics(app).items() if found == name})


def given_again(app: Flask) -> float:
    return metrics(app)["predict_cache_lookups_total", ("answers", "hit")]


# How many go, and what the headers say


def test_sixty_go_in_a_minute_then_429_until_the_first_is_sixty_seconds_old(build: Build, timer: FakeTimer) -> None:
    client, began = at(build(rate_limit_directions=60), "192.0.2.1"), timer.at
    for number in range(60):
        answer = client.get(DIRECTIONS)
        assert answer.status_code == 200, number
        left = ceil(60 - number / 4)
        assert quota(answer) == Quota("directions", 60, 59 - number, left, int(began) + 60), number
        assert one(answer, "RateLimit-Policy") == '"directions";q=60;w=60'
        assert "Retry-After" not in answer.headers
        timer.forward(0.25)
    for after in (15, 30.5, 59.9):
        timer.at = began + after
        answer = client.get(DIRECTIONS)
        assert answer.status_code == 429, after
        assert quota(answer) == Quota("directions", 60, 0, ceil(60 - after), int(began) + 60)
        assert one(answer, "Retry-After") == str(ceil(60 - after))
    timer.at = began + 60
    assert client.get(DIRECTIONS).status_code == 200
    answer = client.get(DIRECTIONS)
    assert answer.status_code == 429
    assert quota(answer) == Quota("directions", 60, 0, 1, int(began) + 61)
    assert one(answer, "Retry-After") == "1"


@pytest.mark.parametrize("other", ["", "&x=1"], ids=["a kept answer", "one made anew"])
def test_a_refusal_has_v1s_shape_and_is_not_for_caches(build: Build, other: str) -> None:
    client = at(build(rate_limit_directions=1), "192.0.2.1")
    assert client.get(DIRECTIONS).status_code == 200
    answer = client.get(DIRECTIONS + other)
    assert answer.status_code == 429
    assert answer.content_type == "application/json"
    said = "The limit of the group `directions` is used up: 1 of 1 requests in 60 s. The next one is allowed in 60 s."
    assert answer.json == {"error": said, "error_code": "TOO_MANY_REQUESTS"}
    assert one(answer, "Cache-Control") == "no-store"
    assert one(answer, "X-API-Version") == "1"
    assert one(answer, "X-Request-Id")
    assert one(answer, "Access-Control-Allow-Origin") == "*"


def test_waiting_as_long_as_retry_after_says_is_enough(build: Build, timer: FakeTimer) -> None:
    client = at(build(rate_limit_directions=2), "192.0.2.1")
    for pause in (0, 0.7, 13.3):
        timer.forward(pause)
        answer = client.get(DIRECTIONS)
    for _ in range(5):
        assert answer.status_code == 429
        timer.forward(int(one(answer, "Retry-After")))
        assert client.get(DIRECTIONS).status_code == 200
        client.get(DIRECTIONS)
        answer = client.get(DIRECTIONS)


def test_a_client_that_keeps_asking_while_refused_is_served_again_in_time(build: Build, timer: FakeTimer) -> None:
    client = at(build(rate_limit_directions=2), "192.0.2.1")
    seen = []
    for _ in range(130):
        seen.append(client.get(DIRECTIONS).status_code)
        timer.forward(0.5)
    assert [number for number, status in enumerate(seen) if status == 200] == [0, 1, 120, 121]


def test_retry_after_stands_on_refusals_alone(build: Build) -> None:
    client = at(build(rate_limit_other=5), "192.0.2.1")
    asked = [("GET", DIRECTIONS), ("GET", "/mtf?ticker=NOPE"), ("GET", SATURDAY), ("GET", "/nope"), ("POST", "/livez")]
    asked += [("POST", "/batch_predict"), ("OPTIONS", "/health"), ("GET", "/livez"), ("POST", "/predict")]
    asked += [("GET", "/health"), ("GET", "/readyz")]
    answers = [client.open(path, method=method, json={} if method == "POST" else None) for method, path in asked]
    found = [(a.status_code, "Retry-After" in a.headers) for a in answers]
    assert {status for status, _ in found} == {200, 400, 404, 405, 429, 503}
    assert all(status in (429, 503) for status, told in found if told)
    assert (429, True) in found
    assert (429, False) not in found


# Who and what counts together


@in_memory
@pytest.mark.parametrize("group", ROUTES)
def test_a_groups_routes_share_one_count_however_they_are_spelled(build: Build, group: str) -> None:
    routes = ROUTES[group]
    app = build(**{f"rate_limit_{group}": len(routes)})
    client = at(app, "192.0.2.1")
    before = decisions(app)
    for number, (method, path) in enumerate(routes, 1):
        answer = client.open(path, method=method)
        assert answer.status_code != 429, path
        assert (quota(answer).group, quota(answer).remaining) == (group, len(routes) - number), (method, path)
    for method, path in routes:
        answer = client.open(path, method=method)
        assert answer.status_code == 429, path
        assert quota(answer).group == group
        assert "Retry-After" in answer.headers
    told = decisions(app) - before
    assert (told[group, "allowed"] - (group == "other"), told[group, "refused"]) == (len(routes), len(routes))


@pytest.mark.parametrize("group", ROUTES)
def test_a_group_that_is_used_up_leaves_the_others_alone(build: Build, group: str) -> None:
    client = at(build(**{f"rate_limit_{name}": 2 for name in ROUTES}), "192.0.2.1")
    (method, path), *_ = ROUTES[group]
    assert [client.open(path, method=method).status_code == 429 for _ in range(3)] == [False, False, True]
    for other in ROUTES.keys() - {group}:
        method, path = ROUTES[other][0]
        assert quota(client.open(path, method=method)).remaining == 1, other


@in_memory
@pytest.mark.parametrize("path", ["/livez", "/readyz"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_probes_are_never_limited_nor_counted(build: Build, path: str, method: str) -> None:
    app = build(**{f"rate_limit_{name}": 1 for name in ROUTES})
    client = at(app, "192.0.2.1")
    answers = [client.open(path, method=method) for _ in range(20)]
    assert client.get("/health").status_code == 200
    assert client.get("/health").status_code == 429
    answers += [client.open(path, method=method) for _ in range(20)]
    assert {a.status_code for a in answers} == {200}
    assert not any(values for a in answers for values in shown(a).values())


PREFLIGHT = {"Origin": "https://page.example", "Access-Control-Request-Method": "GET"}


@in_memory
@pytest.mark.parametrize("path", [DIRECTIONS, "/rpe", "/replay", "/health"])
def test_a_preflight_is_neither_refused_for_the_rate_nor_counted(build: Build, path: str) -> None:
    client = at(build(**{f"rate_limit_{name}": 2 for name in ROUTES}), "192.0.2.1")
    assert [client.options(path, headers=PREFLIGHT).status_code for _ in range(5)] == [200] * 5
    answers = [client.get(path) for _ in range(3)]
    assert [answer.status_code == 429 for answer in answers] == [False, False, True]
    over = client.options(path, headers=PREFLIGHT)
    assert over.status_code == 200
    assert "GET" in over.headers["Access-Control-Allow-Methods"]
    assert client.options(path).status_code == 429, "no preflight: nobody asks for a page"


@in_memory
def test_replays_under_way_refuse_no_preflight(build: Build) -> None:
    none_at_a_time = ConcurrencyLimit(0, 0)
    app = build()
    app.before_request_funcs[None] = [f for f in app.before_request_funcs[None] if f.__name__ != "acquire"]
    limit_concurrency(app, {"replay": none_at_a_time})
    client = at(app, "192.0.2.1")
    assert client.get(SATURDAY).status_code == 429
    assert client.options("/replay", headers=PREFLIGHT).status_code == 200


def test_two_addresses_do_not_share(build: Build) -> None:
    app = build(rate_limit_directions=3)
    assert statuses(lambda: at(app, "192.0.2.1").get(DIRECTIONS), 4) == [200, 200, 200, 429]
    assert statuses(lambda: at(app, "192.0.2.2").get(DIRECTIONS), 4) == [200, 200, 200, 429]


def left_of(app: Flask, *addresses: str) -> list[int]:
    """What is left of three after one request from each address."""
    return [quota(at(app, address).get(DIRECTIONS)).remaining for address in addresses]


def test_ipv6_addresses_of_one_64_share(build: Build) -> None:
    app = build(rate_limit_directions=3)
    assert left_of(app, "2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:DB8:0001:0002:0:0:0:7") == [2, 1, 0]
    assert at(app, "2001:db8:1:2::4").get(DIRECTIONS).status_code == 429
    assert left_of(app, "2001:db8:1:3::1", "2001:db8:2:2::1") == [2, 2]


@in_memory
def test_an_ipv4_address_in_ipv6_clothes_is_the_ipv4_address(build: Build) -> None:
    app = build(rate_limit_directions=3)
    assert left_of(app, "192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201", "::ffff:192.0.2.2") == [2, 1, 0, 2]


# Kept answers are limited as those that are made anew

Step = tuple[str, str, float]
"""Method, path with a place for what makes it unique, seconds that pass before."""

STEPS = st.tuples(
    st.sampled_from(["GET"] * 5 + ["HEAD", "OPTIONS", "POST"]),
    st.sampled_from(
        [
            *["/trading_directions?ticker=SPY{}"] * 4,
            *("/trading-directions?ticker=SPY{}", "/v1/trading_directions?ticker=SPY{}"),
            *("/trading_directions?ticker=NOPE{}", "/mtf?ticker=SPY{}", "/v1/rpe?ticker=SPY{}", "/swing?x=0{}"),
            *("/replay?date=2025-03-08&time=11:00{}", "/health?x=0{}", "/nope?x=0{}", "/livez?x=0{}"),
        ]
    ),
    st.sampled_from([0] * 10 + [0.1, 0.5, 1, 29.5, 59.75, 60]),
)
SMALL = {"rate_limit_directions": 4, "rate_limit_analysis": 3, "rate_limit_replay": 2, "rate_limit_other": 3}


class Pair:
    """Two servers that are asked the same: one the very same, so that it may give kept answers, one each time for another
    address, so that it never can."""

    def __init__(self, build: Build, timer: FakeTimer, **limits: int) -> None:
        self.timer = timer
        self.kept, self.made = build(**limits), build(**limits)
        self._numbers = itertools.count()
        self.steps(("GET", path, 0.0) for path in ("/trading_directions?ticker=SPY{}", "/mtf?ticker=SPY{}"))
        settle(self.kept)
        timer.forward(120)

    def steps(self, steps: Iterator[Step] | list[Step], address: str = "192.0.2.1") -> list[int]:
        """Both answer alike as far as limits go; the statuses."""
        found = []
        for method, path, pause in steps:
            self.timer.forward(pause)
            one = at(self.kept, address).open(path.format(""), method=method)
            two = at(self.made, address).open(path.format(f"&x={next(self._numbers)}"), method=method)
            assert (one.status_code, shown(one)) == (two.status_code, shown(two)), (method, path)
            assert names_of(one) == names_of(two), (method, path)
            if method == "GET":
                assert one.status_code != 429 or one.json == two.json
            found.append(one.status_code)
        return found

    def told_alike(self, given: int) -> None:
        """The metrics say the same of both, and that the one gave at least so many kept answers, the other none."""
        assert decisions(self.kept) == decisions(self.made)
        assert given_again(self.kept) >= given
        assert given_again(self.made) == 0


def test_kept_answers_are_refused_at_the_same_request_as_those_made_anew(build: Build, timer: FakeTimer) -> None:
    pair = Pair(build, timer, rate_limit_directions=20)
    path = "/trading_directions?ticker=SPY{}"
    assert pair.steps([("GET", path, 0.5)] * 25) == [200] * 20 + [429] * 5
    assert pair.steps([("GET", path, 60 - 12.5 - 0.01), ("GET", path, 0.51)]) == [429, 200]
    pair.told_alike(given=18)


@pytest.mark.parametrize("mixtures", [7, pytest.param(20, marks=pytest.mark.soak)])
def test_any_mixture_of_requests_counts_the_same_with_kept_answers_as_without(
    build: Build, timer: FakeTimer, mixtures: int
) -> None:
    pair = Pair(build, timer, **SMALL)
    refused = Counter[int]()

    @rules(max_examples=mixtures)
    @given(st.lists(STEPS, min_size=12, max_size=25))
    def alike(steps: list[Step]) -> None:
        timer.forward(120)
        refused.update(pair.steps(steps))

    alike()
    assert refused[200] > mixtures
    assert refused[429] > 0
    timer.forward(120)
    pair.told_alike(given=10)


def test_kept_answers_know_whom_they_are_given_to(build: Build) -> None:
    app = build(rate_limit_directions=3, rate_limit_allow="192.0.2.9")
    for _ in range(2):
        at(app, "192.0.2.7").get(DIRECTIONS)
        settle(app)
    before = given_again(app)
    found = [quota(at(app, f"192.0.2.{host}").get(DIRECTIONS)) for host in (1, 1, 9, 2, 9, 1)]
    assert [(q.limit, q.remaining) for q in found] == [(3, 2), (3, 1), (300, 299), (3, 2), (300, 298), (3, 0)]
    assert given_again(app) - before == 6


def test_an_unchanged_answer_counts_too(build: Build) -> None:
    client = at(build(rate_limit_directions=4), "192.0.2.1")
    client.get(DIRECTIONS)
    tag = one(client.get(DIRECTIONS), "ETag")
    answers = [client.get(DIRECTIONS, headers={"If-None-Match": tag}) for _ in range(3)]
    assert [a.status_code for a in answers] == [304, 304, 429]
    assert [quota(a).remaining for a in answers] == [1, 0, 0]


# Whose word is taken for an address

SPOOFS = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "CF-Connecting-IP", "True-Client-IP")


@in_memory
@pytest.mark.parametrize("name", SPOOFS)
def test_no_header_makes_another_client_of_one_while_no_proxy_is_trusted(build: Build, name: str) -> None:
    client, numbers = at(build(rate_limit_directions=10), "192.0.2.1"), itertools.count()
    value = "for=198.51.100.{}" if name == "Forwarded" else "198.51.100.{}"
    sent = lambda: client.get(DIRECTIONS, headers={name: value.format(next(numbers))})  # noqa: E731
    assert statuses(sent, 30) == [200] * 10 + [429] * 20
    assert client.get(DIRECTIONS, headers=dict.fromkeys(SPOOFS, "203.0.113.5")).status_code == 429


@in_memory
def test_no_header_uses_up_another_clients_requests_while_no_proxy_is_trusted(build: Build) -> None:
    app = build(rate_limit_directions=3)
    attacker = at(app, "192.0.2.66")
    for _ in range(5):
        attacker.get(DIRECTIONS, headers=dict.fromkeys(SPOOFS, "192.0.2.1"))
    assert left_of(app, "192.0.2.1") == [2]


@in_memory
def test_behind_a_trusted_proxy_x_real_ip_is_the_client(build: Build) -> None:
    client = at(build(rate_limit_directions=3, trust_proxy=True), "10.0.0.1")

    def left(**headers: str) -> int:
        answer = client.get(DIRECTIONS, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return -1 if answer.status_code == 429 else quota(answer).remaining

    assert [left(X_Real_IP="198.51.100.1") for _ in range(4)] == [2, 1, 0, -1]
    assert left(X_Real_IP="198.51.100.2") == 2
    assert left(X_Real_IP="::ffff:198.51.100.2") == 1
    assert left(X_Real_IP=" 198.51.100.2 ") == 0
    assert [left(X_Real_IP=f"2001:db8::{host}") for host in (1, 2, 3, 4)] == [2, 1, 0, -1]
    assert left(X_Real_IP="198.51.100.1", X_Forwarded_For="203.0.113.1") == -1
    forwarded = [left(X_Forwarded_For=f"203.0.113.{host}", Forwarded=f"for=203.0.113.{host}") for host in range(4)]
    assert forwarded == [2, 1, 0, -1], "without X-Real-IP it is the proxy's own address"


@in_memory
def test_junk_in_x_real_ip_shares_one_count(build: Build) -> None:
    client = at(build(rate_limit_directions=8, trust_proxy=True), "10.0.0.1")
    junk = [
        "junk",
        "999.1.1.1",
        "198.51.100.1, 198.51.100.2",
        "<script>",
        "x" * 5000,
        "1.2.3.4:80",
        "[::1]",
        "\xff\xfe",
    ]
    answers = [client.get(DIRECTIONS, headers={"X-Real-IP": value}) for value in junk]
    assert [quota(answer).remaining for answer in answers] == list(range(7, -1, -1))
    assert client.get(DIRECTIONS, headers={"X-Real-IP": "new junk"}).status_code == 429
    assert quota(client.get(DIRECTIONS, headers={"X-Real-IP": "198.51.100.1"})).remaining == 7


@in_memory
def test_zones_of_ipv6_addresses_make_no_new_clients(build: Build) -> None:
    client = at(build(rate_limit_directions=3, trust_proxy=True), "10.0.0.1")
    asked = [client.get(DIRECTIONS, headers={"X-Real-IP": f"fe80::1%{zone}"}) for zone in ("a", "b", "c", "d")]
    assert [answer.status_code for answer in asked] == [200, 200, 200, 429]


def test_addresses_that_the_deployment_names_get_a_hundred_times_the_limits(build: Build) -> None:
    app = build(rate_limit_directions=2, rate_limit_allow="192.0.2.9, 198.51.100.0/24, 2001:db8:7::/48")
    viewer = at(app, "192.0.2.9")
    assert statuses(lambda: viewer.get(DIRECTIONS), 202) == [200] * 200 + [429] * 2
    for address in ("198.51.100.77", "2001:db8:7:1::1", "::ffff:198.51.100.78"):
        assert quota(at(app, address).get(DIRECTIONS)).limit == 200, address
    for address in ("192.0.2.8", "198.51.101.1", "2001:db8:8::1", "::ffff:192.0.2.8"):
        assert quota(at(app, address).get(DIRECTIONS)).limit == 2, address


@in_memory
def test_the_allowed_multiple_is_not_for_who_only_claims_the_address(build: Build) -> None:
    client = at(build(rate_limit_directions=2, rate_limit_allow="192.0.2.9"), "192.0.2.1")
    assert quota(client.get(DIRECTIONS, headers=dict.fromkeys(SPOOFS, "192.0.2.9"))).limit == 2


# API keys

TODAY: date = datetime.fromtimestamp(FakeTimer().at, UTC).date()


@dataclass(frozen=True)
class Keyed:
    """A server with keys, and their secrets by name."""

    app: Flask
    secrets: Mapping[str, str]

    def ask(
        self, path: str = DIRECTIONS, *, key: str | None = None, ip: str = "192.0.2.1", **headers: str
    ) -> TestResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return at(self.app, ip).get(path, headers=sent | ({} if key is None else {"X-API-Key": key}))


@pytest.fixture
def keyed(build: Build) -> Callable[..., Keyed]:
    """Builds a server whose keys are `viewer` (standard), `bank` (high), `late` (good for today) and `old` (expired)."""

    def make(**overrides: object) -> Keyed:
        wanted = {"viewer": ("standard", 30), "bank": ("high", 30), "late": ("standard", 0), "old": ("high", -1)}
        made = {name: new_key(name, tier, TODAY + timedelta(days)) for name, (tier, days) in wanted.items()}
        keys: tuple[ApiKey, ...] = tuple(key for _, key in made.values())
        app = build(api_keys=keys, **{"rate_limit_directions": 60, **overrides})
        return Keyed(app, {name: secret for name, (secret, _) in made.items()})

    return make


def test_who_has_no_key_gets_half_once_there_are_keys(keyed: Callable[..., Keyed]) -> None:
    server = keyed()
    assert quota(server.ask()) == Quota("directions", 30, 29, 60, 1_000_060)
    assert statuses(server.ask, 31) == [200] * 29 + [429] * 2


@pytest.mark.parametrize(("name", "limit"), [("viewer", 6), ("bank", 60)])
def test_a_keys_holder_gets_what_the_tier_says(keyed: Callable[..., Keyed], name: str, limit: int) -> None:
    server = keyed(rate_limit_directions=6)
    ask = lambda: server.ask(key=server.secrets[name])  # noqa: E731
    assert quota(ask()).limit == limit
    assert statuses(ask, limit + 1) == [200] * (limit - 1) + [429] * 2


def test_a_key_counts_for_itself_wherever_it_is_used(keyed: Callable[..., Keyed]) -> None:
    server = keyed()
    viewer, bank = server.secrets["viewer"], server.secrets["bank"]
    found = [quota(server.ask(key=viewer, ip=f"192.0.2.{host}")).remaining for host in (1, 2, 3)]
    assert found == [59, 58, 57]
    assert quota(server.ask(key=bank)).remaining == 599
    assert quota(server.ask()).remaining == 29
    assert quota(server.ask(Authorization=f"Bearer {viewer}", ip="192.0.2.4")).remaining == 56


@in_memory
def test_a_key_comes_as_bearer_token_too(keyed: Callable[..., Keyed]) -> None:
    server = keyed()
    for sent in ("Bearer {}", "bearer {}", "BEARER  {}"):
        assert quota(server.ask(Authorization=sent.format(server.secrets["viewer"]))).limit == 60, sent
    assert server.ask(Authorization="Bearer nonsense").status_code == 401
    assert quota(server.ask(Authorization="Basic dTpw")).limit == 30


@in_memory
@pytest.mark.parametrize("path", [DIRECTIONS, "/nope", "/health"])
def test_a_wrong_or_expired_key_is_refused_and_told_how_to_bring_one(keyed: Callable[..., Keyed], path: str) -> None:
    server = keyed()
    for key in ("nonsense", "\xff", "p" * 4000, server.secrets["old"], server.secrets["viewer"][:-1]):
        answer = server.ask(path, key=key)
        assert answer.status_code == 401, key
        assert answer.json is not None
        assert answer.json["error_code"] == "UNAUTHORIZED"
        assert one(answer, "WWW-Authenticate") == 'Bearer realm="predict"'
        assert quota(answer).group == "other"
        assert "Retry-After" not in answer.headers


def test_tries_with_wrong_keys_are_counted_against_the_address(keyed: Callable[..., Keyed]) -> None:
    server = keyed(rate_limit_other=8)
    tries = itertools.count()
    assert statuses(lambda: server.ask(key=f"guess {next(tries)}"), 6) == [401] * 4 + [429] * 2
    assert server.ask("/health").status_code == 429, "the address's own count"
    assert server.ask(key=server.secrets["viewer"]).status_code == 200, "the right key is not locked out"
    assert server.ask().status_code == 200, "nor are the other groups"
    assert server.ask(key="guess", ip="192.0.2.2").status_code == 401


@in_memory
def test_a_key_ends_with_its_last_day(keyed: Callable[..., Keyed], timer: FakeTimer) -> None:
    server = keyed()
    assert quota(server.ask(key=server.secrets["late"])).limit == 60
    midnight = datetime.combine(TODAY + timedelta(1), datetime.min.time(), UTC).timestamp()
    timer.at = midnight - 0.5
    assert server.ask(key=server.secrets["late"]).status_code == 200
    timer.at = midnight
    assert server.ask(key=server.secrets["late"]).status_code == 401


@in_memory
@pytest.mark.parametrize("name", ["key", "api_key", "apikey", "X-API-Key", "access_token", "token"])
def test_a_key_in_the_address_is_no_key(keyed: Callable[..., Keyed], name: str) -> None:
    server = keyed()
    answer = server.ask(f"{DIRECTIONS}&{name}={server.secrets['viewer']}")
    assert (answer.status_code, quota(answer).limit) == (200, 30)
    assert server.ask(f"{DIRECTIONS}&{name}=nonsense").status_code == 200


@in_memory
def test_without_keys_the_headers_mean_nothing(build: Build) -> None:
    client = at(build(rate_limit_directions=4), "192.0.2.1")
    sent = [{}, {"X-API-Key": "nonsense"}, {"Authorization": "Bearer nonsense"}, {"X-API-Key": ""}]
    found = [quota(client.get(DIRECTIONS, headers=headers)) for headers in sent]
    assert [(q.limit, q.remaining) for q in found] == [(4, 3), (4, 2), (4, 1), (4, 0)]
    assert client.get(DIRECTIONS, headers={"X-API-Key": "another"}).status_code == 429


@in_memory
def test_kept_answers_are_not_given_for_a_wrong_key(keyed: Callable[..., Keyed]) -> None:
    server = keyed()
    for _ in range(3):
        assert server.ask().status_code == 200
    assert server.ask(key="nonsense").status_code == 401


# So many at a time


class Gate:
    """A market that holds every call until it is opened, for which replays wait as long as that takes."""

    def __init__(self, market: ScriptedMarket, patch: pytest.MonkeyPatch) -> None:
        self.opened = threading.Event()
        market.fault = self.hold
        for name in ("app.pipeline.pipeline.COLD_S", "app.market.shared_fetches.DEADLINE_S"):
            patch.setattr(name, PATIENCE_S)

    def hold(self, path: str) -> Reply | None:
        assert self.opened.wait(PATIENCE_S), "never opened"
        return None


def wait_for(app: Flask, under_way: int) -> None:
    """Until so many replays are under way."""
    end = monotonic() + PATIENCE_S
    while metrics(app)["predict_under_way", ("replay",)] != under_way:
        assert monotonic() < end, f"never {under_way} under way"


@in_memory
def test_a_fifth_replay_at_a_time_is_refused_while_others_go_on(
    build: Build, market: ScriptedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, gate = build(), Gate(market, monkeypatch)
    with ThreadPoolExecutor(4) as pool:
        try:
            held = [pool.submit(at(app, "192.0.2.1").get, SESSION) for _ in range(4)]
            wait_for(app, 4)
            refused = [at(app, "192.0.2.1").get(path) for path in (SESSION, SATURDAY)]
            others = [at(app, "192.0.2.2").get(SATURDAY), at(app, "192.0.2.1").get("/health")]
            assert not any(future.done() for future in held)
        finally:
            gate.opened.set()
        assert [future.result(PATIENCE_S).status_code for future in held] == [200] * 4
    for answer in refused:
        assert answer.status_code == 429
        used = "The limit of the group `replay` is used up: 4 of 4 requests at a time of one client."
        assert answer.json == {"error": f"{used} One that ends frees a place.", "error_code": "TOO_MANY_REQUESTS"}
        assert one(answer, "Retry-After") == "1"
        assert quota(answer).group == "replay"
    assert [answer.status_code for answer in others] == [200, 200]
    wait_for(app, 0)
    assert statuses(lambda: at(app, "192.0.2.1").get(SESSION), 6) == [200] * 6


@in_memory
def test_a_seventeenth_replay_at_a_time_is_refused_whoever_asks(
    build: Build, market: ScriptedMarket, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, gate = build(), Gate(market, monkeypatch)
    with ThreadPoolExecutor(16) as pool:
        try:
            held = [pool.submit(at(app, f"192.0.2.{number % 4}").get, SESSION) for number in range(16)]
            wait_for(app, 16)
            refused = at(app, "192.0.2.9").get(SATURDAY)
        finally:
            gate.opened.set()
        assert [future.result(PATIENCE_S).status_code for future in held] == [200] * 16
    assert refused.status_code == 429
    assert refused.json is not None
    assert "16 of 16 requests at a time of all clients. One that ends frees a place." in refused.json["error"]
    assert one(refused, "Retry-After") == "1"
    assert at(app, "192.0.2.9").get(SATURDAY).status_code == 200


def failing(path: str) -> Reply:
    return Reply(500, None)


def breaking(path: str) -> Reply:
    raise RuntimeError("nobody foresaw this")


@in_memory
@pytest.mark.parametrize(
    ("path", "fault"), [("/replay", None), (SESSION, failing), (SESSION, breaking)], ids=["bad", "failing", "breaking"]
)
def test_replays_that_fail_do_not_fill_the_places(
    build: Build, market: ScriptedMarket, path: str, fault: Callable[[str], Reply] | None
) -> None:
    app, client = (made := build()), at(made, "192.0.2.1")
    market.fault = fault or market.fault
    assert 429 not in statuses(lambda: client.get(path), 10)
    assert metrics(app)["predict_under_way", ("replay",)] == 0


@in_memory
def test_refused_replays_do_not_fill_the_places(build: Build) -> None:
    app = build(rate_limit_replay=2)
    client = at(app, "192.0.2.1")
    assert statuses(lambda: client.get(SATURDAY), 12) == [200] * 2 + [429] * 10
    assert metrics(app)["predict_under_way", ("replay",)] == 0
