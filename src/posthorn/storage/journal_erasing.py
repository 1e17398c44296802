"""Statements that erase bytes of the journal and keep the record of them, for one transaction."""

from sqlalchemy import update

from posthorn.storage.journal_threads import came_with
from posthorn.storage.questions import Questions, by_id
from posthorn.storage.tables import attempt, event, request


def forget_payload(workspace: str, identifier: str) -> Questions[bool]:
    """Erase the bytes of an event wherever they are, and what came with it. False when there is no such event."""
    erased = (
        update(event).where(event.c.workspace == workspace).values(payload=b"", context=None).returning(event.c.request)
    )
    row = yield from by_id(erased, event, identifier)
    if row is None:
        return False
    yield update(request).where(came_with(identifier, row[0])).values(body=b"")
    return True


def forget_response(workspace: str, identifier: str) -> Questions[bool]:
    """Erase what an attempt was answered. False when there is no such attempt."""
    erased = update(attempt).where(attempt.c.workspace == workspace).values(response_body=None).returning(attempt.c.id)
    return (yield from by_id(erased, attempt, identifier)) is not None
