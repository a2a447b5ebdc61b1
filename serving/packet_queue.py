"""What waits for the next poll of a client, in place of engineio's queue, which has no bounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from queue import Empty
from typing import Final

from engineio.packet import Packet
from gevent.event import Event

SENTINEL_BYTES: Final = 0

ROOM, ROOM_BYTES = 192, 512 << 10
"""Packets and bytes that wait before one gives way to a newer one: between two polls, and during an upgrade, a client takes
nothing. Less than what ends a client (`LinkBounds.outbox`)."""


class PacketQueue:
    """Packets in their order; beyond ROOM, of each key only the newest. One greenlet at a time waits for them.

    size         bytes of what waits
    has_replaced a packet gave way to a newer one of its key since the queue was last emptied
    """

    __slots__ = ("_arrived", "_packets", "has_replaced", "size")

    def __init__(self) -> None:
        self.size = 0
        self.has_replaced = False
        self._packets: deque[tuple[Hashable | None, Packet | None]] = deque()
        self._arrived: Event | None = None

    def __len__(self) -> int:
        return len(self._packets)

    def put(self, packet: Packet | None, key: Hashable | None = None) -> bool:
        """Append a packet; None is engineio's mark of the end. Where there is no room, those of the same key give way. Returns
        whether none did."""
        was = len(self._packets)
        if key is not None and (was >= ROOM or self.size >= ROOM_BYTES):
            self._drop(key)
        is_kept = len(self._packets) == was
        self._packets.append((key, packet))
        self.size += _size_of(packet)
        self.has_replaced |= not is_kept
        if self._arrived is not None:
            self._arrived.set()
        return is_kept

    def _drop(self, key: Hashable) -> None:
        self._packets = deque(one for one in self._packets if one[0] != key)
        self.size = sum(_size_of(packet) for _, packet in self._packets)

    def get(self, block: bool = True, timeout: float | None = None) -> Packet | None:
        """The first packet; raises Empty where none comes in time (seconds)."""
        if not self._packets and block:
            self._wait(timeout)
        if not self._packets:
            raise Empty
        _, packet = self._packets.popleft()
        self.size -= _size_of(packet)
        return packet

    def take(self) -> list[tuple[Hashable | None, Packet | None]]:
        """Everything that waits, each with its key, and forget it."""
        packets = list(self._packets)
        self.clear()
        return packets

    def clear(self) -> None:
        self._packets.clear()
        self.size = 0

    def task_done(self) -> None:
        """engineio counts what it has taken; nobody waits for that here."""

    def join(self) -> None:
        """Never wait for a client that may never poll."""

    def _wait(self, timeout: float | None) -> None:
        self._arrived = Event()
        try:
            self._arrived.wait(timeout)
        finally:
            self._arrived = None


def _size_of(packet: Packet | None) -> int:
    return SENTINEL_BYTES if packet is None else len(packet.encode(b64=True))
