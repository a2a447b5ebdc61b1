"""What a socket says of its peer, and how it is ended at once."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

RESET: Final = struct.pack("ii", 1, 0)


def unsent_by(sock: Any) -> int:
    """Bytes that the peer of a socket has not taken (SIOCOUTQ of Linux); 0 where the system does not say, or it is closed."""
    try:
        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0])
    except (OSError, ValueError):
        return 0


def send_now(sock: Any) -> Callable[[bytes | memoryview], int]:
    """The `send` of the socket below one of gevent's. It never waits: it raises BlockingIOError
    where nothing can be sent now."""
    below: Callable[[bytes | memoryview], int] = sock._sock.send
    return below


def reset(sock: Any) -> None:
    """End a connection now, and discard what its peer has not taken."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.shutdown(socket.SHUT_RDWR)


def bound_send_buffer(sock: Any, size: int) -> None:
    """Let the kernel keep so many bytes for a peer that does not read; Linux doubles it."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
