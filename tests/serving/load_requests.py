"""A load of GET requests in a process of its own: so many a second, over connections that are kept, of clients with addresses
of their own. It asks until it has asked so often, or until SIGTERM, and then writes what came of each request.

The only argument is JSON: `ports` (each request goes to one of them, by chance), `paths`, `rate` (a second), `count` (or null),
`clients`, `out` (a file; a line of JSON for each request, in the order of their ends).
"""

from gevent import monkey

monkey.patch_all()

import http.client  # noqa: E402
import json  # noqa: E402
import random  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections import defaultdict  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from gevent.event import Event  # noqa: E402
from gevent.pool import Pool  # noqa: E402

TIMEOUT_S = 60.0
AT_ONCE = 32
"""So many at most: a server that is slow is asked less often, as people would."""


class Load:
    """What is asked, and what came of it."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._idle: dict[int, list[http.client.HTTPConnection]] = defaultdict(list)
        self._out = open(config["out"], "w")  # noqa: SIM115 it is written until the end of the process
        self._chance = random.Random(1)
        self.stopped = Event()

    def run(self) -> None:
        pool, rate, count = Pool(AT_ONCE), self._config["rate"], self._config["count"]
        began, asked = time.monotonic(), 0
        while asked != count and not self.stopped.is_set():
            pool.spawn(
                self._ask, self._chance.choice(self._config["ports"]), self._chance.choice(self._config["paths"])
            )
            asked += 1
            self.stopped.wait(max(0.0, began + asked / rate - time.monotonic()))
        pool.join()
        self._out.close()

    def _ask(self, port: int, path: str) -> None:
        """One request; like a browser's it is sent once more where a kept connection was closed before an answer came."""
        number = self._chance.randrange(self._config["clients"])
        headers = {"X-Real-IP": f"10.0.{number >> 8}.{number & 255}"}
        began, again = time.time(), False
        told: dict[str, Any] = {"at": began, "port": port, "path": path}
        while True:
            kept = self._idle[port].pop() if self._idle[port] and not again else None
            connection = kept or http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
            try:
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                told |= {"status": answer.status, "by": answer.getheader("X-Served-By"), "body": answer.read().decode()}
            except (OSError, http.client.HTTPException) as exc:
                connection.close()
                if kept is not None and not isinstance(exc, TimeoutError):
                    again = True
                    continue
                told |= {"status": 0, "error": repr(exc)}
            break
        if told["status"] and connection.sock is not None:
            self._idle[port].append(connection)
        told |= {"again": again, "took": time.time() - began}
        self._out.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    load = Load(json.loads(sys.argv[1]))
    gevent.signal_handler(signal.SIGTERM, load.stopped.set)
    load.run()
