"""The store in memory: claims that run out and journal rows that grow old."""

from collections.abc import Iterable
from itertools import islice
from typing import TypeVar

from posthorn import ids
from posthorn.engine.records import Claim, Decision, DecisionOutcome
from posthorn.engine.runs import RunState, entering_event
from posthorn.testing.memory_tables import TableReader

Row = TypeVar("Row")


class MemoryRetention(TableReader):
    """Claims and retention."""

    async def claimed(self, scope: str, key: str, *, now_ms: int) -> Claim | None:
        """Return the claim while `expires_ms` lies ahead."""
        claim = self._tables.claims.get((scope, key))
        return claim if claim is not None and claim.expires_ms > now_ms else None

    async def forget_claims(self, *, now_ms: int, most: int) -> int:
        """Delete up to `most` claims that have expired."""
        expired = [place for place, claim in self._tables.claims.items() if claim.expires_ms <= now_ms][:most]
        for place in expired:
            del self._tables.claims[place]
        self._tables.commits += 1
        return len(expired)

    async def prune(self, *, before_ms: int, most: int) -> int:
        """Delete up to `most` rows, each older by its own time; a finished delivery counts, by its id's time.

        One that ended in an attempt is there for as long as an attempt of it is.

        The event of a pending delivery or of decision work stays with its request; so do the attempts and the
        decision of a pending delivery. A request that keeps a payload never goes before its event. Runs that ended go
        by their last change, active ones never.

        What let a person in (a decision that fired, an ended run) stays for as long as an attempt of its event does,
        the run also while a delivery of it is pending: with the event gone, nothing else tells whose they are.
        """
        self._tables.commits += 1
        gone = self._prune_outcomes(before_ms, most)
        gone += self._prune_events(before_ms, most - gone)
        gone += self._prune_requests(before_ms, most - gone)
        return gone + self._prune_runs(before_ms, most - gone)

    def _prune_outcomes(self, before_ms: int, most: int) -> int:
        tables = self._tables
        pending = {delivery.id for delivery in tables.deliveries.values() if delivery.is_pending}
        attempts = (
            place
            for place, numbered in tables.attempts.items()
            if numbered.row.started_ms < before_ms and numbered.row.delivery not in pending
        )
        gone = _delete(tables.attempts, attempts, most)
        tried = {name for one in tables.attempts.values() for name in (one.row.event, one.row.delivery)}
        decisions = (
            place
            for place, numbered in tables.decisions.items()
            if numbered.row.decided_ms < before_ms
            and numbered.row.delivery not in pending
            and not (_let_in_a_person(numbered.row) and numbered.row.event in tried)
        )
        gone += _delete(tables.decisions, decisions, most - gone)
        start = ids.first_id(ids.DELIVERY, before_ms)
        deliveries = (
            place
            for place, delivery in tables.deliveries.items()
            if place < start and not delivery.is_pending and not (delivery.has_ended and place in tried)
        )
        return gone + _delete(tables.deliveries, deliveries, most - gone)

    def _prune_events(self, before_ms: int, most: int) -> int:
        tables = self._tables
        kept = {delivery.event for delivery in tables.deliveries.values() if delivery.is_pending}
        kept |= tables.undecided.keys()
        events = (
            place
            for place, numbered in tables.events.items()
            if numbered.row.received_ms < before_ms and place not in kept
        )
        return _delete(tables.events, events, most)

    def _prune_requests(self, before_ms: int, most: int) -> int:
        tables = self._tables
        kept = {numbered.row.request for numbered in tables.events.values()}
        requests = (
            place
            for place, numbered in tables.requests.items()
            if numbered.row.received_ms < before_ms and place not in kept
        )
        return _delete(tables.requests, requests, most)

    def _prune_runs(self, before_ms: int, most: int) -> int:
        tables = self._tables
        kept = {numbered.row.event for numbered in tables.attempts.values()}
        kept |= {delivery.event for delivery in tables.deliveries.values() if delivery.is_pending}
        ended = (
            place
            for place, run in tables.runs.items()
            if run.state is not RunState.ACTIVE
            and run.changed_ms < before_ms
            and entering_event(run.document) not in kept
        )
        return _delete(tables.runs, ended, most)


def _let_in_a_person(decision: Decision) -> bool:
    return decision.outcome is DecisionOutcome.FIRED and "/user/" in decision.profile


def _delete(table: dict[str, Row], places: Iterable[str], most: int) -> int:
    victims = list(islice(places, most))
    for place in victims:
        del table[place]
    return len(victims)
