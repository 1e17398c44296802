"""Reading the events of the last days for a simulation: the newest ones, when there are more than it looks at."""

from collections.abc import Mapping

import msgspec

from posthorn.clock import iso_text
from posthorn.decide.bygone import Window
from posthorn.engine.journal import EventQuery, RequestQuery
from posthorn.engine.ports import Journal
from posthorn.engine.records import Event

MOST_EVENTS = 50_000
MOST_BYTES = 64 * 1024 * 1024
"""Of payloads: all of them are in memory at once."""
_PAGE = 250


async def window_of(
    store: Journal,
    workspace: str,
    *,
    since_ms: int,
    until_ms: int,
    most: int,
    most_bytes: int = MOST_BYTES,
) -> Window:
    """Read the events of a time. Every event may matter: people are in segments by any.

    When there are too many it begins later, and does not end earlier: counters are reckoned back from what they are.
    """
    events: list[Event] = []
    size = 0
    query = EventQuery(workspace=workspace, since_ms=since_ms, before_ms=until_ms + 1, limit=_PAGE, with_payload=True)
    cut = ""
    done = False
    while not done and not cut:
        page = await store.events(query)
        for event in page.rows:
            if event.application is not None:
                continue
            size += len(event.payload or b"")
            if len(events) >= most or size > most_bytes:
                cut = f"there were more than {most:,} events" if len(events) >= most else "the events were too large"
                break
            events.append(event)
        done = page.done or not page.rows
        query = msgspec.structs.replace(query, after=page.rows[-1].id if page.rows else None)
    events.sort(key=lambda event: (event.received_ms, event.id))
    begun_ms = events[0].received_ms if cut and events else since_ms
    return Window(
        since_ms=begun_ms,
        until_ms=until_ms,
        events=events,
        heads=await _heads(store, workspace, events),
        notes=(f"{cut}, so it begins at {iso_text(begun_ms)}",) if cut else (),
    )


async def _heads(store: Journal, workspace: str, events: list[Event]) -> Mapping[str, bytes]:
    """Read the header lines of the requests that events came with."""
    wanted = {event.request for event in events if event.request is not None}
    heads: dict[str, bytes] = {}
    if not wanted:
        return heads
    query = RequestQuery(workspace=workspace, since_ms=events[0].received_ms, limit=_PAGE)
    while len(heads) < len(wanted):
        page = await store.requests(query)
        heads |= {row.id: row.head for row in page.rows if row.id in wanted}
        if page.done or not page.rows:
            break
        query = msgspec.structs.replace(query, after=page.rows[-1].id)
    return heads
