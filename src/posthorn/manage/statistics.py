"""Counting what happened to an endpoint's deliveries.

The journal has no counters, so these read rows; a range with more than 100,000 of them is refused and has to be
narrowed, instead of holding up everybody else.
"""

from msgspec import Struct, structs

from posthorn.clock import DAY_MS, Clock
from posthorn.engine.journal import AttemptQuery, DeliveryQuery
from posthorn.engine.ports import Journal
from posthorn.engine.records import DeliveryState
from posthorn.engine.resources import Endpoint
from posthorn.errors import Invalid

LONGEST_RANGE_DAYS = 28
_PAGE = 1000
_MOST_ROWS = 100_000


class DeliveryCounts(Struct, frozen=True, kw_only=True):
    """How many deliveries stand where. `sending` are those that failed and will be tried again."""

    success: int = 0
    pending: int = 0
    sending: int = 0
    fail: int = 0
    canceled: int = 0


class AttemptCounts(Struct, frozen=True, kw_only=True):
    """How many attempts ended how. A delivery is cancelled without an attempt, so that `canceled` is always 0."""

    success: int = 0
    fail: int = 0
    canceled: int = 0


class Statistics:
    """Counts over ranges of time of at most 28 days."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    async def deliveries(self, endpoint: Endpoint, *, since_ms: int | None, until_ms: int | None) -> DeliveryCounts:
        """Count an endpoint's deliveries by where they stand; raises Invalid for too long a range."""
        since, before = self._range(since_ms, until_ms)
        counts: dict[str, int] = {}
        seen = 0
        query = DeliveryQuery(
            workspace=endpoint.workspace, endpoint=endpoint.id, since_ms=since, before_ms=before, limit=_PAGE
        )
        done = False
        while not done:
            page = await self._journal.deliveries(query)
            for row in page.rows:
                name = _standing(row.state, row.attempts)
                counts[name] = counts.get(name, 0) + 1
            seen = _checked_size(seen + len(page.rows))
            done = page.done
            query = structs.replace(query, after=page.rows[-1].id if page.rows else None)
        return DeliveryCounts(**counts)

    async def attempts(self, endpoint: Endpoint, *, since_ms: int | None, until_ms: int | None) -> AttemptCounts:
        """Count an endpoint's attempts by how they ended; raises Invalid for too long a range."""
        since, before = self._range(since_ms, until_ms)
        counts = {"success": 0, "fail": 0}
        query = AttemptQuery(
            workspace=endpoint.workspace,
            endpoint=endpoint.id,
            since_ms=since,
            before_ms=before,
            limit=_PAGE,
            with_content=False,
        )
        done = False
        while not done:
            page = await self._journal.attempts(query)
            for row in page.rows:
                counts["success" if row.attempt.state is DeliveryState.DELIVERED else "fail"] += 1
            _checked_size(sum(counts.values()))
            done = page.done
            query = structs.replace(query, after=page.rows[-1].attempt.id if page.rows else None)
        return AttemptCounts(**counts)

    def _range(self, since_ms: int | None, until_ms: int | None) -> tuple[int, int]:
        # One step past now, so that what carries the present millisecond is counted.
        before = self._clock.now_ms() + 1 if until_ms is None else until_ms
        since = before - LONGEST_RANGE_DAYS * DAY_MS if since_ms is None else since_ms
        if before - since > LONGEST_RANGE_DAYS * DAY_MS + 1:
            raise Invalid.at("query", "since", msg=f"the range may be {LONGEST_RANGE_DAYS} days long")
        return since, before


def _standing(state: DeliveryState, attempts: int) -> str:
    match state:
        case DeliveryState.DELIVERED:
            return "success"
        case DeliveryState.EXHAUSTED:
            return "fail"
        case DeliveryState.CANCELLED:
            return "canceled"
        case DeliveryState.PENDING:
            return "sending" if attempts else "pending"


def _checked_size(seen: int) -> int:
    if seen > _MOST_ROWS:
        raise Invalid.at("query", "since", msg=f"there are more than {_MOST_ROWS} rows in this range; narrow it")
    return seen
