"""A journal of many days with known rows in it, and the questions that people ask of it, for tests of query plans."""

from collections.abc import Callable
from itertools import count
from typing import Any

from posthorn import ids
from posthorn.clock import DAY_MS, HOUR_MS, MINUTE_MS
from posthorn.engine.journal import AttemptQuery, DecisionQuery, DeliveryQuery, EventQuery, RequestQuery
from posthorn.engine.lanes import lane_shard
from posthorn.engine.records import DeliveryState, RequestOutcome
from posthorn.storage import journal_deliveries as owed
from posthorn.storage import journal_queries as asked
from posthorn.storage import journal_threads as threads
from posthorn.storage.questions import Questions
from posthorn.storage.tables import metadata
from posthorn.testing.clock import START_MS

WORKSPACE = ids.first_id(ids.WORKSPACE, START_MS)
APPLICATIONS = [ids.first_id(ids.APPLICATION, START_MS + 4 * number) for number in range(4)]
ENDPOINTS = [ids.first_id(ids.ENDPOINT, START_MS + 4 * number) for number in range(40)]
SOURCES = [ids.first_id(ids.SOURCE, START_MS + 4 * number) for number in range(4)]
AUTOMATIONS = [ids.first_id(ids.AUTOMATION, START_MS + 4 * number) for number in range(4)]
TYPES = ["order.paid", "order.sent", "user.new"]

Rows = dict[str, list[tuple[Any, ...]]]


class FilledJournal:
    """The rows, and the ids of one event from the middle with all that belongs to it."""

    def __init__(self, *, days: int, events_a_day: int) -> None:
        self.rows: Rows = {name: [] for name in ("request", "event", "attempt", "decision", "delivery", "cancelled")}
        self.middle_ms = START_MS + days * DAY_MS // 2
        self.end_ms = START_MS + days * DAY_MS
        self._counter = count()
        self._bodies: dict[int, str] = {}
        for number in range(days * events_a_day):
            self._add(number, START_MS + number * DAY_MS // events_a_day)
        middle = days * events_a_day // 2 // 20 * 20
        self.inbox_event, self.request = self._names(middle, "event", ids.EVENT), self._names(middle, "request")
        self.message = self._names(middle + 1, "event", ids.MESSAGE)
        self.attempt, self.delivery = self._names(middle + 4, "attempt"), self._names(middle + 4, "delivery")
        self.decision = self._names(middle, "decision")
        self.pending, self.stopped = self._names(middle + 2, "delivery"), self._names(middle + 3, "delivery")

    def _names(self, number: int, table: str, prefix: str | None = None) -> str:
        """Return the id of what belongs to an event."""
        prefixes = {"request": ids.REQUEST, "attempt": ids.ATTEMPT, "decision": ids.DECISION, "delivery": ids.DELIVERY}
        return f"{prefix or prefixes[table]}_{self._bodies[number]}"

    def _add(self, number: int, at_ms: int) -> None:
        body = self._bodies.setdefault(number, ids.new_id("x", at_ms).partition("_")[2])
        is_inbox = number % 2 == 0
        event = f"{ids.EVENT if is_inbox else ids.MESSAGE}_{body}"
        request = f"{ids.REQUEST}_{body}" if is_inbox else None
        source = SOURCES[number % len(SOURCES)] if is_inbox else None
        application = None if is_inbox else APPLICATIONS[number % len(APPLICATIONS)]
        if request is not None:
            self._put("request", at_ms, id=request, source=source, outcome="accepted", event=event)
            if number % 10 == 0:
                self._put("request", at_ms, id=ids.new_id("req", at_ms), source=source, outcome="rejected", event=None)
                self._put(
                    "request", at_ms, id=ids.new_id("req", at_ms), source=source, outcome="duplicate", event=event
                )
            automation = AUTOMATIONS[number % len(AUTOMATIONS)]
            self._put(
                "decision", at_ms, id=f"{ids.DECISION}_{body}", automation=automation, event=event, outcome="fired"
            )
        self._put(
            "event",
            at_ms,
            id=event,
            type=TYPES[number % len(TYPES)],
            user=f"user{number % 500}",
            uid=f"uid{number}",
            source=source,
            request=request,
            application=application,
            channels="red,blue" if number % 4 == 0 else "",
            payload=None if is_inbox else b"p" * 300,
        )
        self._deliver(number, at_ms, body, event)

    def _deliver(self, number: int, at_ms: int, body: str, event: str) -> None:
        endpoint = ENDPOINTS[number % len(ENDPOINTS)]
        delivery = f"{ids.DELIVERY}_{body}"
        same = {"delivery": delivery, "event": event, "endpoint": endpoint, "trigger": "scheduled"}
        match number % 20:
            case 2:
                self._put("delivery", at_ms, id=delivery, event=event, endpoint=endpoint, shard=lane_shard(endpoint))
                self._put("attempt", at_ms, **same, id=f"{ids.ATTEMPT}_{body}", state="pending")
            case 3:
                self._put("cancelled", at_ms, **same)
            case 4 | 5:
                self._put("attempt", at_ms, **same, id=f"{ids.ATTEMPT}_{body}", state="pending")
                later_ms = at_ms + 5 * MINUTE_MS
                self._put("attempt", later_ms, **same, id=ids.new_id("atmpt", later_ms), state="exhausted", number=2)
            case _:
                self._put("attempt", at_ms, **same, id=f"{ids.ATTEMPT}_{body}", state="delivered")

    def _put(self, table: str, at_ms: int, **given: Any) -> None:
        row: dict[str, Any] = {"seq": at_ms << 20 | next(self._counter) & 0xFFFFF, "workspace": WORKSPACE} | given
        for column in metadata.tables[table].columns:
            if column.name.endswith("_ms"):
                row.setdefault(column.name, at_ms)
            elif not column.nullable:
                row.setdefault(column.name, {str: "x", int: 1, bytes: b"x" * 50}[column.type.python_type])
        self.rows[table].append(tuple(row.get(column.name) for column in metadata.tables[table].columns))


Ask = Callable[[FilledJournal], Questions[Any]]

BY_ID: dict[str, Ask] = {
    "a request": lambda journal: asked.one_request(WORKSPACE, journal.request),
    "an event": lambda journal: asked.one_event(WORKSPACE, journal.inbox_event, None),
    "a message": lambda journal: asked.one_event(WORKSPACE, journal.message, None),
    "an attempt": lambda journal: asked.one_attempt(WORKSPACE, journal.attempt),
    "an event's attempts": lambda journal: asked.attempts(_attempts(event=journal.inbox_event)),
    "a delivery's attempts": lambda journal: asked.attempts(_attempts(delivery=journal.delivery)),
    "an event's decisions": lambda journal: asked.decisions(
        DecisionQuery(workspace=WORKSPACE, event=journal.inbox_event)
    ),
    "whether an event is undecided": lambda journal: asked.is_undecided(WORKSPACE, journal.inbox_event),
    "an event's deliveries": lambda journal: owed.deliveries(_deliveries(event=journal.message)),
    "an ended delivery": lambda journal: owed.one_delivery(WORKSPACE, journal.delivery),
    "a pending delivery": lambda journal: owed.one_delivery(WORKSPACE, journal.pending),
    "a cancelled delivery": lambda journal: owed.one_delivery(WORKSPACE, journal.stopped),
    "the thread of an event": lambda journal: threads.thread(WORKSPACE, journal.inbox_event),
    "the thread of a request": lambda journal: threads.thread(WORKSPACE, journal.request),
    "the thread of a delivery": lambda journal: threads.thread(WORKSPACE, journal.delivery),
    "the thread of a decision": lambda journal: threads.thread(WORKSPACE, journal.decision),
    "what is new": lambda journal: threads.tail(WORKSPACE, after=(journal.end_ms - HOUR_MS) << 20, limit=500),
    "where the tail stands": lambda _: threads.tail(WORKSPACE, after=None, limit=500),
}
BY_UID: dict[str, Ask] = {
    "a message by uid": lambda _: asked.one_event(WORKSPACE, "uid7", APPLICATIONS[3]),
    "an event that is not there": lambda journal: asked.one_event(
        WORKSPACE, ids.new_id(ids.EVENT, journal.middle_ms), None
    ),
}
PAGES: dict[str, Ask] = {
    "requests": lambda _: asked.requests(_requests()),
    "requests of a source": lambda _: asked.requests(_requests(source=SOURCES[0])),
    "rejected requests": lambda _: asked.requests(_requests(outcome=RequestOutcome.REJECTED)),
    "events": lambda _: asked.events(_events()),
    "the oldest events": lambda _: asked.events(_events(ascending=True)),
    "events with payloads": lambda _: asked.events(_events(with_payload=True)),
    "events after one": lambda journal: asked.events(_events(after=journal.inbox_event)),
    "events of an hour": lambda journal: asked.events(
        _events(since_ms=journal.middle_ms, before_ms=journal.middle_ms + HOUR_MS)
    ),
    "events of a type": lambda _: asked.events(_events(types=("order.paid",))),
    "events of some types": lambda _: asked.events(_events(types=("order.paid", "order.sent"))),
    "events of an application": lambda _: asked.events(_events(application=APPLICATIONS[1], with_payload=True)),
    "events of an application and a type": lambda _: asked.events(
        _events(application=APPLICATIONS[1], types=("order.paid",))
    ),
    "events of a user": lambda _: asked.events(_events(user="user7")),
    "events of a source": lambda _: asked.events(_events(source=SOURCES[0])),
    "events of a channel": lambda _: asked.events(_events(channel="red")),
    "attempts": lambda _: asked.attempts(_attempts()),
    "attempts with events": lambda _: asked.attempts(_attempts(with_event=True)),
    "attempts of an endpoint": lambda _: asked.attempts(_attempts(endpoint=ENDPOINTS[6])),
    "failed attempts": lambda _: asked.attempts(_attempts(status_class=0, succeeded=False)),
    "attempts of an endpoint and types": lambda _: asked.attempts(
        _attempts(endpoint=ENDPOINTS[6], types=("order.paid", "order.sent"))
    ),
    "attempts of a channel": lambda _: asked.attempts(_attempts(channel="red")),
    "decisions": lambda _: asked.decisions(DecisionQuery(workspace=WORKSPACE)),
    "decisions of an automation": lambda _: asked.decisions(
        DecisionQuery(workspace=WORKSPACE, automation=AUTOMATIONS[0])
    ),
    "deliveries": lambda _: owed.deliveries(_deliveries()),
    "the oldest deliveries": lambda _: owed.deliveries(_deliveries(ascending=True)),
    "deliveries after one": lambda journal: owed.deliveries(_deliveries(after=journal.delivery)),
}
OF_ENDPOINT: dict[str, Ask] = {
    "deliveries of an endpoint": lambda _: owed.deliveries(_deliveries(endpoint=ENDPOINTS[6])),
    "deliveries of an endpoint after one": lambda journal: owed.deliveries(
        _deliveries(endpoint=ENDPOINTS[6], after=journal.delivery)
    ),
    "deliveries of an endpoint in an hour": lambda journal: owed.deliveries(
        _deliveries(endpoint=ENDPOINTS[6], since_ms=journal.middle_ms, before_ms=journal.middle_ms + HOUR_MS)
    ),
    "exhausted deliveries of an endpoint": lambda _: owed.deliveries(
        _deliveries(endpoint=ENDPOINTS[4], state=DeliveryState.EXHAUSTED)
    ),
}


def _requests(**query: Any) -> RequestQuery:
    return RequestQuery(workspace=WORKSPACE, **query)


def _events(**query: Any) -> EventQuery:
    return EventQuery(workspace=WORKSPACE, **query)


def _attempts(**query: Any) -> AttemptQuery:
    return AttemptQuery(workspace=WORKSPACE, **query)


def _deliveries(**query: Any) -> DeliveryQuery:
    return DeliveryQuery(workspace=WORKSPACE, **query)
