"""What a request of Engine.IO is refused with: a sentence and a code, in JSON, as everything else that this server refuses
below its routes. Refusals are counted by their reason; what a client gets wrong is no error of the server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

RETRY_AFTER_S: Final = 5
"""When a client may ask again for which there was no room."""

REASONS: Final = ("handshake", "method", "no_room", "request", "session", "transport", "version")
"""Why a request is refused."""


class Refusal(NamedTuple):
    """reason: one of REASONS; status: of HTTP; sentence: what is wrong, and what to do."""

    reason: str
    status: str
    sentence: str


NO_ROOM: Final = Refusal(
    "no_room",
    "503 Service Unavailable",
    "This server holds as many clients of Socket.IO as it can; requests are answered as usual. Try again in a few seconds.",
)
NO_JSONP: Final = Refusal(
    "transport", "400 Bad Request", "This server does not answer in JSONP, which no client of today asks for."
)
NO_HANDSHAKE: Final = Refusal(
    "handshake", "400 Bad Request", "This is not the handshake of a WebSocket (RFC 6455, 4.1)."
)
NO_KEY: Final = Refusal("handshake", "400 Bad Request", "Sec-WebSocket-Key must be 16 bytes in base64.")
OTHER_VERSION: Final = Refusal(
    "handshake", "426 Upgrade Required", "This server speaks version 13 of the WebSocket protocol."
)
BAD_REQUEST: Final = Refusal(
    "request", "400 Bad Request", "The request holds no packets of Engine.IO, or one poll too many."
)
BAD_METHOD: Final = Refusal("method", "405 Method Not Allowed", "Socket.IO takes GET, POST and OPTIONS.")
OF_ENGINEIO: Final[Mapping[str, Refusal]] = {
    "The client is using": Refusal(
        "version",
        "400 Bad Request",
        "This address takes clients of Socket.IO (protocol 5, over Engine.IO protocol 4: `EIO=4` in the query). "
        "/docs/socket-io shows how to connect.",
    ),
    "Invalid session": Refusal(
        "session",
        "400 Bad Request",
        "The session `sid` is unknown: it has ended, or the server has restarted since. Connect anew, without `sid`.",
    ),
    "Invalid transport": Refusal(
        "transport", "400 Bad Request", "The transport must be `websocket` or `polling`, as the handshake said."
    ),
    "Unexpected HTTP request": Refusal(
        "session",
        "400 Bad Request",
        "This session goes on over its WebSocket, so that it takes no long polling any more.",
    ),
    "Not connected": Refusal("session", "400 Bad Request", "This session is not connected yet."),
}
"""What python-engineio refuses, by how its own message begins."""


def refusal_of(message: str | None) -> Refusal:
    """The refusal for a message of python-engineio, which gives none for packets that it cannot read."""
    found = (refusal for start, refusal in OF_ENGINEIO.items() if (message or "").startswith(start))
    return next(found, BAD_REQUEST)


def response_of(refusal: Refusal) -> dict[str, Any]:
    """The response as python-engineio has them: status, headers and body."""
    code = {"5": "PIPELINE_UNAVAILABLE"}.get(refusal.status[0], "BAD_REQUEST")
    code = "METHOD_NOT_ALLOWED" if refusal is BAD_METHOD else code
    body = json.dumps({"error": refusal.sentence, "error_code": code}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    if refusal is NO_ROOM:
        headers.append(("Retry-After", str(RETRY_AFTER_S)))
    if refusal is BAD_METHOD:
        headers.append(("Allow", "GET, POST, OPTIONS"))
    if refusal is OTHER_VERSION:
        headers += [("Sec-WebSocket-Version", "13"), ("Upgrade", "websocket")]
    return {"status": refusal.status, "headers": headers, "response": body}
