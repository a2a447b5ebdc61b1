"""The headers that keep a browser from being misled about an answer."""

from __future__ import annotations

import pytest

from tests.middleware.servers import ANSWERS, Build, answer_to

pytestmark = pytest.mark.usefixtures("warm_market")


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_forbids_to_guess_its_type_and_to_run_anything(shared: Build, name: str) -> None:
    app = shared(allowed_hosts="localhost")
    app.test_client().get("/swing")
    headers = answer_to(app, name).headers
    assert headers.getlist("X-Content-Type-Options") == ["nosniff"]
    (policy,) = headers.getlist("Content-Security-Policy")
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    assert rules["default-src"] == ["'none'"]
    assert rules["frame-ancestors"] == ["'none'"]
    assert "Strict-Transport-Security" not in headers
    assert "Set-Cookie" not in headers
    assert "Access-Control-Allow-Credentials" not in headers


@pytest.mark.parametrize("name", ANSWERS)
def test_behind_a_proxy_that_speaks_https_every_answer_asks_for_https(shared: Build, name: str) -> None:
    app = shared(allowed_hosts="localhost", trust_proxy=True)
    app.test_client().get("/swing")
    (told,) = answer_to(app, name, HTTP_X_FORWARDED_PROTO="https").headers.getlist("Strict-Transport-Security")
    assert int(told.removeprefix("max-age=").split(";")[0]) >= 31_536_000


@pytest.mark.parametrize(
    ("trusted", "environ"),
    [
        (False, {"HTTP_X_FORWARDED_PROTO": "https"}),
        (True, {"HTTP_X_FORWARDED_PROTO": "http"}),
        (True, {}),
        (None, {"HTTP_X_FORWARDED_PROTO": "https"}),
    ],
)
def test_https_is_asked_for_in_no_other_case(shared: Build, trusted: bool | None, environ: dict[str, str]) -> None:
    answer = shared(trust_proxy=trusted).test_client().get("/livez", environ_overrides=environ)
    assert "Strict-Transport-Security" not in answer.headers
