"""What must hold after a fault: promises, journal, counters, firings and arrivals agree."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chaos_load import APPS, ENDPOINTS, USERS, Load, endpoint_path
from recording_receiver import Behaviour, Received, Receiver, answering

from posthorn.engine.journal import AttemptQuery, DecisionQuery, DeliveryQuery, EventQuery
from posthorn.engine.ports import Store
from posthorn.engine.profiles import user_profile
from posthorn.engine.records import Decision, DecisionOutcome, DeliveryState, Event
from posthorn.engine.resources import Kind

LANES = APPS * ENDPOINTS + 2
PATHS = [endpoint_path(app, endpoint) for app in range(APPS) for endpoint in range(ENDPOINTS)] + ["/inbox", "/firing"]
EVERY_LANE = {*PATHS[:-1], *(f"/firing {user}" for user in (f"u{number}" for number in range(USERS)))}
"""Each endpoint, the inbox, and each user: what may stand still apart from the others."""

_EVERYTHING = 1_000_000
_MOST_CLOCK_ERROR_SECONDS = 30.0
# A receiver that takes its time has something under way whenever a node breaks.
_FAILING = answering(500)
_SLOW = Behaviour(after_seconds=0.15)
_SETTLED_SECONDS = 1.0
_SETTLED_AFTER_SECONDS = 5.0

Stored = dict[int, list[Event]]
"""Events of the journal by the number that they carry."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """One webhook that was answered 200."""

    at_seconds: float  #: monotonic
    number: int  #: of the thing sent


class Arrivals:
    """What arrived when, by path and webhook-id, and how long each lane stood still after a fault."""

    def __init__(self, receiver: Receiver) -> None:
        self.taken: dict[tuple[str, str], list[Arrival]] = defaultdict(list)
        self.recovered: dict[str, float] = {}  #: lane: seconds after the fault
        self.worst_clock_error_seconds = 0.0
        self.fault_at = 0.0
        self._fault_number = 0
        self._failed: set[tuple[str, str]] = set()
        for path in PATHS:
            receiver.behave(path, self._behave)

    def mark_fault(self, last_number: int) -> None:
        """Count from now: only what is sent after this moment shows that a lane works again."""
        self.fault_at = time.monotonic()
        self._fault_number = last_number
        self.recovered = {}

    @property
    def every_lane_works(self) -> bool:
        return self.recovered.keys() >= EVERY_LANE

    def repeated(self) -> list[list[Arrival]]:
        return [arrivals for arrivals in self.taken.values() if len(arrivals) > 1]

    def repeated_aside(self, since: float, mended_at: float) -> list[list[Arrival]]:
        """Return what arrived twice since then without having been under way while something was broken."""
        first, last = self.fault_at - _SETTLED_SECONDS, mended_at + _SETTLED_AFTER_SECONDS
        recent = [arrivals for arrivals in self.repeated() if arrivals[-1].at_seconds >= since]
        return [arrivals for arrivals in recent if not first <= arrivals[0].at_seconds <= last]

    @property
    def extra(self) -> int:
        return sum(len(arrivals) - 1 for arrivals in self.repeated())

    def _behave(self, received: Received) -> Behaviour:
        """Fail the first attempt of some, so that retries too are under way when something breaks."""
        place = (received.path, received.webhook_id)
        sent_at = int(received.header("webhook-timestamp") or 0)
        self.worst_clock_error_seconds = max(self.worst_clock_error_seconds, abs(sent_at - time.time()))
        if received.webhook_id.endswith(("A", "b", "5")) and place not in self._failed:
            self._failed.add(place)
            return _FAILING
        body = json.loads(received.body)
        now = time.monotonic()
        self.taken[place].append(Arrival(at_seconds=now, number=body["n"]))
        if body["n"] > self._fault_number:
            lane = received.path if received.path != "/firing" else f"/firing {body['user']}"
            self.recovered.setdefault(lane, now - self.fault_at)
        return _SLOW


async def check_everything(store: Store, receiver: Receiver, arrivals: Arrivals, load: Load) -> None:
    """Compare promises, the journal, the counters and what arrived. Everything has been delivered by now."""
    (workspace,) = await store.all(Kind.WORKSPACE)
    query = EventQuery(workspace=workspace.id, limit=_EVERYTHING, with_payload=True)
    by_type: dict[str, Stored] = defaultdict(lambda: defaultdict(list))
    for event in (await store.events(query)).rows:
        by_type[event.type][json.loads(event.payload or b"")["n"]].append(event)
    assert load.unexpected == []
    check_kept(load.promised.messages, by_type["made"])
    check_kept(load.promised.events, by_type["did"])
    got = {number: len(rows) for number, rows in by_type["got"].items()}
    same("requests in the journal", got, dict.fromkeys(load.promised.requests, 1))
    await check_decisions(store, workspace.id, load, by_type["did"], by_type["got"])
    check_arrived(arrivals, load)
    check_firings(receiver, load)
    await check_counters(store, workspace.id, load)
    await check_attempts(store, workspace.id, arrivals)
    pending = DeliveryQuery(workspace=workspace.id, state=DeliveryState.PENDING, limit=1)
    assert (await store.deliveries(pending)).rows == []
    assert arrivals.worst_clock_error_seconds < _MOST_CLOCK_ERROR_SECONDS


def same(what: str, found: Mapping[Any, object], expected: Mapping[Any, object]) -> None:
    """Fail with what differs, not with thousands of rows."""
    places = sorted(key for key in {*found, *expected} if found.get(key) != expected.get(key))
    assert not places, f"{what}: {len(places)} differ: " + "; ".join(
        f"{key}: {found.get(key)!r} instead of {expected.get(key)!r}" for key in places[:10]
    )


def check_kept(promised: dict[int, set[str]], stored: Stored) -> None:
    """Each is in the journal once, under the one id that its answers named; nothing else is."""
    kept = {number: [event.id for event in rows] for number, rows in stored.items()}
    same("events in the journal", kept, {number: sorted(named) for number, named in promised.items()})


def check_arrived(arrivals: Arrivals, load: Load) -> None:
    """Each arrived everywhere where it is owed, under one webhook-id in each place, and nowhere else."""
    arrived: dict[str, Counter[int]] = defaultdict(Counter)
    for (path, _), times in arrivals.taken.items():
        arrived[path][times[0].number] += 1
    for app in range(APPS):
        owed = Counter(number for number in load.promised.messages if load.promised.apps[number] == app)
        for endpoint in range(ENDPOINTS):
            path = endpoint_path(app, endpoint)
            same(f"arrived at {path}", arrived[path], owed)
    same("arrived at /inbox", arrived["/inbox"], Counter(load.promised.requests.keys()))


def check_firings(receiver: Receiver, load: Load) -> None:
    """Each pair of user and key fired once, as distinct deliveries count."""
    fired: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in receiver.at("/firing"):
        body = json.loads(row.body)
        fired[body["user"], body["key"]].add(row.webhook_id)
    firings = load.promised.firings
    pairs = {(firings[number].user, firings[number].key) for number in load.promised.events}
    same("deliveries of firings", {pair: len(found) for pair, found in fired.items()}, dict.fromkeys(pairs, 1))


async def check_counters(store: Store, workspace: str, load: Load) -> None:
    """Each user's counter is the number of its events."""
    found = {}
    for user in (f"u{number}" for number in range(USERS)):
        counts = await store.event_counts(user_profile(workspace, user))
        found.update((user, count.count) for count in counts if count.type == "did")
    same("counters", found, Counter(load.promised.firings[number].user for number in load.promised.events))


async def count_decisions(store: Store) -> int:
    (workspace,) = await store.all(Kind.WORKSPACE)
    return len((await store.decisions(DecisionQuery(workspace=workspace.id, limit=_EVERYTHING))).rows)


async def check_decisions(store: Store, workspace: str, load: Load, did: Stored, got: Stored) -> None:
    """Each automation decided each event once, and fired as often as there are requests and new pairs."""
    numbers = {event.id: number for stored in (did, got) for number, (event,) in stored.items()}
    owed = [*load.promised.events, *load.promised.requests]
    rows: list[Decision] = (await store.decisions(DecisionQuery(workspace=workspace, limit=_EVERYTHING))).rows
    decided = Counter(row.event for row in rows)
    same("decisions", {numbers[event]: count for event, count in decided.items()}, dict.fromkeys(owed, 1))
    firings = load.promised.firings
    pairs = {(firings[number].user, firings[number].key) for number in load.promised.events}
    fired = [row for row in rows if row.outcome is DecisionOutcome.FIRED]
    assert len(fired) == len(pairs) + len(load.promised.requests)
    assert len({row.delivery for row in fired}) == len(fired)


async def check_attempts(store: Store, workspace: str, arrivals: Arrivals) -> None:
    """The journal has one success for each delivery and each attempt's number once, whoever else tried to write."""
    rows = (await store.attempts(AttemptQuery(workspace=workspace, limit=_EVERYTHING, with_content=False))).rows
    numbers = Counter((row.attempt.delivery, row.attempt.number) for row in rows)
    assert {place: count for place, count in numbers.items() if count > 1} == {}
    succeeded = Counter(row.attempt.delivery for row in rows if row.attempt.state is DeliveryState.DELIVERED)
    assert set(succeeded.values()) <= {1}
    assert len(succeeded) == len(arrivals.taken)
