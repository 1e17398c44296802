"""Sending again, by hand: one message to one endpoint, one delivery, all of an event, all that failed."""

import asyncio
from collections.abc import Sequence

from msgspec import Struct, structs

from posthorn import ids
from posthorn.clock import Clock
from posthorn.engine.directory import Directory
from posthorn.engine.journal import DeliveryQuery, DeliveryRow, EventQuery
from posthorn.engine.lanes import lane_shard
from posthorn.engine.ports import Journal, WorkStore
from posthorn.engine.records import DeliveryState, Event, NewDelivery
from posthorn.engine.resources import Application, Endpoint
from posthorn.errors import Conflict, NotFound
from posthorn.manage.history import History
from posthorn.receive.routing import Routing

MOST_AT_ONCE = 10_000
_PAGE = 250


class Requeued(Struct, frozen=True, kw_only=True):
    """How many deliveries were queued again, and whether more are left than one call takes."""

    deliveries: int
    more: bool


class Replay:
    """Queues deliveries by hand. The attempts made so far keep counting; the schedule begins anew."""

    def __init__(self, journal: Journal, store: WorkStore, directory: Directory, clock: Clock) -> None:
        self._journal = journal
        self._history = History(journal)
        self._store = store
        self._directory = directory
        self._routing = Routing(directory)
        self._clock = clock

    def now_ms(self) -> int:
        """Tell the time that a task of this room carries."""
        return self._clock.now_ms()

    async def resend(self, message: Event, endpoint: Endpoint) -> str:
        """Send a message to an endpoint again, or for the first time; return the delivery's id.

        Raises Conflict when its payload was erased or the endpoint is disabled.
        """
        _check_payload(message)
        _check_enabled(endpoint)
        page = await self._journal.deliveries(
            DeliveryQuery(workspace=message.workspace, event=message.id, endpoint=endpoint.id, limit=1)
        )
        delivery = page.rows[0].id if page.rows else ids.new_id(ids.DELIVERY, self._clock.now_ms())
        await self._enqueue(delivery, endpoint.id, message.id)
        return delivery

    async def replay(self, workspace: str, identifier: str) -> list[str]:
        """Queue again what an id stands for, and return the ids of the deliveries.

        A delivery (or one of its attempts) by itself; an event or message with all its deliveries; a request with
        those of its event. Raises NotFound, and Conflict when there is nothing that could be sent.
        """
        prefix = identifier.partition("_")[0]
        match prefix:
            case ids.DELIVERY:
                rows = [await self._history.delivery(workspace, identifier)]
            case ids.ATTEMPT:
                row = await self._history.attempt(workspace, identifier)
                rows = [await self._history.delivery(workspace, row.attempt.delivery)]
            case ids.EVENT | ids.MESSAGE:
                rows = await self._deliveries_of(await self._history.event(workspace, identifier))
            case ids.REQUEST:
                rows = await self._deliveries_of_request(workspace, identifier)
            case _:
                raise NotFound("only a request, event, message, delivery or attempt can be replayed; give its id")
        await self._check_sendable(rows)
        await self._enqueue_all(rows)
        return [row.id for row in rows]

    async def _deliveries_of_request(self, workspace: str, identifier: str) -> list[DeliveryRow]:
        request = await self._history.request(workspace, identifier)
        if request.event is None:
            raise Conflict(
                f"the request was rejected ({request.cause or 'no cause given'}), so that no event came of it: "
                "mend the cause and let the sender send it again"
            )
        return await self._deliveries_of(await self._history.event(workspace, request.event))

    async def _deliveries_of(self, event: Event) -> list[DeliveryRow]:
        rows = await self._history.deliveries_of(event.workspace, event.id)
        if not rows:
            raise Conflict(
                "the event has no deliveries to send again, and queueing it for a new decision is not available: "
                "its automations decided once, see its decisions"
            )
        return rows

    async def recover(self, endpoint: Endpoint, *, since_ms: int, until_ms: int | None) -> Requeued:
        """Queue again the deliveries of an endpoint that failed for good since a time, at most 10,000 in one call.

        Those that went out successfully, and those that still wait, are left alone. Raises Conflict when the
        endpoint is disabled.
        """
        _check_enabled(endpoint)
        query = DeliveryQuery(
            workspace=endpoint.workspace,
            endpoint=endpoint.id,
            state=DeliveryState.EXHAUSTED,
            since_ms=since_ms,
            before_ms=until_ms,
            ascending=True,
            limit=_PAGE,
        )
        queued, done = 0, False
        while not done and queued < MOST_AT_ONCE:
            page = await self._journal.deliveries(query)
            await self._enqueue_all(page.rows)
            queued += len(page.rows)
            done = page.done
            query = structs.replace(query, after=page.rows[-1].id if page.rows else None)
        return Requeued(deliveries=queued, more=not done)

    async def replay_missing(
        self, application: Application, endpoint: Endpoint, *, since_ms: int, until_ms: int | None
    ) -> Requeued:
        """Send an endpoint the messages since a time that it wants and never was owed, at most 10,000 in one call.

        Raises Conflict when the endpoint is disabled.
        """
        _check_enabled(endpoint)
        query = EventQuery(
            workspace=application.workspace,
            application=application.id,
            types=endpoint.event_types or (),
            since_ms=since_ms,
            before_ms=until_ms,
            ascending=True,
            limit=_PAGE,
        )
        queued, done = 0, False
        while not done and queued < MOST_AT_ONCE:
            page = await self._journal.events(query)
            missing = [event for event in page.rows if await self._is_missing(event, endpoint)]
            new = [Routing.one(endpoint.id, event=event.id, now_ms=self._clock.now_ms()) for event in missing]
            await asyncio.gather(*map(self._store.enqueue, new))
            queued += len(missing)
            done = page.done
            query = structs.replace(query, after=page.rows[-1].id if page.rows else None)
        return Requeued(deliveries=queued, more=not done)

    def is_wanted(self, application: Application, event_type: str, channels: Sequence[str]) -> bool:
        """Tell whether any endpoint of an application would receive such a message."""
        return bool(
            self._routing.deliveries(application.id, event_type, channels, event="", now_ms=self._clock.now_ms())
        )

    async def _is_missing(self, event: Event, endpoint: Endpoint) -> bool:
        routed = self._routing.deliveries(
            endpoint.parent, event.type, event.channels, event=event.id, now_ms=self._clock.now_ms()
        )
        if not any(delivery.endpoint == endpoint.id for delivery in routed):
            return False
        page = await self._journal.deliveries(
            DeliveryQuery(workspace=event.workspace, event=event.id, endpoint=endpoint.id, limit=1)
        )
        return not page.rows

    async def cancel(self, workspace: str, delivery: str) -> None:
        """Take a pending delivery off the queue for good; raises NotFound, Conflict when it is not pending."""
        row = await self._history.delivery(workspace, delivery)
        if not await self._store.cancel(row.id, "cancelled by hand"):
            raise Conflict(f"the delivery is {row.state.value}, and only a pending one can be cancelled")

    async def _check_sendable(self, rows: Sequence[DeliveryRow]) -> None:
        for row in rows:
            if not row.endpoint.startswith(f"{ids.ENDPOINT}_"):
                continue  # the lane of an automation, whose rendered request is kept with the delivery
            endpoint = self._directory.endpoint(row.endpoint)
            if endpoint is None:
                raise Conflict(f"the endpoint {row.endpoint} was deleted, so that there is nowhere to send to")
            _check_enabled(endpoint)
        for event in {row.event for row in rows}:
            _check_payload(await self._journal.event(rows[0].workspace, event))

    async def _enqueue_all(self, rows: Sequence[DeliveryRow]) -> None:
        # Together, so that the store commits them in groups.
        await asyncio.gather(*(self._enqueue(row.id, row.endpoint, row.event) for row in rows))

    async def _enqueue(self, delivery: str, endpoint: str, event: str) -> None:
        await self._store.enqueue(
            NewDelivery(
                id=delivery, shard=lane_shard(endpoint), endpoint=endpoint, due_ms=self._clock.now_ms(), event=event
            )
        )


def _check_enabled(endpoint: Endpoint) -> None:
    if endpoint.disabled:
        raise Conflict("the endpoint is disabled; enable it first")


def _check_payload(event: Event | None) -> None:
    # A message's payload is a JSON object, so that an empty one can only be erased. What an inbox captured may have
    # been empty from the start.
    if event is None or event.payload is None or (event.application is not None and not event.payload):
        raise Conflict("the payload was erased, so that there is nothing left to send")
