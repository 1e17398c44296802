"""Looking at what happened. Everything is seen from one workspace; what belongs to another is not there."""

from typing import TypeVar

from msgspec import Struct

from posthorn.engine.journal import (
    AttemptQuery,
    AttemptRow,
    DecisionQuery,
    DeliveryQuery,
    DeliveryRow,
    EventQuery,
    Page,
    RequestQuery,
    TailPage,
    Thread,
)
from posthorn.engine.ports import Journal
from posthorn.engine.records import CapturedRequest, Decision, Event
from posthorn.engine.resources import Application
from posthorn.errors import NotFound

T = TypeVar("T")

_TAIL_ROWS = 500


class Owed(Struct, frozen=True, kw_only=True):
    """A delivery with its event; the event is None when retention took it."""

    delivery: DeliveryRow
    event: Event | None


class History:
    """Reads the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def request(self, workspace: str, identifier: str) -> CapturedRequest:
        """One captured request, whole; raises NotFound."""
        return _found(await self._journal.request(workspace, identifier), "request")

    async def requests(self, query: RequestQuery) -> Page[CapturedRequest]:
        """List captured requests, without their bodies."""
        return await self._journal.requests(query)

    async def event(self, workspace: str, identifier: str) -> Event:
        """One event with its payload, by id; raises NotFound."""
        return _found(await self._journal.event(workspace, identifier), "event")

    async def events(self, query: EventQuery) -> Page[Event]:
        """Events; payloads only when the query asks for them."""
        return await self._journal.events(query)

    async def message(self, application: Application, identifier: str) -> Event:
        """One message of an application with its payload, by id or the caller's own id; raises NotFound."""
        event = await self._journal.event(application.workspace, identifier, application=application.id)
        return _found(event, "message")

    async def delivery(self, workspace: str, identifier: str) -> DeliveryRow:
        """One delivery as it stands; raises NotFound."""
        return _found(await self._journal.delivery(workspace, identifier), "delivery")

    async def deliveries(self, query: DeliveryQuery) -> Page[DeliveryRow]:
        """Deliveries by event, endpoint or state."""
        return await self._journal.deliveries(query)

    async def deliveries_of(self, workspace: str, event: str) -> list[DeliveryRow]:
        """Return all deliveries of an event."""
        rows: list[DeliveryRow] = []
        done = False
        while not done:
            page = await self._journal.deliveries(
                DeliveryQuery(
                    workspace=workspace,
                    event=event,
                    ascending=True,
                    limit=250,
                    after=rows[-1].id if rows else None,
                )
            )
            rows += page.rows
            done = page.done
        return rows

    async def owed(self, query: DeliveryQuery) -> Page[Owed]:
        """Deliveries, each with its event."""
        page = await self._journal.deliveries(query)
        rows = [Owed(delivery=row, event=await self._journal.event(row.workspace, row.event)) for row in page.rows]
        return Page(rows=rows, done=page.done)

    async def attempt(self, workspace: str, identifier: str) -> AttemptRow:
        """One attempt, whole; raises NotFound."""
        return _found(await self._journal.attempt(workspace, identifier), "attempt")

    async def message_attempt(self, application: Application, message: Event, identifier: str) -> AttemptRow:
        """One attempt of one message; raises NotFound."""
        row = await self.attempt(application.workspace, identifier)
        return _found(row if row.attempt.event == message.id else None, "attempt")

    async def attempts(self, query: AttemptQuery) -> Page[AttemptRow]:
        """List attempts by event, endpoint, delivery, status."""
        return await self._journal.attempts(query)

    async def decisions(self, query: DecisionQuery) -> Page[Decision]:
        """Decisions by event, automation, profile, outcome."""
        return await self._journal.decisions(query)

    async def thread(self, workspace: str, identifier: str) -> Thread:
        """Everything that hangs together with one id; raises NotFound."""
        return _found(await self._journal.thread(workspace, identifier), "request, event, delivery or attempt")

    async def tail(self, workspace: str, after: int | None) -> TailPage:
        """Return what became durable after a cursor; None starts now."""
        return await self._journal.tail(workspace, after=after, limit=_TAIL_ROWS)

    async def forget_payload(self, application: Application, identifier: str) -> None:
        """Erase a message's payload, keeping the record of it; raises NotFound."""
        event = await self.message(application, identifier)
        await self._journal.forget_payload(application.workspace, event.id)

    async def forget_response(self, application: Application, message: str, attempt: str) -> None:
        """Erase an attempt's response body, keeping the record of it; raises NotFound."""
        event = await self.message(application, message)
        row = await self.message_attempt(application, event, attempt)
        await self._journal.forget_response(application.workspace, row.attempt.id)


def _found(value: T | None, what: str) -> T:
    if value is None:
        raise NotFound(f"there is no {what} with this id")
    return value
