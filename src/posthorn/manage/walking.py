"""Going through all rows that answer a question to the journal, page by page."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from msgspec.structs import replace

from posthorn.engine.journal import AttemptQuery, DecisionQuery, DeliveryQuery, EventQuery, Page

Query = TypeVar("Query", EventQuery, DeliveryQuery, AttemptQuery, DecisionQuery)


async def walked(
    ask: Callable[[Query], Awaitable[Page[Any]]], query: Query, key: Callable[[Any], str]
) -> AsyncIterator[Any]:
    """Yield the rows one after another; `key` is the id that the pages are cut by."""
    done = False
    while not done:
        page = await ask(query)
        for row in page.rows:
            yield row
        done = page.done or not page.rows
        if page.rows:
            query = replace(query, after=key(page.rows[-1]))
