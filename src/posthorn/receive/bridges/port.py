"""What a bridge needs of a broker's client, and what it gets from one."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, ClassVar, Protocol

from msgspec import Struct

from posthorn.errors import PosthornError

WAIT_SECONDS = 1.0
"""How long `receive` waits for a first message: the longest that a quiet bridge takes to stop."""
ANSWER_SECONDS = 10.0
"""How long a broker may take to connect or to answer a command."""


class BrokerUnavailable(PosthornError):
    """The broker cannot be used now; the message says why, and holds no credentials. A bridge tries again later."""

    code = "broker_unavailable"


class Unreadable(Struct, frozen=True, kw_only=True):
    """Why nothing can be made of a message: a stable code and a sentence."""

    cause: str
    detail: str


class BrokerMessage(Struct, frozen=True, kw_only=True):
    """A message as a broker handed it over. Header names are lower case."""

    place: str  #: where it lies: topic/partition/offset, stream/entry, queue
    subject: str  #: topic, routing key, subject or stream
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    key: str | None  #: what every redelivery of it has in common; None when the broker gives no such thing
    occurred_ms: int | None
    receipt: Any  #: what its client acknowledges it by
    unreadable: Unreadable | None = None


async def finished_before(ended: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Do some work, and give it up once `ended` is set: False then. Raises what the work raises."""
    working = asyncio.ensure_future(work)
    ending = asyncio.ensure_future(ended.wait())
    try:
        await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            return False
        await working
        return True
    finally:
        working.cancel()
        ending.cancel()
        await asyncio.gather(working, ending, return_exceptions=True)


class BrokerClient(Protocol):
    """One consumer of one broker. All calls raise BrokerUnavailable, after which it is only good for `close`."""

    protocol: ClassVar[str]  #: stands in the journal where a request has its method

    async def open(self) -> None:
        """Connect, and join whatever shares the messages among the nodes."""
        ...

    async def receive(self, most: int) -> list[BrokerMessage]:
        """Return what is there, up to `most`; wait WAIT_SECONDS for a first message, then return none."""
        ...

    async def acknowledge(self, messages: Sequence[BrokerMessage]) -> None:
        """Tell the broker that these, which are all of the last `receive`, are ours for good."""
        ...

    async def close(self) -> None:
        """Leave. What was received and not acknowledged is given to somebody again. Never raises; idempotent."""
        ...
