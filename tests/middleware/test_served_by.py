"""A client behind a balancer sees which replica answered it, and any client from which market; what is answered does not depend
on the replica."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from app.config.settings import load
from app.factory import create_app
from tests.middleware.servers import ANSWERS, KEPT, Build, answer_to, started
from tests.support import FakeClock, ScriptedMarket, settings, settle
from tests.telemetry.metrics.scraping import Scrape

pytestmark = pytest.mark.usefixtures("warm_market")

HERE = {"railway_region": "us-west2", "railway_replica": "6f0c1a2b-3d4e"}
NAMED = ("localhost",)
UNUSABLE = ["us west", "us-west2\r\nSet-Cookie: a=b", "é", '"', "-", "a" * 65, "us/west", "\N{SNOWMAN}"]


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_names_region_and_replica_once(shared: Build, name: str) -> None:
    assert answer_to(shared(**HERE, allowed_hosts=NAMED), name).headers.getlist("X-Served-By") == [
        "us-west2/6f0c1a2b-3d4e"
    ]


@pytest.mark.parametrize("name", ANSWERS)
def test_where_no_platform_names_the_replica_no_answer_does(shared: Build, name: str) -> None:
    assert "X-Served-By" not in answer_to(shared(allowed_hosts=NAMED), name).headers


def test_a_handshake_of_socket_io_names_it_too(shared: Build) -> None:
    answer = shared(**HERE, railway_volume="/data").test_client().get("/socket.io/?EIO=4&transport=polling")
    assert answer.status_code == 200
    assert answer.headers.getlist("X-Served-By") == ["us-west2/6f0c1a2b-3d4e"]


@pytest.mark.parametrize("path", KEPT)
def test_kept_answers_name_their_replica_and_are_the_same_bytes_on_each(
    tmp_path: Path, clock: FakeClock, path: str
) -> None:
    clock.set("2025-03-11 11:30:06")
    answers = []
    for region in ("us-west2", "europe-west4-drams3a"):
        app = started(tmp_path / region, clock, ScriptedMarket(clock), railway_region=region)
        client = app.test_client()
        asked = [client.get(path)]
        settle(app)  # the first one fetches and locks a signal, which ends what was kept before
        asked += [client.get(path) for _ in range(2)]
        assert [answer.headers.getlist("X-Served-By") for answer in asked] == [[region]] * 3
        hits = Scrape(client.get("/metrics").text).value("predict_cache_lookups_total", cache="answers", outcome="hit")
        assert (hits or 0) >= 1
        answers += asked
        app.extensions["predict-server"].close()
    assert len({answer.data for answer in answers}) == 1
    assert len({answer.headers["ETag"] for answer in answers}) == 1


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_of_a_version_names_the_market_once(shared: Build, name: str) -> None:
    answer = answer_to(shared(allowed_hosts=NAMED), name)
    named = ["polygon"] if "X-API-Version" in answer.headers else []
    assert answer.headers.getlist("X-Data-Source") == named


def test_an_answer_of_the_demo_whose_body_holds_numbers_alone_says_so_in_a_header(tmp_path: Path) -> None:
    app = create_app(settings(market="demo", data_dir=tmp_path))
    assert app.test_client().get("/price_ranges").headers["X-Data-Source"] == "demo"
    app.extensions["predict-server"].close()


def test_a_page_of_another_origin_may_read_who_answered_and_from_which_market(shared: Build) -> None:
    answer = shared(**HERE).test_client().get("/swing", headers={"Origin": "https://dashboard.example"})
    assert {"X-Served-By", "X-Data-Source"} <= {*answer.headers["Access-Control-Expose-Headers"].split(", ")}


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"railway_region": "us-west2"}, "us-west2"),
        ({"railway_replica": "r1"}, "-/r1"),
        ({"railway_region": "us west", "railway_replica": "r1"}, "-/r1"),
        ({"railway_region": "us-west2", "railway_replica": "a b"}, "us-west2"),
        ({}, None),
    ],
)
def test_what_is_known_is_named(values: dict[str, str], name: str | None) -> None:
    assert settings(**values).replica.served_by == name


@pytest.mark.parametrize("value", UNUSABLE)
def test_a_name_that_cannot_stand_in_a_header_is_ignored(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    for name in ("RAILWAY_REPLICA_REGION", "RAILWAY_REPLICA_ID"):
        monkeypatch.setenv(name, value)
    found = load()
    assert found.replica == (None, None)
    assert found.behind_proxy, "it is on Railway all the same"
    assert [sentence.split()[0] for sentence in found.ignored] == ["RAILWAY_REPLICA_REGION", "RAILWAY_REPLICA_ID"]


def test_names_as_railway_gives_them_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAILWAY_REPLICA_REGION", "asia-southeast1-eqsg3a")
    monkeypatch.setenv("RAILWAY_REPLICA_ID", "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9")
    found = load()
    assert found.replica == ("asia-southeast1-eqsg3a", "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9")
    assert found.ignored == []


def test_a_region_set_by_hand_does_not_make_a_proxy_trusted() -> None:
    assert not settings(railway_region="eu").behind_proxy


def test_the_start_says_what_it_ignores_in_one_sentence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "predict"):
        create_app(settings(market="demo", data_dir=tmp_path, railway_region="us west"))
    said = [record.getMessage() for record in caplog.records if "REGION" in record.getMessage()]
    assert said == [
        "RAILWAY_REPLICA_REGION is ignored: it must be up to 64 letters, digits, dots, hyphens and underscores that begin "
        "with a letter or a digit"
    ]


def test_health_and_metrics_say_where_this_is(shared: Build) -> None:
    client = shared(**HERE).test_client()
    operations = client.get("/health").get_json()["operations"]
    assert (operations["region"], operations["replica"]) == ("us-west2", "6f0c1a2b-3d4e")
    (labels,) = map(dict, Scrape(client.get("/metrics").text).all("predict_info"))
    assert (labels["region"], labels["replica"]) == ("us-west2", "6f0c1a2b-3d4e")


def test_health_says_null_where_nothing_is_known(shared: Build) -> None:
    operations = shared().test_client().get("/health").get_json()["operations"]
    assert (operations["region"], operations["replica"]) == (None, None)
