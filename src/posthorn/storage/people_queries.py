"""Questions about people and runs."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal_column, select

from posthorn.engine.people import Profile, ProfilePage, ProfileQuery
from posthorn.engine.profiles import user_profile
from posthorn.engine.runs import Run, RunPage, RunQuery, RunState
from posthorn.storage.people_rows import to_profile, to_run
from posthorn.storage.questions import AnySelect, Filtered, Questions
from posthorn.storage.tables import member, profile, run

_RUN = [
    run.c.id, run.c.workspace, run.c.automation, run.c.version, run.c.profile, run.c.key, run.c.state,
    run.c.entered_ms, run.c.changed_ms, run.c.wake_ms, run.c.document,
]  # fmt: skip


def one_profile(key: str) -> Questions[Profile | None]:
    """Ask for one profile, also one that was merged away."""
    rows = yield select(profile.c.document).where(profile.c.key == key)
    return to_profile(rows[0][0]) if rows else None


def profiles(query: ProfileQuery) -> Questions[ProfilePage]:
    """Ask for a page of profiles by user id, all or the members of a segment."""
    statement, place = _all(query) if query.segment is None else _members(query, query.segment)
    after = query.after
    if after is not None and query.segment is not None:
        after = user_profile(query.workspace, after)
    rows = yield _cut(statement, place, after, limit=query.limit, downwards=query.backwards)
    found = [to_profile(row[0]) for row in rows[: query.limit]]
    return ProfilePage(profiles=found[::-1] if query.backwards else found, more=len(rows) > query.limit)


def _all(query: ProfileQuery) -> tuple[AnySelect, ColumnElement[str]]:
    statement = select(profile.c.document).where(profile.c.workspace == query.workspace, profile.c.merged.is_(None))
    return statement, profile.c.user


def _members(query: ProfileQuery, segment: str) -> tuple[AnySelect, ColumnElement[str]]:
    # The keys of a workspace's profiles have one beginning, so that their order is that of the user ids.
    statement = (
        select(profile.c.document)
        .select_from(member.join(profile, profile.c.key == member.c.profile))
        .where(member.c.segment == segment)
        .where(Filtered(profile.c.workspace) == query.workspace, Filtered(profile.c.merged).is_(None))
    )
    return statement, member.c.profile


def one_run(workspace: str, identifier: str) -> Questions[Run | None]:
    """Ask for one run, whole."""
    rows = yield select(*_RUN).where(run.c.id == identifier, run.c.workspace == workspace)
    return to_run(rows[0]) if rows else None


def runs(query: RunQuery) -> Questions[RunPage]:
    """Ask for a page of runs, newest first.

    Those of an automation are asked for state by state: the index that finds them so also counts them.
    """
    states: Sequence[RunState | None] = [query.state]
    if query.state is None and query.automation is not None and query.profile is None:
        states = list(RunState)
    found: list[Any] = []
    for state in states:
        found += yield _cut(
            _runs(query, state), run.c.id, query.after, limit=query.limit, downwards=not query.backwards
        )
    found.sort(key=lambda row: row[0], reverse=not query.backwards)
    page = [to_run(row) for row in found[: query.limit]]
    return RunPage(runs=page[::-1] if query.backwards else page, more=len(found) > query.limit)


def _runs(query: RunQuery, state: RunState | None) -> Select[Any]:
    statement = select(*_RUN).where(Filtered(run.c.workspace) == query.workspace)
    if query.profile is not None:
        statement = statement.where(run.c.profile == query.profile)
    is_indexed = query.profile is None
    if query.automation is not None:
        statement = statement.where(
            (run.c.automation if is_indexed else Filtered(run.c.automation)) == query.automation
        )
    if state is not None:
        is_indexed = is_indexed and query.automation is not None
        statement = statement.where((run.c.state if is_indexed else Filtered(run.c.state)) == state.value)
    return statement


def run_counts(workspace: str, automation: str) -> Questions[dict[str, int]]:
    """Ask how many runs of an automation there are, by state. An automation's runs are all of its workspace."""
    of_it = run.c.automation == automation
    one = yield select(run.c.workspace).where(of_it).limit(1)
    if not one or one[0][0] != workspace:
        return {}
    rows = yield select(run.c.state, func.count(literal_column("*"))).where(of_it).group_by(run.c.state)
    return {row[0]: row[1] for row in rows}


def _cut(
    statement: AnySelect, place: ColumnElement[str], after: str | None, *, limit: int, downwards: bool
) -> AnySelect:
    """Take a page and one row more, which is the sign that more follows."""
    if after is not None:
        statement = statement.where(place < after if downwards else place > after)
    return statement.order_by(place.desc() if downwards else place.asc()).limit(limit + 1)
