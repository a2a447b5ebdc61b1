"""Fetches the signal of SPY from the server whose address is the first argument, through a client that is generated from the
document."""

import sys

from generated import Client
from generated.api.signals import trading_direction
from generated.models import Signal, TradingDirectionTicker

with Client(base_url=sys.argv[1], raise_on_unexpected_status=True) as client:
    signal = trading_direction.sync(TradingDirectionTicker.SPY, client=client)
assert isinstance(signal, Signal), signal
action: str = signal.action.value
when: str = signal.generated_at.isoformat()
print(signal.ticker, action, when)
