"""Answering a repeated call with the first answer: Idempotency-Key.

Scope, fingerprint and lifetime are those of the hot paths (`posthorn.receive.idempotency`), so that a key means one
call wherever it is used.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from msgspec import Struct

from posthorn.clock import Clock
from posthorn.engine.ports import Cluster, WorkStore
from posthorn.engine.records import Append, Claim
from posthorn.engine.shards import shard_of
from posthorn.receive.idempotency import KEY_KEPT_MS, key_scope
from posthorn.receive.messages import KeyReused
from posthorn.vault import KeyRing

_MOST_TURNS = 4  # Each costs a connection to a store that nodes share.


class SharedWorkStore(WorkStore, Cluster, Protocol):
    """Where claims are, and the nodes that make them."""


class KeptAnswer(Struct, frozen=True, kw_only=True):
    """What was answered the first time."""

    status: int
    body: bytes


class Idempotency:
    """Finds and keeps answers by key.

    Answers are stored sealed, all of them: some hold a secret (a new API key), and choosing them one by one would
    be one forgotten mark away from a leak.
    """

    def __init__(self, store: SharedWorkStore, clock: Clock, keyring: KeyRing) -> None:
        self._store = store
        self._clock = clock
        self._keyring = keyring
        self._turns: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}
        self._asking = asyncio.Semaphore(_MOST_TURNS)

    @asynccontextmanager
    async def turn(self, workspace: str, key: str) -> AsyncIterator[None]:
        """Let one call with this key through at a time, on all nodes, so that twins do the work once.

        Raises StoreUnavailable.
        """
        place = (workspace, key)
        lock, waiting = self._turns.get(place, (asyncio.Lock(), 0))
        self._turns[place] = (lock, waiting + 1)
        try:
            # Names of turns are kept by the store: there are as many as shards, and two keys may share one.
            async with lock, self._asking, self._store.alone(f"turn-{shard_of(f'{workspace}/{key}')}"):
                yield
        finally:
            lock, waiting = self._turns[place]
            if waiting == 1:
                del self._turns[place]
            else:
                self._turns[place] = (lock, waiting - 1)

    async def find(self, workspace: str, key: str, mark: bytes) -> KeptAnswer | None:
        """Return the first answer to this call; raises KeyReused when the key stood for another call."""
        claim = await self._store.claimed(key_scope(workspace), key, now_ms=self._clock.now_ms())
        if claim is None:
            return None
        if claim.fingerprint != mark:
            raise KeyReused
        body = claim.answer_body
        if body:
            body = self._keyring.open(body.decode("ascii", "replace"), context=_context(workspace, key))
        return KeptAnswer(status=claim.answer_status, body=body)

    async def keep(self, workspace: str, key: str, mark: bytes, answer: KeptAnswer) -> None:
        """Remember the answer to a call that succeeded."""
        sealed = self._keyring.seal(answer.body, context=_context(workspace, key)) if answer.body else ""
        claim = Claim(
            scope=key_scope(workspace),
            key=key,
            fingerprint=mark,
            answer_status=answer.status,
            answer_body=sealed.encode("ascii"),
            event=None,
            expires_ms=self._clock.now_ms() + KEY_KEPT_MS,
        )
        await self._store.append([Append(claims=(claim,))])


def _context(workspace: str, key: str) -> str:
    return f"answer/{workspace}/{key}"
