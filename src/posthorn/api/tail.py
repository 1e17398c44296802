"""/api/v1/tail: the journal as it grows, one JSON object a line."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
from litestar import get
from litestar.response import Stream

from posthorn.api.journal_rows import attempt_out, decision_out, event_out, request_out
from posthorn.api.query import Query, read_query, reads
from posthorn.api.services import ApiRequest, at_desk
from posthorn.clock import Clock, SystemClock
from posthorn.engine.records import Attempt, CapturedRequest, Decision, Event
from posthorn.manage.history import History

_POLL_SECONDS = 0.25
_HEARTBEAT_SECONDS = 15.0
_encode = msgspec.json.Encoder().encode


class TailQuery(Query, frozen=True, kw_only=True):
    """Where to go on from: the cursor of the last line that was read. Without it the tail starts now."""

    after: int | None = None


@get("/tail", operation_class=reads(TailQuery), media_type="application/x-ndjson")
async def tail(request: ApiRequest) -> Stream:
    """Follow requests, events, decisions and attempts as they become durable.

    Each line has `kind` and `cursor`. A cursor never skips a line that was not sent yet; after a broken connection
    some lines may come twice. The first line, and one every 15 seconds without any other, is
    `{"kind": "cursor", "cursor": N}`: it says where the tail begins or stands, and that the connection lives.
    """
    services, workspace = at_desk(request)
    query = read_query(request, TailQuery)
    closing: asyncio.Event = request.app.state.closing
    # The first page is read before the answer starts, so that a store that is away is a 503 and no broken stream.
    first = await services.history.tail(workspace, query.after)
    after = first.cursor if query.after is None else query.after
    lines = follow(services.history, workspace, after, closing=closing)
    return Stream(lines, media_type="application/x-ndjson")


async def follow(
    history: History,
    workspace: str,
    after: int,
    *,
    closing: asyncio.Event,
    clock: Clock | None = None,
) -> AsyncIterator[bytes]:
    """Yield lines until `closing` is set, starting with one that says where the tail begins."""
    clock = clock or SystemClock()
    spoken = clock.monotonic()
    yield _cursor_line(after)
    while not closing.is_set():
        page = await history.tail(workspace, after)
        for position, row in enumerate(page.rows, start=1):
            # Only the last line of a page moves the cursor on: whoever breaks off before it must see the rest again.
            yield line(row, page.cursor if position == len(page.rows) else after)
        after = page.cursor
        if page.rows:
            spoken = clock.monotonic()
            continue
        if clock.monotonic() - spoken >= _HEARTBEAT_SECONDS:
            spoken = clock.monotonic()
            yield _cursor_line(after)
        await _pause(closing)


def _cursor_line(cursor: int) -> bytes:
    return b'{"kind":"cursor","cursor":%d}\n' % cursor


async def _pause(closing: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_POLL_SECONDS):
            await closing.wait()
    except TimeoutError:
        return


def line(row: CapturedRequest | Event | Decision | Attempt, cursor: int) -> bytes:
    """Render one row as one line."""
    match row:
        case CapturedRequest():
            kind, body = "request", _encode(request_out(row))
        case Event():
            kind, body = "event", _encode(event_out(row))
        case Decision():
            kind, body = "decision", _encode(decision_out(row))
        case Attempt():
            kind, body = "attempt", _encode(attempt_out(row))
    # JSON that is embedded as it came may hold line breaks; outside of strings, where alone they can stand, a space
    # means the same.
    whole = b'{"kind":"%b","cursor":%d,%b' % (kind.encode(), cursor, body[1:])
    return whole.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n"
