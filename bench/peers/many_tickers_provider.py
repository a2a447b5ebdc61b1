"""The simulated provider with TICKERS tickers, on a day of the demo market whose clock stood at START when it was BEGAN:
`python -m bench.peers.many_tickers_provider PORT`."""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, date, datetime

from app.clock import running_clock
from bench.peers.more_tickers import REAL, support

clock = running_clock(
    datetime.fromisoformat(os.environ["START"]), 1.0, datetime.fromtimestamp(float(os.environ["BEGAN"]), UTC)
)


def main(port: int) -> None:
    """Answers until SIGTERM."""
    support()
    from app.market.bars import Bars, Span
    from app.market.calendar import Calendar
    from app.market.demo import DemoFeed
    from app.market.feed_transport import FeedTransport
    from app.simulator.server import PolygonSimulator

    class Alike(DemoFeed):
        """Prices of synthetic tickers are those of SPY: what is measured is not how prices are made."""

        def bars(self, ticker: str, span: Span, first_ms: int, end_ms: int) -> Bars:
            return super().bars(ticker if ticker in REAL else "SPY", span, first_ms, end_ms)

        def official_open(self, ticker: str, day: date) -> float | None:
            return super().official_open(ticker if ticker in REAL else "SPY", day)

    calendar = Calendar()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with PolygonSimulator(FeedTransport(Alike(calendar), calendar, clock), port=port, clock=clock):
        signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main(int(sys.argv[1]))
