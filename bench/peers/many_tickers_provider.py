"""The simulated provider with TICKERS tickers, on a day of the demo market whose clock stood at START when it was BEGAN:
`python -m bench.peers.many_tickers_provider PORT`."""

from __future__ import annotations

import os
import signal
import sys
from datetime import UTC, datetime

from app.clock import running_clock
from bench.peers.more_tickers import support

clock = running_clock(
    datetime.fromisoformat(os.environ["START"]), 1.0, datetime.fromtimestamp(float(os.environ["BEGAN"]), UTC)
)


def main(port: int) -> None:
    """Answers until SIGTERM."""
    support()
    from app.market.calendar import Calendar
    from app.market.demo import DemoFeed
    from app.market.feed_transport import FeedTransport
    from app.simulator.server import PolygonSimulator

    calendar = Calendar()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    with PolygonSimulator(FeedTransport(DemoFeed(calendar), calendar, clock), port=port, clock=clock):
        signal.sigwait({signal.SIGTERM})


if __name__ == "__main__":
    main(int(sys.argv[1]))
