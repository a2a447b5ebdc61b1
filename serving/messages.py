"""A message that is encoded once, whoever gets it."""

from __future__ import annotations

from dataclasses import dataclass

from engineio.packet import MESSAGE, Packet

from serving.websocket_frames import frame_of


@dataclass(frozen=True, slots=True)
class Message:
    """A Socket.IO packet in all the forms in which it is sent.

    text    as Engine.IO sends it: `42["price",{...},"ab12cd34-17"]`
    frame   the WebSocket frame
    packet  for polling clients
    """

    text: str
    frame: bytes
    packet: Packet


def message_of(text: str) -> Message:
    """The message of a text, which begins with Engine.IO's `4` and the type of the Socket.IO packet."""
    return Message(text, frame_of(text), Packet(MESSAGE, text[1:]))
