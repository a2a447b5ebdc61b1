"""What the run hands to its peers: the body to send, how many headers, and the Redis."""

from __future__ import annotations

import os
from pathlib import Path

PATH = "/trading-directions"
BODY = Path(os.environ["PEER_BODY"]).read_bytes()
HEADERS = int(os.environ.get("PEER_HEADERS", "2"))
"""Headers that the bare WSGI callable sends, beyond gunicorn's own three."""
REDIS_URL = os.environ.get("REDIS_URL", "")
LIMITS = ["100000000 per minute", "1000000000 per hour"]
"""Two limits, as is usual, that no load reaches."""
