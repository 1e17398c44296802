"""The store's past for rehearsals, which run in a thread and wait there for what the store answers on its loop."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from posthorn.engine.journal import DecisionQuery
from posthorn.engine.people import ProfilePage, ProfileQuery
from posthorn.engine.ports import Journal, People
from posthorn.engine.profiles import workspace_of
from posthorn.engine.records import DecisionOutcome, Recall, Recalled

V = TypeVar("V")


class KnownPast(Journal, People, Protocol):
    """What happened, and to whom."""

    async def recall(self, wanted: Recall) -> Recalled:
        """Return what is remembered."""
        ...


class StoredPast:
    """Asks a store from outside of its loop. Only reads."""

    def __init__(self, store: KnownPast, loop: asyncio.AbstractEventLoop) -> None:
        self._store = store
        self._loop = loop

    def recall(self, wanted: Recall) -> Recalled:
        """Return what is remembered."""
        return self._answer(self._store.recall(wanted))

    def page(self, query: ProfileQuery) -> ProfilePage:
        """Return a page of profiles."""
        return self._answer(self._store.profiles(query))

    def fired_ms(self, automation: str, profile: str, *, before_ms: int) -> int | None:
        """Return when an automation fired last for a profile before an instant, as far as the journal goes back."""
        query = DecisionQuery(
            workspace=workspace_of(profile),
            automation=automation,
            profile=profile,
            outcome=DecisionOutcome.FIRED,
            before_ms=before_ms,
            limit=1,
        )
        page = self._answer(self._store.decisions(query))
        return page.rows[0].decided_ms if page.rows else None

    def _answer(self, asked: Coroutine[Any, Any, V]) -> V:
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result()
