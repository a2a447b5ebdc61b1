"""Prints the signals of SPY and QQQ as they change, of the server that is named. live.py has what every client needs."""

import sys

from live import follow


def show(event, freshness):
    trust, status = f"({freshness}, price as of {event['as_of'] or 'no moment'})", event.get("status")
    if "signal" in event:
        print(event["ticker"], event["signal"]["action"], trust, event["signal"]["reason"], flush=True)
    elif status:
        print(event["ticker"], "the market is", "open" if status["market_open"] else "closed", trust, flush=True)


follow((sys.argv[1:] or ["http://127.0.0.1:8000"])[0], ["SPY", "QQQ"], show, lambda text: print(text, file=sys.stderr))
