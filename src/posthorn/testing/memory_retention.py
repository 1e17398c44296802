"""The store in memory: claims that run out and journal rows that grow old."""

from collections.abc import Iterable
from itertools import islice
from typing import TypeVar

from posthorn import ids
from posthorn.engine.records import Claim
from posthorn.engine.runs import RunState
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

        The event of a pending delivery or of decision work stays with its request; so do the attempts and the
        decision of a pending delivery. A request that keeps a payload never goes before its event. Runs that ended go
        by their last change, active ones never.
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
        decisions = (
            place
            for place, numbered in tables.decisions.items()
            if numbered.row.decided_ms < before_ms and numbered.row.delivery not in pending
        )
        gone += _delete(tables.decisions, decisions, most - gone)
        start = ids.first_id(ids.DELIVERY, before_ms)
        deliveries = (place for place in tables.deliveries if place < start and place not in pending)
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
        runs = self._tables.runs
        ended = (
            place for place, run in runs.items() if run.state is not RunState.ACTIVE and run.changed_ms < before_ms
        )
        return _delete(runs, ended, most)


def _delete(table: dict[str, Row], places: Iterable[str], most: int) -> int:
    victims = list(islice(places, most))
    for place in victims:
        del table[place]
    return len(victims)
