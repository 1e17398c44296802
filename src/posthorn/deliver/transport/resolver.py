"""Host names to addresses: the port, and the system's resolver behind threads and a short cache."""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from posthorn.clock import Clock, SystemClock

_TEMPORARY = frozenset({socket.EAI_AGAIN, socket.EAI_SYSTEM, socket.EAI_MEMORY})


@dataclass(frozen=True, slots=True, kw_only=True)
class NotResolved:
    """The name has no addresses; `is_temporary` says that asking again later may help."""

    is_temporary: bool


LookUp = Callable[[str, int], tuple[str, ...] | NotResolved]


class Resolver(Protocol):
    """Looks host names up."""

    async def resolve(self, host: str, port: int) -> tuple[str, ...] | NotResolved:
        """Return every address of the host, in the order in which they should be tried."""
        ...

    async def close(self) -> None:
        """Stop looking up. Idempotent."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolverOptions:
    """How the system resolver is used."""

    threads: int = 16
    found_for_seconds: float = 10.0
    not_found_for_seconds: float = 1.0
    max_cached_hosts: int = 10_000


@dataclass(frozen=True, slots=True)
class _Answer:
    addresses: tuple[str, ...] | NotResolved
    good_until: float


class SystemResolver:
    """Asks `getaddrinfo` on its own threads, so that a slow name server delays only the names it serves.

    Callers that ask for one host at the same time share one look-up, which goes on when a caller gives up.
    `look_up` blocks and runs on those threads.
    """

    def __init__(
        self,
        *,
        options: ResolverOptions | None = None,
        clock: Clock | None = None,
        look_up: LookUp | None = None,
    ) -> None:
        self._options = options or ResolverOptions()
        self._clock = clock or SystemClock()
        self._look_up = look_up or system_look_up
        self._threads = ThreadPoolExecutor(self._options.threads, thread_name_prefix="posthorn-dns")
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._under_way: dict[str, asyncio.Future[tuple[str, ...] | NotResolved]] = {}
        self._is_closed = False

    async def resolve(self, host: str, port: int) -> tuple[str, ...] | NotResolved:
        """Return every address of the host, from the cache, a look-up under way, or a new one."""
        answer = self._answers.get(host)
        if answer is not None and self._clock.monotonic() < answer.good_until:
            return answer.addresses
        if self._is_closed:
            return NotResolved(is_temporary=True)
        look_up = self._under_way.get(host) or self._start(host, port)
        try:
            return await asyncio.shield(look_up)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is not None and caller.cancelling():
                raise
            # Nobody cancelled the caller: `close` dropped the look-up.
            return NotResolved(is_temporary=True)

    async def close(self) -> None:
        """Drop look-ups under way; a thread that waits for a name server ends by itself."""
        self._is_closed = True
        for look_up in tuple(self._under_way.values()):
            look_up.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self, host: str, port: int) -> asyncio.Future[tuple[str, ...] | NotResolved]:
        look_up = asyncio.get_running_loop().run_in_executor(self._threads, self._look_up, host, port)
        self._under_way[host] = look_up
        look_up.add_done_callback(lambda done: self._on_answer(host, done))
        return look_up

    def _on_answer(self, host: str, look_up: asyncio.Future[tuple[str, ...] | NotResolved]) -> None:
        del self._under_way[host]
        if not look_up.cancelled() and look_up.exception() is None:
            self._remember(host, look_up.result())

    def _remember(self, host: str, addresses: tuple[str, ...] | NotResolved) -> None:
        found = not isinstance(addresses, NotResolved)
        good_for = self._options.found_for_seconds if found else self._options.not_found_for_seconds
        self._answers[host] = _Answer(addresses, self._clock.monotonic() + good_for)
        self._answers.move_to_end(host)
        while len(self._answers) > self._options.max_cached_hosts:
            self._answers.popitem(last=False)


def system_look_up(host: str, port: int) -> tuple[str, ...] | NotResolved:
    """Ask the operating system, blocking."""
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return NotResolved(is_temporary=error.errno in _TEMPORARY)
    except (OSError, UnicodeError):
        return NotResolved(is_temporary=True)
    # A dict keeps the system's order of preference (RFC 6724) and drops repeats.
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in entries)) or NotResolved(is_temporary=False)
