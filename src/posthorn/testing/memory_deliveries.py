"""The store in memory: append and the queue of deliveries. Plain on purpose."""

from collections.abc import Sequence

from msgspec.structs import replace

from posthorn.engine.cluster import Stage
from posthorn.engine.ports import TAKE_BYTES
from posthorn.engine.records import (
    GONE_PAYLOAD,
    AlreadyClaimed,
    Append,
    Appended,
    AppendResult,
    CapturedRequest,
    Claim,
    DeliveryState,
    DeliveryWork,
    Event,
    LaneRead,
    NewDelivery,
    Payload,
    ReadyEndpoint,
    RequestOutcome,
    Settlement,
    Taken,
    Trigger,
)
from posthorn.engine.shards import shard_of
from posthorn.testing.memory_tables import StoredDelivery, TableReader, Tables, Undecided


class MemoryDeliveries(TableReader):
    """Append, ready, take, settle, enqueue, cancel."""

    async def append(self, units: Sequence[Append]) -> list[AppendResult]:
        """Commit the units together.

        A claim is taken while it has not expired by the store's clock. The first taken claim of a unit, in
        the unit's order, is the one reported. A unit refused this way keeps only its request: outcome
        duplicate, answer status and event those of the claim. Decision work is due when its event was received.
        Raises NotFound for a delivery of an unknown event.
        """
        batch = _Batch(self._tables)
        results = [batch.add(unit) for unit in units]
        batch.commit()
        return results

    async def ready(self, shards: Sequence[int], *, after_ms: int | None, now_ms: int) -> list[ReadyEndpoint]:
        """List each endpoint once with its oldest due inside (after_ms, now_ms], oldest first."""
        oldest: dict[tuple[int, str], int] = {}
        for row in self._tables.deliveries.values():
            in_window = row.due_ms <= now_ms and (after_ms is None or row.due_ms > after_ms)
            if row.is_pending and row.shard in shards and in_window:
                lane = (row.shard, row.endpoint)
                oldest[lane] = min(oldest.get(lane, row.due_ms), row.due_ms)
        return [
            ReadyEndpoint(shard=shard, endpoint=endpoint, due_ms=due_ms)
            for (shard, endpoint), due_ms in sorted(oldest.items(), key=lambda item: (item[1], item[0]))
        ]

    async def take(self, reads: Sequence[LaneRead], *, now_ms: int) -> list[Taken]:
        """Answer each read by itself: what one brings, another may bring too.

        Each event's payload counts once. When they reach TAKE_BYTES, nothing with another payload comes any more,
        and nothing that stands behind it in its lane. The first delivery of the call always comes, however big.
        `more` is true when due deliveries that are not held are left behind those that came. A delivery whose event
        is gone never comes and is not left behind either.
        """
        brought = _Brought()
        return [self._take_lane(read, now_ms, brought) for read in reads]

    def _take_lane(self, read: LaneRead, now_ms: int, brought: "_Brought") -> Taken:
        due = self._due(read, now_ms)
        works: list[DeliveryWork] = []
        for row in due[: read.room]:
            if brought.is_full and row.event not in brought.events:
                break
            works.append(self._delivery_work(row))
            brought.add(works[-1])
        return Taken(works=works, more=len(works) < len(due))

    def _due(self, read: LaneRead, now_ms: int) -> list[StoredDelivery]:
        due = [
            row
            for row in self._tables.deliveries.values()
            if row.is_pending
            and (row.shard, row.endpoint) == (read.shard, read.endpoint)
            and row.due_ms <= now_ms
            and (row.event in self._tables.events or row.endpoint.startswith("auto_"))
            and row.id not in read.held
            and (row.due_ms, row.id) > (read.after or (read.since_ms or 0, ""))
        ]
        return sorted(due, key=lambda row: (row.due_ms, row.id))

    def _delivery_work(self, row: StoredDelivery) -> DeliveryWork:
        return DeliveryWork(
            id=row.id,
            shard=row.shard,
            endpoint=row.endpoint,
            due_ms=row.due_ms,
            event=row.event,
            attempts=row.attempts,
            step=row.step,
            trigger=row.trigger,
            payload=self._payload(row.event),
            rendered=row.rendered,
        )

    def _payload(self, identifier: str) -> Payload:
        stored = self._tables.events.get(identifier)
        if stored is None:
            return GONE_PAYLOAD
        return Payload(
            type=stored.row.type,
            body=self._tables.payload_of(stored.row) or b"",
            content_type=stored.row.content_type,
            content_encoding=stored.row.content_encoding,
        )

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Apply outcomes in order, each by itself.

        A row is unchanged while it is pending with the same `due_ms`; whoever moves a row must move its due.
        The delivery's end state is its attempt's. An attempt made ends a manual trigger; a deferral does not.
        What it tells at its end is due at the store's own present, each time that it ends: a replay tells again.
        """
        applied = [self._settle_delivery(settlement) for settlement in settlements]
        attempts = [
            settlement.attempt
            for settlement, done in zip(settlements, applied, strict=True)
            if done and settlement.attempt is not None
        ]
        self._tables.commit(attempts=attempts)
        return applied

    def _settle_delivery(self, settlement: Settlement) -> bool:
        row = self._tables.deliveries.get(settlement.work.id)
        if row is None or not row.is_pending or row.due_ms != settlement.work.due_ms:
            return False
        if not self._tables.holds(Stage.DELIVER, row.shard, settlement.epoch):
            return False
        settled = self._tables.deliveries[row.id] = _settled(row, settlement)
        self._tables.tell(settled)
        return True

    async def enqueue(self, delivery: NewDelivery) -> None:
        """Queue by hand.

        A pending delivery keeps its step and becomes due at `due_ms`; a finished one starts at step 0. What
        was rendered is kept unless the new delivery brings its own. Raises NotFound when the event is gone.
        """
        # Made first in every case, because it raises when the event is gone.
        fresh = replace(self._tables.new_delivery(delivery), trigger=Trigger.MANUAL)
        row = self._tables.deliveries.get(delivery.id)
        if row is not None:
            fresh = replace(
                fresh,
                attempts=row.attempts,
                step=row.step if row.is_pending else 0,
                rendered=row.rendered if delivery.rendered is None else delivery.rendered,
            )
        self._tables.deliveries[delivery.id] = fresh
        self._tables.commits += 1

    async def cancel(self, delivery: str, reason: str) -> bool:
        """Take a pending delivery off the queue, whoever owns its shard."""
        row = self._tables.deliveries.get(delivery)
        if row is None or not row.is_pending:
            return False
        cancelled = replace(row, state=DeliveryState.CANCELLED, reason=reason)
        self._tables.deliveries[delivery] = cancelled
        self._tables.tell(cancelled)
        self._tables.commits += 1
        return True


def _settled(row: StoredDelivery, settlement: Settlement) -> StoredDelivery:
    attempt = settlement.attempt
    if attempt is not None:
        row = replace(row, attempts=row.attempts + 1, trigger=Trigger.SCHEDULED)
    if settlement.next_due_ms is not None:
        return replace(row, due_ms=settlement.next_due_ms, step=settlement.next_step)
    if attempt is not None:
        return replace(row, state=attempt.state)
    return replace(row, state=DeliveryState.CANCELLED, reason=settlement.cancelled)


class _Brought:
    """The payloads that a call of `take` brought so far."""

    def __init__(self) -> None:
        self.events: set[str] = set()
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        return self._bytes >= TAKE_BYTES

    def add(self, work: DeliveryWork) -> None:
        if work.event not in self.events:
            self.events.add(work.event)
            self._bytes += len(work.payload.body)


class _Batch:
    """The units of one append, collected first, so that a failure on the way writes nothing."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._claims: dict[tuple[str, str], Claim] = {}
        self._requests: list[CapturedRequest] = []
        self._events: list[Event] = []
        self._deliveries: list[NewDelivery] = []
        self._undecided: list[Undecided] = []

    def add(self, unit: Append) -> AppendResult:
        """Collect a unit, or only its request when a claim is taken."""
        for claim in unit.claims:
            taken = self._taken(claim)
            if taken is not None:
                return self._refuse(unit.request, claim, taken)
        self._claims |= {(claim.scope, claim.key): claim for claim in unit.claims}
        if unit.request is not None:
            self._requests.append(unit.request)
        if unit.event is not None:
            self._events.append(unit.event)
            if unit.profile is not None:
                self._undecided.append(_decision_work(unit.event, unit.profile))
        self._deliveries += unit.deliveries
        return Appended()

    def _taken(self, claim: Claim) -> Claim | None:
        key = (claim.scope, claim.key)
        taken = self._claims.get(key) or self._tables.claims.get(key)
        return taken if taken is not None and taken.expires_ms > self._tables.clock.now_ms() else None

    def _refuse(self, request: CapturedRequest | None, claim: Claim, taken: Claim) -> AlreadyClaimed:
        if request is not None:
            duplicate = replace(
                request,
                outcome=RequestOutcome.DUPLICATE,
                answer_status=taken.answer_status,
                event=taken.event,
            )
            self._requests.append(duplicate)
        return AlreadyClaimed(
            scope=taken.scope,
            same_request=taken.fingerprint == claim.fingerprint,
            answer_status=taken.answer_status,
            answer_body=taken.answer_body,
            event=taken.event,
        )

    def commit(self) -> None:
        """Write everything, or raise NotFound and write nothing."""
        known = {event.id for event in self._events} | self._tables.events.keys()
        for delivery in self._deliveries:
            if delivery.event not in known:
                self._tables.new_delivery(delivery)  # It raises the error that says what is missing.
        self._tables.commit(requests=self._requests, events=self._events, deliveries=self._deliveries)
        self._tables.claims |= self._claims
        self._tables.undecided |= {undecided.event: undecided for undecided in self._undecided}


def _decision_work(event: Event, profile: str) -> Undecided:
    return Undecided(event=event.id, shard=shard_of(profile), profile=profile, due_ms=event.received_ms)
