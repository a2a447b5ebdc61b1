"""Every text that a client may show, in every variant: a sentence that a trader understands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask

from app.factory import create_app
from app.market.polygon import Reply
from app.signals.policy import Gate
from blueprints.ops import PATHS
from blueprints.shared.sentences import GATES
from tests.support import FakeClock, ScriptedMarket, dropping, models_saying, new_york, promoted_set, settings

Serve = Callable[..., Flask]
WORDS = "Upgrade your plan at https://shop.example, errno 13"
"""The provider's own."""

ACCURACY = ("late_target_a", "late_target_b", "peak_hours")
TEXTS = {"reason", "recommendation", "error", "message", "about", *ACCURACY}
ROUTES = (
    *(
        "/trading_directions",
        "/trading_directions?ticker=SPY",
        "/trading_directions?tickers=SPY,UVXY",
        "/mtf",
        "/northstar",
    ),
    *(
        "/rpe",
        "/swing",
        "/daily_signals",
        "/signal_breakdown",
        "/volatility_meter",
        "/price_ranges",
        "/health",
        "/readyz",
    ),
    *("/replay?date=2025-03-10&time=11:00", "/replay?date=2025-03-10&time=09:45", "/replay?date=2025-03-10&time=17:00"),
    *("/replay?date=2025-03-08&time=11:00", "/replay?date=1995-06-06&time=11:00", "/mtf?tickers=UVXY", "/"),
)
WRONG = (
    *("/nothing", "/tradingdirections", "/v1/swingg", "/v3/swing", "/v1/livez", "//swing", "/replay"),
    *("/replay?dat=x&time=11:00", "/replay?date=2025-03-10", "/replay?date=x&time=11:00", "/swing?ticker=SPYY"),
    *("/replay?date=2999-01-01&time=11:00", "/replay?date=2025-03-10&time=25:00", "/replay?date=2025-03-10&hour=3"),
    *("/swing?ticker=UVXY", "/swing?tickers=" + ",".join(f"A{n}" for n in range(60))),
)


def answering(status: int) -> Callable[[str], Reply]:
    return lambda path: Reply(status, {"status": "ERROR", "error": WORDS, "message": WORDS})


def bend_500(market: ScriptedMarket) -> None:
    market.fault = answering(500)


def bend_403(market: ScriptedMarket) -> None:
    market.fault = answering(403)


def bend_401(market: ScriptedMarket) -> None:
    market.fault = answering(401)


def bend_429(market: ScriptedMarket) -> None:
    market.fault = answering(429)


def bend_minutes(market: ScriptedMarket) -> None:
    market.fault = lambda path: answering(403)(path) if "/minute/" in path else None


def bend_snapshots(market: ScriptedMarket) -> None:
    market.fault = lambda path: answering(500)(path) if "/snapshot" in path else None
    market.edit = dropping("/range/1/day/", lambda row: row["t"] >= new_york("2025-03-11 00:00").timestamp() * 1000)


def bend_days(market: ScriptedMarket) -> None:
    market.edit = dropping("/range/1/day/", lambda row: row["t"] == new_york("2025-03-06 00:00").timestamp() * 1000)


def bend_nothing(market: ScriptedMarket) -> None:
    market.edit = lambda path, body: {**body, "results": []}


BENDS = (bend_500, bend_403, bend_401, bend_429, bend_minutes, bend_snapshots, bend_days, bend_nothing)
MOMENTS = ("2025-03-11 09:45", "2025-03-11 10:00:02", "2025-03-11 14:30:06", "2025-03-11 15:55", "2025-03-08 12:00")
MODELS = (0.9999, 0.75, 0.2499, 0.0001)
MORE_MODELS = (0.99, 0.7500001, 0.5, 0.09, 0.009)


def texts(value: object, key: str = "", also: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Every text that a client shows, with its key."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield from texts(member, name, also)
    elif isinstance(value, list):
        for member in value:
            yield from texts(member, key, also)
    elif isinstance(value, str) and key in (*TEXTS, *also):
        yield key, value


def refuse_nonsense(text: str, *hidden: str) -> None:
    assert text.endswith("."), text
    assert not text.endswith(".."), text
    assert text[0].isupper() or text[0].isdigit(), text
    assert text.isprintable(), text
    assert not re.search(r"\b[A-Z]+_[A-Z_]+\b", text), f"a code: {text}"
    assert not re.search(r"(?<![\d.])(0|0\.0|100|100\.0)%", text), f"no probability is certain: {text}"
    assert not re.search(r"Errno|sqlite|Traceback|Error\b|\bURL\b", text), f"a library's words: {text}"
    for word in ("shop", "://", *hidden):
        assert word not in text, text
    refuse_repetition(text)


def refuse_repetition(text: str) -> None:
    """No two clauses are made of the same words."""
    clauses = [set(re.findall(r"[a-z]{4,}", clause.lower())) for clause in re.split(r"[.;:](?=\s|$)", text)]
    for n, clause in enumerate(clauses):
        for other in clauses[n + 1 :]:
            both = len(clause & other)
            assert both < 3 or both < 0.6 * min(len(clause), len(other)), f"said twice: {text}"


def check(app: Flask, folder: Path, routes: tuple[str, ...] = ROUTES) -> None:
    client = app.test_client()
    for route in routes:
        body = client.get(route).get_json()
        for key, text in texts(body):
            if route == "/readyz" or (route == "/signal_breakdown" and key == "reason"):
                assert str(folder) not in text
            else:
                refuse_nonsense(text, str(folder))


@pytest.mark.parametrize("moment", MOMENTS)
def test_texts_of_an_ordinary_day_are_sentences(serve: Serve, clock: FakeClock, tmp_path: Path, moment: str) -> None:
    clock.set(moment)
    check(serve(), tmp_path)


@pytest.mark.parametrize("p", [*MODELS, *(pytest.param(p, marks=pytest.mark.soak) for p in MORE_MODELS)])
def test_texts_of_every_probability_are_sentences(serve: Serve, clock: FakeClock, tmp_path: Path, p: float) -> None:
    clock.set("2025-03-11 14:30:06")
    app = serve(models_dir=models_saying(tmp_path / "models", p))
    check(app, tmp_path, ("/trading_directions", "/replay?date=2025-03-10&time=11:00"))


@pytest.mark.parametrize("bend", BENDS)
def test_texts_of_every_fault_are_sentences_without_the_providers_words(
    serve: Serve, market: ScriptedMarket, clock: FakeClock, tmp_path: Path, bend: Callable[[ScriptedMarket], None]
) -> None:
    clock.set("2025-03-11 14:30:06")
    bend(market)
    check(serve(), tmp_path)


def test_texts_without_key_model_or_disk_are_sentences(serve: Serve, clock: FakeClock, tmp_path: Path) -> None:
    clock.set("2025-03-11 14:30:06")
    (tmp_path / "file").write_text("in the way")
    keyless = create_app(settings(market="polygon", polygon_api_key="", data_dir=tmp_path / "a"), clock=clock)
    check(keyless, tmp_path)
    check(serve(models_dir=tmp_path / "none"), tmp_path)
    (promoted_set(models_saying(tmp_path / "some", 0.9)) / "v6_IWM.npz").write_bytes(b"not arrays")
    check(serve(models_dir=tmp_path / "some", data_dir=tmp_path / "b"), tmp_path)
    check(serve(data_dir=tmp_path / "file"), tmp_path)


@pytest.mark.parametrize("path", WRONG)
def test_texts_of_wrong_requests_are_sentences(serve: Serve, tmp_path: Path, path: str) -> None:
    check(serve(), tmp_path, (path,))


@pytest.mark.parametrize("method", ["POST", "PUT", "BREW"])
def test_texts_of_wrong_methods_and_bodies_are_sentences(standing: Flask, method: str) -> None:
    client = standing.test_client()
    for path in ("/swing", "/predict", "/batch_predict"):
        for body in (b"", b"{", b"x" * (1 << 20 | 1)):
            for _, text in texts(client.open(path, method=method, data=body).get_json()):
                refuse_nonsense(text)


def test_the_banner_says_which_gate_in_words(serve: Serve, market: ScriptedMarket) -> None:
    bend_500(market)
    found = serve().test_client().get("/trading_directions").get_json()["summary"]["recommendation"]
    assert found == "No trade: the market data cannot be fetched now."
    assert set(GATES) == set(Gate)


def test_the_banner_of_a_short_says_what_its_percentage_means(serve: Serve, clock: FakeClock, tmp_path: Path) -> None:
    clock.set("2025-03-11 14:30:06")
    app = serve(models_dir=models_saying(tmp_path / "models", 0.009))
    body = app.test_client().get("/trading_directions?ticker=SPY").get_json()
    assert body["summary"]["recommendation"] == "SPY SHORT (under 1% to close above its 11:00 price). Best: SPY."
    reason = body["tickers"]["SPY"]["reason"]
    assert reason.startswith(
        "SHORT since 14:00: 99.1% that it does not close above its 11:00 price (very strong bear)."
    )
    assert body["tickers"]["SPY"]["probability"] == 0.009


@pytest.mark.parametrize(
    ("moment", "p", "said"),
    [
        ("2025-03-11 10:30", 0.905, "SPY LONG (90% to close above its open). Best: SPY."),
        ("2025-03-11 11:30", 0.905, "SPY LONG (90% to close above its 11:00 price). Best: SPY."),
        ("2025-03-11 10:30", 0.605, "No trade: all neutral (SPY: 60% to close above the open)."),
        ("2025-03-11 11:30", 0.605, "No trade: all neutral (SPY: 60% to close above the 11:00 price)."),
    ],
)
def test_the_banner_names_what_the_close_is_compared_with(
    serve: Serve, clock: FakeClock, tmp_path: Path, moment: str, p: float, said: str
) -> None:
    clock.set(moment)
    client = serve(models_dir=models_saying(tmp_path / "models", p)).test_client()
    assert client.get("/trading_directions?ticker=SPY").get_json()["summary"]["recommendation"] == said
    day, time = moment.split()
    replayed = client.get(f"/replay?date={day}&time={time}&ticker=SPY").get_json()
    assert replayed["summary"]["recommendation"] == said


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0.247, "SPY SHORT (under 25% to close above its open). Best: SPY."),
        (0.2, "SPY SHORT (20% to close above its open). Best: SPY."),
        (0.9999, "SPY LONG (99% to close above its open). Best: SPY."),
        pytest.param(0.2401, "SPY SHORT (under 25% to close above its open). Best: SPY.", marks=pytest.mark.soak),
        pytest.param(0.07, "SPY SHORT (7% to close above its open). Best: SPY.", marks=pytest.mark.soak),
        pytest.param(0.171, "SPY SHORT (under 18% to close above its open). Best: SPY.", marks=pytest.mark.soak),
        pytest.param(0.829, "SPY LONG (82% to close above its open). Best: SPY.", marks=pytest.mark.soak),
    ],
)
def test_the_banner_never_promises_more_than_the_model_says(
    serve: Serve, clock: FakeClock, tmp_path: Path, p: float, said: str
) -> None:
    """For a SHORT the chance of closing above is rounded up, for a LONG it is cut."""
    clock.set("2025-03-11 10:30")
    client = serve(models_dir=models_saying(tmp_path / "models", p)).test_client()
    for route in ("/trading_directions?ticker=SPY", "/replay?date=2025-03-11&time=10:30&ticker=SPY"):
        assert client.get(route).get_json()["summary"]["recommendation"] == said


NO_BARS = "RECORDED: No bars have been imported yet: run .venv/bin/predict import FOLDER."
STRUCTURES = ("/mtf", "/northstar", "/rpe", "/swing")
DAILY = ("/daily_signals", "/signal_breakdown", "/volatility_meter", "/price_ranges")


@pytest.mark.parametrize("moment", ["2025-03-11 14:30", "2025-03-08 12:00"])
def test_a_recorded_market_without_bars_says_so_wherever_an_answer_suffers(
    tmp_path: Path, clock: FakeClock, moment: str
) -> None:
    clock.set(moment)
    client = create_app(settings(market="recorded", data_dir=tmp_path), clock=clock).test_client()
    for route in ("/trading_directions", "/replay?date=2025-03-07&time=11:00", *STRUCTURES, *DAILY):
        body = client.get(route).get_json()
        for ticker, entry in body["tickers"].items():
            faults = [text for key, text in texts(entry) if key in ("error", "reason")]
            assert not (faults and not all(text.startswith(NO_BARS) for text in faults)), (route, ticker, faults)
        assert any(text.startswith(NO_BARS) for _, text in texts(body)), f"{route}: nothing says why"
        if "data_status" in body:
            assert body["data_status"]["stale"] is True, route


@pytest.mark.parametrize("source", ["demo", "recorded"])
def test_the_sentence_about_all_tickers_says_which_market_it_is(tmp_path: Path, clock: FakeClock, source: str) -> None:
    clock.set("2025-03-11 14:30")
    client = create_app(settings(market=source, data_dir=tmp_path), clock=clock).test_client()
    for route in ("/mtf", "/northstar", "/rpe", "/volatility_meter"):
        body = client.get(route).get_json()
        text = body["trading_guidance"] if route == "/volatility_meter" else body["summary"]["recommendation"]
        assert text.startswith(f"{source.upper()}: "), route


LISTS = (
    "reasons",
    "blockers",
    "conditions",
    "structure_notes",
    "invalidation_levels",
    "invalidation_context",
    "wait_for",
)
BOUND = re.compile(
    r"^[A-Z_]+: (?=the )|(?<=\()DAILY=[A-Z]+, INTRADAY=[A-Z]+(?=\))|(?<=\()(CONTEXT_ONLY|NO_TRADE)(?=\)$)"
)
"""Names that northstar.md asks for in a text: a failure's (3.8), both directions' (3.5), the band's (6)."""


@pytest.mark.parametrize("moment", [f"2025-03-{day} {time}" for day in (10, 11, 12) for time in ("10:40", "15:10")])
def test_sentences_of_the_structure_say_in_words_what_a_code_means(serve: Serve, clock: FakeClock, moment: str) -> None:
    clock.set(moment)
    client, seen = serve().test_client(), 0
    for route in STRUCTURES:
        for key, text in texts(client.get(route).get_json(), also=(*LISTS, "conflict_tf", "conflict_reason")):
            if key in TEXTS:
                continue
            seen += 1
            assert not re.search(r"[A-Z]{2,}_[A-Z]|UP|DOWN|BALANCED|SIDEWAYS", BOUND.sub("", text)), text
    assert seen > 20


@pytest.mark.parametrize("moment", [*MOMENTS, "2025-03-11 20:30"])
def test_the_demo_says_demo_wherever_the_readme_says_so(tmp_path: Path, clock: FakeClock, moment: str) -> None:
    clock.set(moment)
    client = create_app(settings(market="demo", data_dir=tmp_path), clock=clock).test_client()
    for route in (*STRUCTURES, *DAILY, "/trading_directions", "/replay?date=2024-06-12&time=14:35", *ROUTES[-4:-2]):
        body = client.get(route).get_json()
        said = [text for key, text in texts(body, also=("trading_guidance",)) if key not in ("message", *ACCURACY)]
        assert all(text.startswith("DEMO: ") for text in said), (route, said)
        assert said or body.get("data_status", {}).get("source") == "demo" or route == "/price_ranges"


def keyless(clock: FakeClock, folder: Path) -> Flask:
    return create_app(settings(market="polygon", polygon_api_key="", data_dir=folder), clock=clock)


def test_a_server_without_a_key_says_so_where_it_answers(tmp_path: Path, clock: FakeClock) -> None:
    clock.set("2025-03-08 12:00")
    client = keyless(clock, tmp_path).test_client()
    assert "without a key" in client.get("/").get_json()["state"]
    board, daily = (client.get(route).get_json() for route in ("/trading_directions", "/daily_signals"))
    assert board["tickers"]["SPY"]["reason"].startswith("No market-data key is set. Market closed.")
    assert board["summary"]["recommendation"].startswith("No market-data key is set.")
    assert daily["tickers"]["SPY"]["error"].startswith("No market-data key is set.")
    for body in (board, daily):
        assert (body["data_status"]["plan"], body["data_status"]["stale"]) == (None, True)
    assert client.get("/health").get_json()["operations"]["plan"]["name"] is None


@pytest.mark.parametrize("route", [*STRUCTURES, *DAILY[1:], "/replay?date=2025-03-07&time=11:00"])
def test_without_a_key_who_needs_data_gets_503_in_a_closed_market_too(
    tmp_path: Path, clock: FakeClock, route: str
) -> None:
    """v1-contract.md 3.3."""
    clock.set("2025-03-08 12:00")
    answer = keyless(clock, tmp_path).test_client().get(route)
    assert (answer.status_code, answer.get_json()["error"]) == (503, "No market-data key is configured.")


def test_a_provider_that_is_not_polygon_is_not_called_live(tmp_path: Path, clock: FakeClock) -> None:
    clock.set("2025-03-08 12:00")
    given = {"polygon_api_key": "k", "polygon_base_url": "http://127.0.0.1:1", "data_dir": tmp_path}
    client = create_app(settings(market="polygon", **given), clock=clock).test_client()
    assert "a provider that is not Polygon" in client.get("/").get_json()["state"]
    assert "a provider that is not Polygon" in client.get("/trading_directions").get_json()["message"]


def test_a_replay_of_a_time_that_has_not_come_says_that_it_is_about_now(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-11 13:05")
    client = serve().test_client()
    body = client.get("/replay?date=2025-03-11&time=14:30").get_json()
    said = "14:30 has not come yet; this answer is as of now, 1:05 PM ET."
    assert said in body["summary"]["recommendation"]
    assert all(said in entry["v6"]["reason"] for entry in body["tickers"].values())
    past = client.get("/replay?date=2025-03-11&time=13:05").get_json()
    assert not any("has not come" in text for _, text in texts(past))


def test_a_replay_of_a_future_day_is_told_the_markets_today(serve: Serve, clock: FakeClock) -> None:
    clock.set("2025-03-11 13:05")
    error = serve().test_client().get("/replay?date=2025-03-12&time=11:00").get_json()["error"]
    assert error == "Date lies in the future: in this market today is 2025-03-11."


def test_a_path_in_a_version_without_routes_is_not_proposed_to_itself(standing: Flask) -> None:
    error = standing.test_client().get("/mtf", headers={"X-API-Version": "2"}).get_json()["detail"]
    assert error == "There is nothing at /mtf in version 2 of this API. GET /versions says which versions there are."


def test_daily_signals_are_stale_when_every_ticker_fails_for_staleness(
    serve: Serve, market: ScriptedMarket, clock: FakeClock
) -> None:
    clock.set("2025-03-11 14:30:06")
    frozen = new_york("2025-03-11 14:05").timestamp() * 1000
    market.edit = dropping("/minute/", lambda row: row["t"] >= frozen)
    body = serve().test_client().get("/daily_signals").get_json()
    assert all("error" in entry for entry in body["tickers"].values()), body["tickers"]
    assert body["data_status"]["stale"] is True


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/tradingdirections", "Perhaps /trading_directions is meant."),
        ("/v1/trading-direction", "Perhaps /trading-directions is meant."),
        ("/Swing", "Perhaps /swing is meant."),
        ("/healthz", "Perhaps /health is meant."),
        ("/something/else", "GET / says what there is."),
        ("/a\u0007b\u202e" * 60, "GET / says what there is."),
        ("/replay?dat=2025-03-10&time=11:00", "dat is no parameter, perhaps date is meant."),
        ("/replay?date=2025-03-10&tme=11:00", "tme is no parameter, perhaps time is meant."),
        ("/swing?ticker=SPYY", "Perhaps SPY is meant."),
        ("/swing?ticker=SPY,IWM", "Ticker takes one symbol, tickers takes several: tickers=SPY,IWM."),
        ("/swing?ticker=spy%3B+qqq", "Ticker takes one symbol, tickers takes several: tickers=SPY,QQQ."),
        ("/trading_directions?ticker=SPY,UVXY", "tickers takes several: tickers=SPY,QQQ."),
        ("/replay?date=2025-03-10&time=11:00&ticker=QQQ+IWM", "tickers takes several: tickers=QQQ,IWM."),
    ],
)
def test_a_misspelling_is_answered_with_what_may_be_meant(standing: Flask, path: str, hint: str) -> None:
    error = standing.test_client().get(path).get_json()["error"]
    assert error.endswith(hint)
    assert len(error) < 200


def test_a_wrong_method_is_answered_with_the_right_ones(standing: Flask) -> None:
    answer = standing.test_client().post("/swing")
    assert answer.get_json()["error"] == f"This method cannot be used here: {answer.headers['Allow']} may be used."


# --- what this server is ---


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "text/html;q=0.5, application/json", "image/png"])
def test_the_root_says_what_this_is(standing: Flask, accept: str | None) -> None:
    answer = standing.test_client().get("/", headers={"Accept": accept} if accept else {})
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    body = answer.get_json()
    assert set(body) == {"name", "version", "about", "state", "paths"}
    assert "Accept" in answer.headers["Vary"]


def test_without_a_dashboard_the_root_is_a_short_page_for_browsers_that_the_strict_policy_holds_for(
    serve: Serve,
) -> None:
    accept = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    answer = serve().test_client().get("/", headers=accept)
    assert answer.content_type == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert not re.search(r"<script|<style|style=|src=|on\w+=", answer.text), "nothing that the policy would block"
    assert all(path in answer.text for path in PATHS if path != "/")


def templated(rule: str) -> str:
    """A rule of the URL map as documents write it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def test_the_root_lists_the_routes_that_there_are(standing: Flask) -> None:
    rules = {templated(rule.rule) for rule in standing.url_map.iter_rules()}
    assert set(PATHS) == {rule for rule in rules if not re.fullmatch(r"/docs/.*\.(css|js|png)|/assets/.*", rule)}
    assert json.loads(standing.test_client().get("/").text)["paths"] == dict(PATHS)
