"""The store in memory: everything that happened, for reading."""

from msgspec.structs import replace

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
from posthorn.engine.lanes import owner_of
from posthorn.engine.records import Attempt, CapturedRequest, Decision, DeliveryState, Event
from posthorn.engine.resources import Kind
from posthorn.testing.memory_pages import cut_by_id, cut_by_number, in_workspace
from posthorn.testing.memory_tables import JournalRow, Numbered, StoredDelivery, TableReader


class MemoryJournal(TableReader):
    """Lists are in the order of commits, deliveries in that of ids; newest first unless asked otherwise.

    `after` may be any id: one that is not a row of the list stands at the instant in it, and text that is no
    id raises Invalid at ("query", "iterator"). Backwards without `after` gives the last page of the order.
    """

    async def request(self, workspace: str, identifier: str) -> CapturedRequest | None:
        """One captured request, whole."""
        return in_workspace(workspace, self._tables.requests.get(identifier))

    async def requests(self, query: RequestQuery) -> Page[CapturedRequest]:
        """List captured requests, their bodies left empty."""

        def wanted(row: CapturedRequest) -> bool:
            return _same(query.source, row.source) and _same(query.outcome, row.outcome)

        page = cut_by_number(self._tables.requests, query, lambda row: row.received_ms, wanted)
        return Page(rows=[replace(row, body=b"") for row in page.rows], done=page.done)

    async def event(self, workspace: str, identifier: str, *, application: str | None = None) -> Event | None:
        """One event with its payload, empty when that was forgotten.

        By id, of this application when one is named; else by uid, where no application means events of none.
        The newest counts when a uid came back after its claim had run out.
        """
        found = in_workspace(workspace, self._tables.events.get(identifier))
        if found is not None:
            return self._tables.with_payload(found) if _same(application, found.application) else None
        place = (workspace, application, identifier)
        newest_first = reversed(self._tables.events.values())
        named = (one.row for one in newest_first if (one.row.workspace, one.row.application, one.row.uid) == place)
        return next((self._tables.with_payload(event) for event in named), None)

    async def events(self, query: EventQuery) -> Page[Event]:
        """Events; payload and context are None unless the query asks for the payload."""

        def wanted(row: Event) -> bool:
            return (
                (not query.types or row.type in query.types)
                and _same(query.application, row.application)
                and _same(query.source, row.source)
                and _same(query.user, row.user)
                and (query.channel is None or query.channel in row.channels)
            )

        page = cut_by_number(self._tables.events, query, lambda row: row.received_ms, wanted)
        return Page(rows=[self._shown(row, with_payload=query.with_payload) for row in page.rows], done=page.done)

    def _shown(self, event: Event, *, with_payload: bool) -> Event:
        return self._tables.with_payload(event) if with_payload else _bare(event)

    async def delivery(self, workspace: str, identifier: str) -> DeliveryRow | None:
        """One delivery with its present state."""
        row = self._tables.deliveries.get(identifier)
        return row.as_row() if row is not None and row.workspace == workspace and self._is_known(row) else None

    def _is_known(self, row: StoredDelivery) -> bool:
        """Tell whether anything says in which workspace a delivery is: event, attempt, or the automation itself."""
        automations = self._tables.resources[Kind.AUTOMATION]
        return row.has_ended or row.event in self._tables.events or owner_of(row.endpoint) in automations

    async def deliveries(self, query: DeliveryQuery) -> Page[DeliveryRow]:
        """Deliveries in the order of their ids; their time is the one in the id.

        One whose event is gone is found by its automation, while that is there.
        """
        rows = [
            row.as_row()
            for row in self._tables.deliveries.values()
            if row.workspace == query.workspace
            and self._is_known(row)
            and _same(query.event, row.event)
            and _same(query.endpoint, row.endpoint)
            and _same(query.state, row.state)
        ]
        return cut_by_id(rows, query)

    async def attempt(self, workspace: str, identifier: str) -> AttemptRow | None:
        """One attempt, whole, with its event and payload; `event` None when retention took it."""
        attempt = in_workspace(workspace, self._tables.attempts.get(identifier))
        return self._attempt_row(attempt, AttemptQuery(workspace=workspace, with_event=True)) if attempt else None

    async def attempts(self, query: AttemptQuery) -> Page[AttemptRow]:
        """List attempts. Without content both the response body and the event's payload are None.

        Succeeded means that the delivery was delivered by it. An attempt whose event is gone has no type and
        no channel.
        """

        def wanted(row: Attempt) -> bool:
            return (
                _same(query.event, row.event)
                and _same(query.endpoint, row.endpoint)
                and _same(query.delivery, row.delivery)
                and _same(query.application, row.application)
                and _same(query.succeeded, row.state is DeliveryState.DELIVERED)
                and _same(query.state, row.state)
                and _same(query.status_class, (row.response_status or 0) // 100)
                and self._event_wanted(query, row.event)
            )

        page = cut_by_number(self._tables.attempts, query, lambda row: row.started_ms, wanted)
        return Page(rows=[self._attempt_row(row, query) for row in page.rows], done=page.done)

    def _event_wanted(self, query: AttemptQuery, identifier: str) -> bool:
        if not query.types and query.channel is None:
            return True
        event = self._tables.event(identifier)
        if event is None or (query.types and event.type not in query.types):
            return False
        return query.channel is None or query.channel in event.channels

    def _attempt_row(self, attempt: Attempt, query: AttemptQuery) -> AttemptRow:
        event = self._tables.event(attempt.event) if query.with_event else None
        return AttemptRow(
            attempt=attempt if query.with_content else replace(attempt, response_body=None),
            event=self._shown(event, with_payload=query.with_content) if event is not None else None,
        )

    async def decisions(self, query: DecisionQuery) -> Page[Decision]:
        """Decisions by event, automation, profile or outcome."""

        def wanted(row: Decision) -> bool:
            return (
                _same(query.event, row.event)
                and _same(query.automation, row.automation)
                and _same(query.profile, row.profile)
                and _same(query.outcome, row.outcome)
            )

        return cut_by_number(self._tables.decisions, query, lambda row: row.decided_ms, wanted)

    async def thread(self, workspace: str, identifier: str) -> Thread | None:
        """Everything about one event, oldest first, payload and bodies included; None for an unknown id.

        Repeats of its request belong to it. A request without an event is a thread by itself. What retention
        took is missing.
        """
        request = in_workspace(workspace, self._tables.requests.get(identifier))
        if request is not None and request.event is None:
            return Thread(requests=[request], event=None, decisions=[], deliveries=[], attempts=[])
        event = request.event if request is not None else self._event_of(workspace, identifier)
        return self._thread_of(workspace, event) if event is not None else None

    def _event_of(self, workspace: str, identifier: str) -> str | None:
        tables = self._tables
        if in_workspace(workspace, tables.events.get(identifier)) is not None:
            return identifier
        delivery = tables.deliveries.get(identifier)
        row = (
            delivery
            if delivery is not None and delivery.workspace == workspace and self._is_known(delivery)
            else in_workspace(workspace, tables.attempts.get(identifier))
            or in_workspace(workspace, tables.decisions.get(identifier))
        )
        return row.event if row is not None else None

    def _thread_of(self, workspace: str, identifier: str) -> Thread:
        tables = self._tables
        event = tables.event(identifier)
        deliveries = sorted(filter(self._is_known, tables.deliveries.values()), key=lambda row: row.id)

        def belongs(row: CapturedRequest | Decision | Attempt) -> bool:
            return (row.workspace, row.event) == (workspace, identifier)

        return Thread(
            requests=[one.row for one in tables.requests.values() if belongs(one.row)],
            event=tables.with_payload(event) if event is not None else None,
            decisions=[one.row for one in tables.decisions.values() if belongs(one.row)],
            deliveries=[row.as_row() for row in deliveries if (row.workspace, row.event) == (workspace, identifier)],
            attempts=[one.row for one in tables.attempts.values() if belongs(one.row)],
        )

    async def is_undecided(self, workspace: str, event: str) -> bool:
        """Whether an event waits to be decided."""
        waiting = self._tables.undecided.get(event)
        return waiting is not None and waiting.profile.startswith(f"{workspace}/")

    async def tail(self, workspace: str, *, after: int | None, limit: int) -> TailPage:
        """List new rows without their bytes: no bodies of requests or responses, no payloads.

        A page cut by `limit` may end inside a commit; its cursor goes on from there.
        """
        tables = self._tables
        if after is None:
            return TailPage(rows=[], cursor=tables.number)
        new: list[tuple[int, JournalRow]] = []
        for table in (tables.requests, tables.events, tables.decisions, tables.attempts):
            new += [
                (one.number, one.row) for one in table.values() if one.number > after and one.row.workspace == workspace
            ]
        new.sort(key=lambda pair: pair[0])
        page = new[:limit]
        cursor = page[-1][0] if len(page) < len(new) else tables.number
        return TailPage(rows=[_without_bytes(row) for _, row in page], cursor=cursor)

    async def forget_payload(self, workspace: str, event: str) -> bool:
        """Empty the payload of the event and the body of every request that brought it, repeats included.

        What came with the event, its context, goes as well: it says the same of the person.

        False when there is no such event. A delivery that is still pending goes on with an empty payload.
        """
        tables = self._tables
        numbered = tables.events.get(event)
        if numbered is None or numbered.row.workspace != workspace:
            return False
        tables.events[event] = Numbered(numbered.number, replace(numbered.row, payload=b"", context=None))
        for place, one in tables.requests.items():
            if one.row.event == event or place == numbered.row.request:
                tables.requests[place] = Numbered(one.number, replace(one.row, body=b""))
        return True

    async def forget_response(self, workspace: str, attempt: str) -> bool:
        """Erase the response body. False when there is no such attempt."""
        numbered = self._tables.attempts.get(attempt)
        if numbered is None or numbered.row.workspace != workspace:
            return False
        self._tables.attempts[attempt] = Numbered(numbered.number, replace(numbered.row, response_body=None))
        return True


def _same(asked: object, found: object) -> bool:
    return asked is None or asked == found


def _without_bytes(row: JournalRow) -> JournalRow:
    if isinstance(row, CapturedRequest):
        return replace(row, body=b"")
    if isinstance(row, Attempt):
        return replace(row, response_body=None)
    return _bare(row) if isinstance(row, Event) else row


def _bare(event: Event) -> Event:
    return replace(event, payload=None, context=None)
