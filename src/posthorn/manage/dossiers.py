"""Everything that is kept of one person, page by page, so that a long history needs no memory."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from posthorn.engine.journal import AttemptQuery, DecisionQuery, DeliveryQuery, DeliveryRow, EventQuery
from posthorn.engine.people import Profile
from posthorn.engine.ports import Journal
from posthorn.engine.ports import People as PeopleStore
from posthorn.engine.profiles import user_profile
from posthorn.engine.records import Attempt, CapturedRequest, Decision, Event, EventCount
from posthorn.engine.runs import Run, RunQuery, entering_event
from posthorn.manage.walking import walked

_PAGE = 100


class Kept(PeopleStore, Journal, Protocol):
    """Where it is kept."""


class Dossier:
    """The history of a person under all of their user ids, the oldest first. Each part may be read once or often."""

    def __init__(
        self,
        store: Kept,
        *,
        workspace: str,
        users: Sequence[str],
        profile: Profile | None,
        counts: Sequence[EventCount],
    ) -> None:
        self._store = store
        self._workspace = workspace
        self._users = users
        self.profile = profile
        self.counts = counts

    async def has_events(self) -> bool:
        """Tell whether there is any event."""
        async for _ in self._events(with_payload=False):
            return True
        return False

    def events(self) -> AsyncIterator[Event]:
        """Go through the events, with their payloads."""
        return self._events(with_payload=True)

    async def _events(self, *, with_payload: bool) -> AsyncIterator[Event]:
        for user in self._users:
            query = EventQuery(
                workspace=self._workspace, user=user, ascending=True, limit=_PAGE, with_payload=with_payload
            )
            async for event in walked(self._store.events, query, lambda row: row.id):
                yield event

    async def requests(self) -> AsyncIterator[CapturedRequest]:
        """Go through the captured requests that the events came in, each with its repeats."""
        async for event in self._events(with_payload=False):
            thread = await self._store.thread(self._workspace, event.id) if event.request is not None else None
            for request in thread.requests if thread is not None else ():
                yield request

    async def decisions(self) -> AsyncIterator[Decision]:
        """Go through the decisions about the person."""
        for user in self._users:
            query = DecisionQuery(
                workspace=self._workspace, profile=user_profile(self._workspace, user), ascending=True, limit=_PAGE
            )
            async for decision in walked(self._store.decisions, query, lambda row: row.id):
                yield decision

    async def deliveries(self) -> AsyncIterator[DeliveryRow]:
        """Go through the deliveries that came of the events, those that are gone among them."""
        async for event in self._all_events():
            query = DeliveryQuery(workspace=self._workspace, event=event, ascending=True, limit=_PAGE)
            async for delivery in walked(self._store.deliveries, query, lambda row: row.id):
                yield delivery

    async def attempts(self) -> AsyncIterator[Attempt]:
        """Go through the attempts of these deliveries, with what was answered."""
        async for event in self._all_events():
            query = AttemptQuery(workspace=self._workspace, event=event, ascending=True, limit=_PAGE)
            async for row in walked(self._store.attempts, query, lambda row: row.attempt.id):
                yield row.attempt

    async def _all_events(self) -> AsyncIterator[str]:
        """Go through the ids of the events: those that are kept, then the others that let the person in."""
        async for event in self._events(with_payload=False):
            yield event.id
        gone: set[str] = set()
        async for entering in self._entering():
            if entering not in gone and await self._store.event(self._workspace, entering) is None:
                gone.add(entering)
                yield entering

    async def _entering(self) -> AsyncIterator[str]:
        """Go through the events that decisions and runs tell of."""
        async for decision in self.decisions():
            yield decision.event
        async for run in self.runs():
            event = entering_event(run.document)
            if event is not None:
                yield event

    async def runs(self) -> AsyncIterator[Run]:
        """Go through the runs, the newest first."""
        for user in self._users:
            after: str | None = None
            more = True
            while more:
                page = await self._store.runs(
                    RunQuery(
                        workspace=self._workspace,
                        profile=user_profile(self._workspace, user),
                        after=after,
                        limit=_PAGE,
                    )
                )
                for run in page.runs:
                    yield run
                more = page.more and bool(page.runs)
                after = page.runs[-1].id if page.runs else None
