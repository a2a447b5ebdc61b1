"""Socket.IO packets as this server reads them: text alone, and nothing that a client has no reason to send."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from socketio.packet import CONNECT, DISCONNECT, EVENT, Packet

RESERVED: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)
"""Names that no event of a client may have (Socket.IO protocol 5)."""

P = TypeVar("P", bound=Packet)


class InvalidPacket(ValueError):
    """A client has sent what is no Socket.IO packet, or one that no client sends to this server."""


class StrictPackets:
    """Before a class of packets: what is wrong with a client's packet raises InvalidPacket, whatever the class raises. Binary
    packets are wrong, and so are acknowledgements, for which the server never asks."""

    packet_type: int
    data: Any

    def decode(self, encoded_packet: object) -> int:
        if not isinstance(encoded_packet, str):
            raise InvalidPacket("it is no text")
        try:
            super().decode(encoded_packet)  # type: ignore[misc]
        except (Exception, RecursionError) as exc:
            raise InvalidPacket(str(exc)) from None
        if self.packet_type not in (CONNECT, DISCONNECT, EVENT):
            raise InvalidPacket("no client sends packets of this type")
        if self.packet_type == EVENT and not _is_event(self.data):
            raise InvalidPacket("it names no event")
        return 0


def _is_event(data: object) -> bool:
    return isinstance(data, list) and bool(data) and isinstance(data[0], str) and data[0] not in RESERVED


def strict(packets: type[P]) -> type[P]:
    """The same class of packets with the checks of StrictPackets."""
    return type(f"Strict{packets.__name__}", (StrictPackets, packets), {})
