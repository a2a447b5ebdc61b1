"""What a client of the live events does beside showing them. It comes back after a lost connection and after a refusal, tells
replayed events from live ones, and notices silence. It needs `python-socketio[client]`."""

import queue
import time
from datetime import datetime
from functools import partial

import engineio
import socketio

TRANSPORTS = ["websocket"]  # a server that may have several processes refuses long polling
KINDS = ("snapshot", "signal", "price", "status")


class OrderedEngine(engineio.Client):
    """Handles each message where it is read. The library begins a thread for each, and an older one may come out last."""

    def start_background_task(self, target, *args, **kwargs):
        if target == self.handlers.get("message"):
            return target(*args, **kwargs)
        return super().start_background_task(target, *args, **kwargs)


class OrderedClient(socketio.Client):
    """A client whose handlers are called one after another, in the order of the events; they must not wait."""

    def _engineio_client_class(self):
        return OrderedEngine


def follow(url, tickers, show, say):
    """Follow tickers without an end.

    show(event, freshness)  for each event of a ticker; freshness is "replayed" where the event happened before this connection,
                            and otherwise what the event says
    say(text)               for what happens to the connection
    """
    after, arrived, client = {}, queue.Queue(), OrderedClient()
    connected_at, quiet_s = None, 30.0  # market time; for how long the server may say nothing, in real time
    retry_ms = [None]
    client.on("*", lambda *event: arrived.put(event))
    client.on("disconnect", lambda reason: arrived.put(("disconnect", reason)))

    @client.on("connect_error")
    def refused(error):
        refusal = error.get("data") if isinstance(error, dict) else None
        retry_ms[0] = refusal and refusal["retry_after_ms"]
        say(refusal["detail"] if refusal else "The server does not answer, or refuses the connection")

    while not client.connected:
        try:
            auth = partial(dict, subscribe=tickers, after=after)  # of the moment at which it connects
            client.connect(url, auth=auth, transports=TRANSPORTS, retry=True)
        except socketio.exceptions.ConnectionError:
            if retry_ms[0] is None:  # the same would be refused again
                raise
            time.sleep(retry_ms[0] / 1000)

    while True:
        try:
            name, event, *_ = arrived.get(timeout=quiet_s)
        except queue.Empty:
            say("Nothing comes any more: what was shown last says nothing about now")
            continue
        if name in KINDS:
            after[event["ticker"]] = event["id"]
            is_replayed = name != "snapshot" and datetime.fromisoformat(event["generated_at"]) < connected_at
            show(event, "replayed" if is_replayed else event["freshness"])
        elif name == "hello":
            connected_at = datetime.fromisoformat(event["market_time"])
            say("Connected")
        elif name == "heartbeat":  # two moments of the server's clock: only their difference counts here
            promised = datetime.fromisoformat(event["next_by"]) - datetime.fromisoformat(event["server_time"])
            quiet_s = promised.total_seconds()
        elif name == "error":
            say(f"{event['ticker']}: {event['detail']}" if event["ticker"] else event["detail"])
        elif name == "bye":
            say(f"The server ends the connection ({event['reason']}). {event['detail']}")
        elif name == "disconnect":
            say(f"Not connected ({event}): what was shown last says nothing about now")
