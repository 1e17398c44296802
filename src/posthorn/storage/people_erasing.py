"""Questions that forget a person in bounded pieces: each run deletes so many rows, what depends on others first."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Table, and_, delete, or_, select, text, true, tuple_

from posthorn.engine.profiles import user_profile
from posthorn.engine.runs import entering_event
from posthorn.engine.shards import shard_of
from posthorn.ids import time_of
from posthorn.storage.people_rows import to_profile
from posthorn.storage.questions import Questions, since_id
from posthorn.storage.tables import (
    attempt,
    cancelled,
    decision,
    decision_work,
    delivery,
    event,
    event_count,
    firing,
    member,
    profile,
    rendered,
    request,
    run,
    timer,
)

_MOST_EVENTS = 50
_USER = "/user/"


class Erased(NamedTuple):
    """How many rows went, and the events among whose rows they were."""

    rows: int
    events: list[str]


class _Budget:
    """How many rows may still go."""

    def __init__(self, most: int) -> None:
        self.left = most


def erase(key: str, most: int) -> Questions[Erased]:
    """Delete up to `most` rows of a person and of those who were merged into them; the profiles go last."""
    people = yield from _people(key)
    budget = _Budget(most)
    # First, so that no run wakes between two pieces and queues more. They are in their people's shards: PostgreSQL
    # looks for them there, SQLite by an index of profiles.
    shards = sorted({shard_of(place) for place in people})
    yield from _delete(timer, and_(timer.c.shard.in_(shards), timer.c.profile.in_(list(people))), budget)
    erased: list[str] = []
    for workspace, user in people.values():
        erased += yield from _erase_events(workspace, user, list(people), budget)
    erased += yield from _erase_decisions(list(people), budget)
    erased += yield from _erase_runs(list(people), budget)
    for table in (member, firing, event_count):
        yield from _delete(table, table.c.profile.in_(list(people)), budget)
    # In one piece if they fit: somebody who was merged is found through the others, and they through them.
    if budget.left == most or budget.left >= len(people):
        for place in reversed(people):
            yield from _delete(profile, profile.c.key == place, budget)
    return Erased(rows=most - budget.left, events=erased)


def _people(key: str) -> Questions[dict[str, tuple[str, str]]]:
    """Ask for a person's profiles: their keys, each with workspace and user id. One may have no row."""
    people: dict[str, tuple[str, str]] = {}
    workspace, _, user = key.partition(_USER)
    found = [(key, workspace, user)]
    while found:
        place, workspace, user = found.pop()
        if place in people:
            continue
        people[place] = (workspace, user)
        own = yield select(profile.c.document).where(profile.c.key == place)
        aliases = to_profile(own[0][0]).aliases if own else ()
        found += [(user_profile(workspace, alias), workspace, alias) for alias in aliases]
        merged = yield select(profile.c.key, profile.c.workspace, profile.c.user).where(profile.c.merged == place)
        found += [(row[0], row[1], row[2]) for row in merged]
    return people


def _erase_events(workspace: str, user: str, people: list[str], budget: _Budget) -> Questions[list[str]]:
    theirs = (
        select(event.c.id, event.c.request)
        .where(event.c.workspace == workspace, event.c.user == user)
        .order_by(event.c.seq)
        .with_for_update()  # On PostgreSQL a delivery may be queued by hand meanwhile: that waits, and finds no event.
    )
    erased: list[str] = []
    while budget.left > 0:
        found = yield theirs.limit(min(budget.left, _MOST_EVENTS))
        if not found:
            break
        erased += [row[0] for row in found]
        origins = [row[1] for row in found if row[1] is not None]
        yield from _erase_threads([row[0] for row in found], origins, people, budget)
    return erased


def _erase_decisions(people: list[str], budget: _Budget) -> Questions[list[str]]:
    """Delete the decisions about people, each after all that came of its event: the event itself may be gone."""
    theirs = select(decision.c.seq, decision.c.event).where(decision.c.profile.in_(people)).order_by(decision.c.seq)
    erased: list[str] = []
    while budget.left > 0:
        found = yield theirs.limit(min(budget.left, _MOST_EVENTS))
        if not found:
            break
        events = list(dict.fromkeys(row[1] for row in found))
        erased += events
        yield from _erase_threads(events, [], people, budget)
        yield from _delete(decision, decision.c.seq.in_([row[0] for row in found]), budget)
    return erased


def _erase_runs(people: list[str], budget: _Budget) -> Questions[list[str]]:
    """Delete the runs of people, each after all that it sent: it may have waited until its event was gone."""
    theirs = select(run.c.id, run.c.document).where(run.c.profile.in_(people)).order_by(run.c.profile, run.c.id)
    erased: list[str] = []
    while budget.left > 0:
        found = yield theirs.limit(min(budget.left, _MOST_EVENTS))
        if not found:
            break
        events = list(dict.fromkeys(entered for row in found if (entered := entering_event(row[1])) is not None))
        erased += events
        if events:
            yield from _erase_threads(events, [], people, budget)
        yield from _delete(run, run.c.id.in_([row[0] for row in found]), budget)
    return erased


def _erase_threads(events: list[str], origins: list[str], people: list[str], budget: _Budget) -> Questions[None]:
    """Delete what belongs to some events, then the events. Decisions about the people stay: they lead here again."""
    tried = and_(attempt.c.event.in_(events), _since(attempt, events))
    ended: set[str] = set()
    for column, condition in ((cancelled.c.delivery, cancelled.c.event.in_(events)), (attempt.c.delivery, tried)):
        rows = yield select(column).where(condition).distinct()
        ended |= {row[0] for row in rows}
    if ended:
        yield from _delete(rendered, rendered.c.delivery.in_(sorted(ended)), budget)
    yield from _erase_queued(events, budget)
    yield from _delete(cancelled, cancelled.c.event.in_(events), budget)
    yield from _delete(attempt, tried, budget)
    others = and_(decision.c.event.in_(events), decision.c.profile.not_in(people), _since(decision, events))
    yield from _delete(decision, others, budget)
    yield from _delete(decision_work, decision_work.c.id.in_(events), budget)
    # Spelled out, so that the index of the duplicates is used.
    repeats = and_(request.c.event.in_(events), text("request.outcome = 'duplicate'"))
    came = or_(request.c.id.in_(origins), repeats) if origins else repeats
    yield from _delete(request, and_(came, _since(request, events)), budget)
    yield from _delete(event, and_(event.c.id.in_(events), _since(event, events)), budget)


def _erase_queued(events: list[str], budget: _Budget) -> Questions[None]:
    """Delete the deliveries of some events that are still queued, until none is: one may be queued anew meanwhile."""
    theirs = select(delivery.c.id).where(delivery.c.event.in_(events))
    while budget.left > 0:
        found = yield theirs.limit(max(budget.left // 2, 1))  # so that what was rendered for them fits as well
        if not found:
            return
        queued = [row[0] for row in found]
        yield from _delete(rendered, rendered.c.delivery.in_(queued), budget)
        yield from _delete(delivery, delivery.c.id.in_(queued), budget)


def _since(table: Table, events: Sequence[str]) -> ColumnElement[bool]:
    """Say that rows are no older than the oldest of some events."""
    times = {identifier: time_of(identifier) for identifier in events}
    known = {identifier: at_ms for identifier, at_ms in times.items() if at_ms is not None}
    if len(known) < len(times):
        return true()
    return since_id(table, min(known, key=known.__getitem__))


def _delete(table: Table, condition: ColumnElement[bool], budget: _Budget) -> Questions[None]:
    """Delete rows as far as the budget goes."""
    if budget.left <= 0:
        return
    key = list(table.primary_key.columns)
    chosen = select(*key).where(condition).limit(budget.left)
    place = tuple_(*key) if len(key) > 1 else key[0]
    gone = yield delete(table).where(place.in_(chosen)).returning(key[0])
    budget.left -= len(gone)
