"""A relay that carries TCP connections over a distance: with a delay each way, and cut off on command."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Final, Self

CHUNK_BYTES: Final = 65_536
MAX_CHUNKS_ON_THE_WAY: Final = 64
"""Of one direction of a connection; a sender waits while there are more."""


class Relay:
    """Relays from a port of its own on loopback to `target`, from enter to exit. one_way_s: how long bytes are on the way."""

    def __init__(self, target: int, one_way_s: float = 0.0) -> None:
        self._target = target
        self._one_way_s = one_way_s
        self._has_begun = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name=f"relay to {target}")

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread.start()
        self._has_begun.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._is_over.set)
        self._thread.join()

    def cut(self) -> None:
        """Let nothing through, as where a cable is cut: connections stay open, new ones are not refused, nothing arrives."""
        self._loop.call_soon_threadsafe(self._is_open.clear)

    def mend(self) -> None:
        """Let through again what is sent, and what was on the way."""
        self._loop.call_soon_threadsafe(self._is_open.set)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._is_open, self._is_over = asyncio.Event(), asyncio.Event()
        self._is_open.set()
        self._connections: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accept, sock=self._listener)
        self._has_begun.set()
        await self._is_over.wait()
        server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._relay(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until both sides have ended it; a reset of one side resets the other."""
        writers = [writer]
        try:
            await self._way(self._loop.time())
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            writers.append(back)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(reader, back))
                both.create_task(self._carry(there, writer))
        except* OSError:
            for one in writers:
                one.transport.abort()
        finally:
            for one in writers:
                one.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one direction to its end."""
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(MAX_CHUNKS_ON_THE_WAY)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._send(reader, on_the_way))
            both.create_task(self._deliver(on_the_way, writer))

    async def _send(self, reader: asyncio.StreamReader, on_the_way: asyncio.Queue[tuple[float, bytes]]) -> None:
        data = b"-"
        while data:
            data = await reader.read(CHUNK_BYTES)
            await on_the_way.put((self._loop.time(), data))

    async def _deliver(self, on_the_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            sent, data = await on_the_way.get()
            await self._way(sent)
            if not data:
                writer.write_eof()
                return
            writer.write(data)
            await writer.drain()

    async def _way(self, sent: float) -> None:
        """Wait until what was sent at a moment has arrived."""
        await asyncio.sleep(sent + self._one_way_s - self._loop.time())
        await self._is_open.wait()
