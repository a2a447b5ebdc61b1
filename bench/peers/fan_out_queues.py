"""(g) A stream of JSON lines as it is usually written with Flask: a generator that waits at a queue of its client's own."""

from __future__ import annotations

import json
from collections.abc import Iterator

from flask import Flask, Response
from gevent.queue import Queue

from bench.events import event
from bench.peers.trigger import on_trigger

app = Flask(__name__)
queues: set[Queue[dict[str, object]]] = set()


@app.get("/stream")
def stream() -> Response:
    """Events, as they come."""
    mine: Queue[dict[str, object]] = Queue()
    queues.add(mine)

    def lines() -> Iterator[bytes]:
        try:
            yield b"{}\n"
            while True:
                yield json.dumps(mine.get(), separators=(",", ":")).encode() + b"\n"
        finally:
            queues.discard(mine)

    return Response(lines(), mimetype="application/jsonl")


def publish(number: int) -> None:
    """One event into the queue of every client."""
    told = event(number)
    for each in list(queues):
        each.put(told)


on_trigger(publish)
