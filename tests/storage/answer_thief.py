"""A line between a client and PostgreSQL on which an answer gets lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from urllib.parse import urlsplit

HOST = "127.0.0.1"
_READY = b"Z\x00\x00\x00\x05"  # the server is done; one more byte says whether it is in a transaction


class Theft(Enum):
    """What happens to a message of the client."""

    EATEN = "the server never gets it, and the line is cut"
    CUT = "the server does it, and the line is cut before it answers"
    HELD = "the server does it, and its answer never comes"


class AnswerThief:
    """Passes everything on, but for the messages that it was told to look for."""

    def __init__(self, dsn: str) -> None:
        self._server_port = urlsplit(dsn).port
        self._dsn = dsn
        self._wanted: list[tuple[bytes, Theft]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.stolen = 0

    @property
    def dsn(self) -> str:
        """The database's address by way of this line."""
        return self._dsn.replace(f":{self._server_port}/", f":{self.port}/")

    def steal(self, mark: bytes, theft: Theft) -> None:
        """Lose the answer to the next message that contains these bytes. Call again for one more."""
        self._wanted.append((mark, theft))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["AnswerThief"]:
        server = await asyncio.start_server(self._serve, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        yield self
        server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            from_server, to_server = await asyncio.open_connection(HOST, self._server_port)
        except OSError:
            writer.transport.abort()
            return
        answering = asyncio.create_task(_pass_on(from_server, writer))
        try:
            while data := await reader.read(1 << 20):
                theft = self._theft_of(data)
                if theft is None:
                    to_server.write(data)
                    continue
                answering.cancel()
                await asyncio.gather(answering, return_exceptions=True)
                if theft is not Theft.EATEN:
                    to_server.write(data)
                    await from_server.readuntil(_READY)
                if theft is Theft.HELD:
                    await reader.read()
                break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            answering.cancel()
            writer.transport.abort()
            to_server.transport.abort()

    def _theft_of(self, data: bytes) -> Theft | None:
        if not self._wanted or self._wanted[0][0] not in data:
            return None
        self.stolen += 1
        return self._wanted.pop(0)[1]


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
    except OSError:
        pass
    except asyncio.CancelledError:
        return  # its answers are read by somebody else from now on
    writer.close()
