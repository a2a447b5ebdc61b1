"""A Redis that is reached over TLS, and one whose certificate does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from app.factory import create_app
from app.redis_database import RedisDatabase
from app.signals.redis_record import RedisRecord
from middleware.sliding_windows import RedisWindows
from tests.redis_faults import PASSWORD
from tests.redis_server import PATIENT_OPTIONS
from tests.redis_tls import TlsRedisServer, make_certificate, skip_without_tls
from tests.signals.test_policy import decision
from tests.support import FakeClock, new_york, settings
from tests.waiting import PATIENCE_S, wait_for

ADVICE = "; `ssl_ca_certs=` in REDIS_URL names the file of the authority that vouches for it"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedisServer]:
    found = skip_without_tls(tmp_path_factory.mktemp("tls"))
    yield found
    found.stop()


def test_a_record_is_kept_limits_are_counted_and_messages_are_heard_over_tls(server: TlsRedisServer) -> None:
    with closing(RedisDatabase(server.url, PATIENCE_S)) as db:
        assert RedisRecord(db, "record").lock(decision(0.6, 0.9)) == decision(0.6, 0.9)
        windows = RedisWindows(db.client, db.timeout_s)
        windows.connect()
        assert windows.hit("client", 2, 60).used == 1
        messages = db.messages("channel")
        assert next(messages) == "", "it listens"
        heard = ThreadPoolExecutor(1).submit(next, messages)
        wait_for(lambda: db.read("PUBLISH", "channel", "grew") == 1)
        assert heard.result(PATIENCE_S) == "grew"
        messages.close()


@pytest.mark.parametrize("misfit", ["self-signed certificate", "Hostname mismatch"])
def test_a_certificate_that_does_not_fit_is_one_sentence_in_log_and_health(
    server: TlsRedisServer, misfit: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = make_certificate(tmp_path, "another")[0] if misfit == "self-signed certificate" else server.certificate
    url = server.url_with(ssl_ca_certs=str(authority), **PATIENT_OPTIONS)
    if misfit == "Hostname mismatch":
        url = url.replace("127.0.0.1", "localhost")
    demo = settings(market="demo", data_dir=tmp_path, redis_url=url)
    app = create_app(demo, clock=FakeClock(new_york("2025-03-11 11:40:07")))
    client = app.test_client()
    sentence = f"the certificate of Redis does not fit: {misfit}{ADVICE}"
    health = client.get("/health")
    assert health.get_json()["operations"]["store"]["message"] == sentence
    assert f"store_degraded error=redis: {sentence}" in caplog.text
    assert client.get("/trading_directions").status_code == 200
    assert PASSWORD not in f"{health.text}{caplog.text}"
