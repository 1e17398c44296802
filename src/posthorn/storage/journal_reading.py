"""The journal's reads, the same over every database: an adapter only has to run questions."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from posthorn.engine.journal import (
    AttemptQuery,
    AttemptRow,
    DecisionQuery,
    DeliveryQuery,
    DeliveryRow,
    EventQuery,
    Page,
    RequestQuery,
    Thread,
)
from posthorn.engine.records import CapturedRequest, Decision, Event
from posthorn.storage import journal_deliveries, journal_queries, journal_threads
from posthorn.storage.questions import Questions

Answer = TypeVar("Answer")
Given = ParamSpec("Given")


class JournalReader(ABC):
    """Implements what the Journal port reads, save the tail."""

    @abstractmethod
    async def _answer(
        self, ask: Callable[Given, Questions[Answer]], *args: Given.args, **kwargs: Given.kwargs
    ) -> Answer:
        """Run the questions that `ask` makes on one connection; make them anew when it breaks."""

    async def request(self, workspace: str, identifier: str) -> CapturedRequest | None:
        """One captured request, whole."""
        return await self._answer(journal_queries.one_request, workspace, identifier)

    async def requests(self, query: RequestQuery) -> Page[CapturedRequest]:
        """Captured requests without their bodies."""
        return await self._answer(journal_queries.requests, query)

    async def event(self, workspace: str, identifier: str, *, application: str | None = None) -> Event | None:
        """One event with its payload, by id, or by uid within its application."""
        return await self._answer(journal_queries.one_event, workspace, identifier, application)

    async def events(self, query: EventQuery) -> Page[Event]:
        """Events; payloads only when the query asks for them."""
        return await self._answer(journal_queries.events, query)

    async def delivery(self, workspace: str, identifier: str) -> DeliveryRow | None:
        """One delivery with its present state."""
        return await self._answer(journal_deliveries.one_delivery, workspace, identifier)

    async def deliveries(self, query: DeliveryQuery) -> Page[DeliveryRow]:
        """Deliveries by event, endpoint or state."""
        return await self._answer(journal_deliveries.deliveries, query)

    async def attempt(self, workspace: str, identifier: str) -> AttemptRow | None:
        """One attempt, whole, with its event."""
        return await self._answer(journal_queries.one_attempt, workspace, identifier)

    async def attempts(self, query: AttemptQuery) -> Page[AttemptRow]:
        """Attempts by event, endpoint, delivery, status."""
        return await self._answer(journal_queries.attempts, query)

    async def decisions(self, query: DecisionQuery) -> Page[Decision]:
        """Decisions by event, automation or outcome."""
        return await self._answer(journal_queries.decisions, query)

    async def is_undecided(self, workspace: str, event: str) -> bool:
        """Whether an event waits to be decided."""
        return await self._answer(journal_queries.is_undecided, workspace, event)

    async def thread(self, workspace: str, identifier: str) -> Thread | None:
        """Everything that hangs together with one id."""
        return await self._answer(journal_threads.thread, workspace, identifier)
