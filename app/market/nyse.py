"""The rules of the New York Stock Exchange, from the package `holidays`.

Importing them by their name would bring in the rules of every exchange and country, which takes a twelfth of the time in which
a server starts: their file is loaded alone. Pure: no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

import holidays
from holidays.constants import HALF_DAY, PUBLIC


def _exchange() -> Any:
    (folder,) = holidays.__path__
    spec = spec_from_file_location("holidays_of_nyse", f"{folder}/financial/ny_stock_exchange.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.NewYorkStockExchange


_EXCHANGE = _exchange()


@lru_cache(maxsize=256)
def closures(year: int) -> Mapping[date, str]:
    """The weekdays without a session, with their names."""
    return dict(_EXCHANGE(years=year, categories=PUBLIC))


@lru_cache(maxsize=256)
def half_days(year: int) -> frozenset[date]:
    return frozenset(_EXCHANGE(years=year, categories=HALF_DAY))
