"""Tests of `/trading_directions`. A failed assertion of the shared checks says what it compared."""

import pytest

pytest.register_assert_rewrite("tests.blueprints.trading_directions.checking")
