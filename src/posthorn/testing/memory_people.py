"""The store in memory: what is remembered of people, for deciding and for reading, and forgetting them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeAlias, TypeVar

from posthorn.engine.people import Profile, ProfilePage, ProfileQuery
from posthorn.engine.profiles import user_profile
from posthorn.engine.records import Attempt, Recall, Recalled
from posthorn.engine.runs import Run, RunPage, RunQuery, RunState, entering_event
from posthorn.testing.memory_tables import TableReader

Row = TypeVar("Row")
Place = TypeVar("Place")
Deletion: TypeAlias = Callable[[], object]


class MemoryPeople(TableReader):
    """Recall, profiles, runs, erase.

    Pages are in the order of user ids and of falling ids of runs; backwards gives the rows next before `after` and
    without it the last ones, still in that order.
    """

    async def recall(self, wanted: Recall) -> Recalled:
        """Return what is known. An active run is found by its profile, any run by its id."""
        tables = self._tables
        return Recalled(
            firings={key: tables.firings[key] for key in wanted.firings if key in tables.firings},
            counts={place: tables.counts[place] for place in wanted.counts if place in tables.counts},
            profiles={key: tables.profiles[key] for key in wanted.profiles if key in tables.profiles},
            runs={
                run.id: run
                for run in tables.runs.values()
                if run.id in wanted.runs or (run.state is RunState.ACTIVE and run.profile in wanted.active_runs)
            },
            answers=self._answers(wanted.answers),
        )

    def _answers(self, deliveries: Iterable[str]) -> dict[str, Attempt]:
        answers: dict[str, Attempt] = {}
        for attempt in (numbered.row for numbered in self._tables.attempts.values()):
            known = answers.get(attempt.delivery)
            if attempt.delivery in deliveries and (known is None or known.number < attempt.number):
                answers[attempt.delivery] = attempt
        return answers

    async def profile(self, key: str) -> Profile | None:
        """Return one profile, also one that was merged away."""
        return self._tables.profiles.get(key)

    async def profiles(self, query: ProfileQuery) -> ProfilePage:
        """List profiles that were not merged away, all or the members of a segment."""
        rows = [
            row
            for row in self._tables.profiles.values()
            if row.workspace == query.workspace
            and row.merged_into is None
            and (query.segment is None or (query.segment, row.key) in self._tables.members)
        ]
        found, more = _page(rows, lambda row: row.user, query, falling=False)
        return ProfilePage(profiles=found, more=more)

    async def run(self, workspace: str, identifier: str) -> Run | None:
        """Return one run of this workspace."""
        run = self._tables.runs.get(identifier)
        return run if run is not None and run.workspace == workspace else None

    async def runs(self, query: RunQuery) -> RunPage:
        """List runs of a workspace by automation, profile or state."""
        rows = [
            run
            for run in self._tables.runs.values()
            if run.workspace == query.workspace
            and query.automation in (None, run.automation)
            and query.profile in (None, run.profile)
            and query.state in (None, run.state)
        ]
        found, more = _page(rows, lambda run: run.id, query, falling=True)
        return RunPage(runs=found, more=more)

    async def run_counts(self, workspace: str, automation: str) -> dict[str, int]:
        """Count an automation's runs by state. A state without runs is absent."""
        place = (workspace, automation)
        runs = [run for run in self._tables.runs.values() if (run.workspace, run.automation) == place]
        return dict(Counter(run.state.value for run in runs))

    async def erase(self, key: str, *, most: int) -> int:
        """Delete rows of a person and of whoever was merged into them; the profiles go last, in one piece if they fit.

        A person's events are those of their user ids, and those that they were let in by, which may be gone
        themselves. What belongs to an event goes before it; timers go first, so that none queues more meanwhile.
        """
        people = self._people(key)
        profiles = _where(self._tables.profiles, lambda place, _: place in people)
        victims = [*self._of_events(people), *self._of_profiles(people)][:most]
        if not victims or len(victims) + len(profiles) <= most:
            victims += profiles[:most]
        for delete in victims:
            delete()
        self._tables.commits += 1
        return len(victims)

    def _people(self, key: str) -> dict[str, tuple[str, str]]:
        """Find the person's profiles: their keys, each with workspace and user id."""
        workspace, _, user = key.partition("/user/")
        people: dict[str, tuple[str, str]] = {}
        found = [(key, workspace, user)]
        while found:
            place, workspace, user = found.pop()
            if place in people:
                continue
            people[place] = (workspace, user)
            known = self._tables.profiles.get(place)
            aliases = known.aliases if known is not None else ()
            found += [(user_profile(workspace, alias), workspace, alias) for alias in aliases]
            merged = [row for row in self._tables.profiles.values() if row.merged_into == place]
            found += [(row.key, row.workspace, row.user) for row in merged]
        return people

    def _of_events(self, people: dict[str, tuple[str, str]]) -> Iterator[Deletion]:
        tables = self._tables
        owners = set(people.values())
        theirs = {one.row.id: one.row for one in tables.events.values() if (one.row.workspace, one.row.user) in owners}
        requests = {event.request for event in theirs.values()}
        events = {one.row.event for one in tables.decisions.values() if one.row.profile in people}
        events |= {entering_event(run.document) or "" for run in tables.runs.values() if run.profile in people}
        events |= theirs.keys()
        yield from _where(tables.timers, lambda _, row: row.profile in people)
        yield from _where(tables.deliveries, lambda _, row: row.event in events)
        yield from _where(tables.attempts, lambda _, one: one.row.event in events)
        others = {place for place, one in tables.decisions.items() if one.row.profile not in people}
        yield from _where(tables.decisions, lambda place, one: place in others and one.row.event in events)
        yield from _where(tables.undecided, lambda _, row: row.event in events)
        yield from _where(tables.requests, lambda place, one: one.row.event in events or place in requests)
        yield from _where(tables.events, lambda place, _: place in events)
        yield from _where(tables.decisions, lambda place, _: place not in others)  # that lead to the events

    def _of_profiles(self, people: dict[str, tuple[str, str]]) -> Iterator[Deletion]:
        tables = self._tables
        yield from _where(tables.runs, lambda _, row: row.profile in people)
        yield from _where(tables.members, lambda place, _: place[1] in people)
        yield from _where(tables.firings, lambda place, _: place.profile in people)
        yield from _where(tables.counts, lambda place, _: place[0] in people)


def _page(
    rows: list[Row], key: Callable[[Row], str], query: ProfileQuery | RunQuery, *, falling: bool
) -> tuple[list[Row], bool]:
    downwards = falling != query.backwards
    after = query.after
    walked = [
        row
        for row in sorted(rows, key=key, reverse=downwards)
        if after is None or (key(row) < after if downwards else key(row) > after)
    ]
    found = walked[: query.limit]
    return found[::-1] if query.backwards else found, len(walked) > query.limit


def _where(table: dict[Place, Row], is_theirs: Callable[[Place, Row], bool]) -> list[Deletion]:
    return [partial(table.pop, place) for place, row in table.items() if is_theirs(place, row)]
