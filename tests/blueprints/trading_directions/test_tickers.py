"""`/trading_directions` for one ticker, several, and unknown ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.blueprints.trading_directions.checking import MIRROR, Serve, ask
from tests.support import models_saying


def test_one_ticker_is_mirrored_at_top_level(serve: Serve, tmp_path: Path) -> None:
    body = ask(serve(models_dir=models_saying(tmp_path / "m", 0.9)), "?ticker=spy")
    assert list(body["tickers"]) == ["SPY"]
    assert body["ticker"] == "SPY"
    for name in set(MIRROR) - {"ticker"}:
        assert body[name] == body["tickers"]["SPY"][name]


@pytest.mark.parametrize(
    "query", ["", "?ticker=", "?ticker=all", "?ticker=ALL", "?tickers=", "?tickers=all", "?tickers=,,"]
)
def test_no_ticker_means_all(serve: Serve, query: str) -> None:
    assert list(ask(serve(), query)["tickers"]) == ["SPY", "QQQ", "IWM"]


def test_a_list_is_trimmed_upper_cased_and_deduplicated_in_order(serve: Serve) -> None:
    assert list(ask(serve(), "?tickers=%20iwm,,SPY,IWM%20")["tickers"]) == ["IWM", "SPY"]


def test_an_unknown_symbol_in_a_list_leaves_the_others_alone(serve: Serve) -> None:
    body = ask(serve(), "?tickers=UVXY,SPY")
    assert body["tickers"]["UVXY"] == {"error": "UVXY is not supported.", "error_code": "UNSUPPORTED_TICKER"}
    assert body["tickers"]["SPY"]["locked"]


@pytest.mark.parametrize(
    "query", ["?ticker=UVXY", "?ticker=SPY,QQQ", "?ticker=%00", "?ticker=%F0%9F%9A%80", "?ticker=" + "A" * 3000]
)
def test_an_unknown_single_ticker_is_a_bad_request(serve: Serve, query: str) -> None:
    body = ask(serve(), query, status=400)
    assert (body["error_code"], body["supported_tickers"]) == ("UNSUPPORTED_TICKER", ["SPY", "QQQ", "IWM"])
    assert len(body["error"]) < 80


def test_a_list_out_of_bounds_is_a_bad_request(serve: Serve) -> None:
    query = "?tickers=" + ",".join(f"T{n}" for n in range(51))
    assert ask(serve(), query, status=400)["error_code"] == "UNSUPPORTED_TICKER"


def test_an_option_symbol_or_worse_in_a_list_leaves_the_others_alone(serve: Serve) -> None:
    tickers = ask(serve(), "?tickers=O:SPY251219C00650000,SPY," + "A" * 500)["tickers"]
    assert tickers["SPY"]["locked"]
    assert tickers["O:SPY251219C00650000"]["error_code"] == "UNSUPPORTED_TICKER"
    assert all(len(symbol) <= 32 for symbol in tickers)


@pytest.mark.parametrize(
    "query", ["?foo=bar", "?ticker=SPY&ticker=ZZZ", "?tickers=%FF%FE", "?%00=%00", "?tickers[]=SPY"]
)
def test_garbage_parameters_do_no_harm(serve: Serve, query: str) -> None:
    assert serve().test_client().get(f"/trading_directions{query}").status_code == 200
