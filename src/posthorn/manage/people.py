"""People: looking at them, changing them by events, exporting and forgetting them."""

from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from posthorn.engine.directory import Directory
from posthorn.engine.people import EventContext, Profile, ProfileChange, ProfileQuery
from posthorn.engine.ports import Journal
from posthorn.engine.ports import People as PeopleStore
from posthorn.engine.profiles import user_profile
from posthorn.engine.records import EventCount
from posthorn.engine.resources import Segment
from posthorn.errors import Invalid, NotFound
from posthorn.manage.appending import Appender
from posthorn.manage.dossiers import Dossier
from posthorn.manage.registrar import PageOf
from posthorn.receive.people import LONGEST_USER, check_change

PROFILE_UPDATED = "profile.updated"
_ROWS_PER_PIECE = 500
_MOST_PIECES = 20


class KnownPeople(PeopleStore, Journal, Protocol):
    """What is remembered of people, their counters and their journal."""

    async def event_counts(self, profile: str) -> list[EventCount]:
        """Return the profile's counters, by type."""
        ...


class Member(Struct, frozen=True, kw_only=True):
    """A segment that a person is in, and since when (ms)."""

    segment: Segment
    since_ms: int


class Person(Struct, frozen=True, kw_only=True):
    """A profile with its counters and its segments."""

    profile: Profile
    counts: Sequence[EventCount]
    segments: Sequence[Member]


class Erasure(Struct, frozen=True, kw_only=True):
    """How many rows one call deleted, and whether nothing is left."""

    rows: int
    is_done: bool


class People:
    """Finds, changes and forgets people. A user id that was merged into another one stands for that person."""

    def __init__(self, store: KnownPeople, directory: Directory, appender: Appender) -> None:
        self._store = store
        self._directory = directory
        self._appender = appender

    async def find(self, workspace: str, user: str) -> Profile:
        """Return the profile of a person; raises NotFound."""
        found = await self.seek(workspace, user)
        if found is None:
            raise NotFound("there is no profile of this user")
        return found

    async def seek(self, workspace: str, user: str) -> Profile | None:
        """Return the profile of a person, or None."""
        return (await self._follow(workspace, user))[1]

    async def _follow(self, workspace: str, user: str) -> tuple[str, Profile | None]:
        """Return the key of whom a user id stands for, and the profile unless it is still to be made."""
        check_user(user)
        key = user_profile(workspace, user)
        seen: set[str] = set()
        while key not in seen:
            seen.add(key)
            profile = await self._store.profile(key)
            if profile is None or profile.merged_into is None:
                return key, profile
            key = profile.merged_into
        return key, None

    async def get(self, workspace: str, user: str) -> Person:
        """Return all that is known of a person; raises NotFound."""
        profile = await self.find(workspace, user)
        counts = await self._store.event_counts(profile.key)
        return Person(profile=profile, counts=counts, segments=self.segments_of(profile))

    def segments_of(self, profile: Profile) -> list[Member]:
        """Return the segments that a person is in and that still exist."""
        found = ((self._directory.segment(profile.workspace, name), since) for name, since in profile.segments.items())
        return [Member(segment=segment, since_ms=since) for segment, since in found if segment is not None]

    async def list(self, workspace: str, page: PageOf, *, segment: str | None = None) -> tuple[list[Profile], bool]:
        """Return a page of profiles by user id, and whether nothing follows; of a segment (its id) or all."""
        found = await self._store.profiles(
            ProfileQuery(
                workspace=workspace, segment=segment, after=page.after, backwards=page.backwards, limit=page.limit
            )
        )
        return list(found.profiles), not found.more

    async def change(self, workspace: str, user: str, change: ProfileChange) -> str:
        """Append what changes a person, and return the event's id: the change is there once that is decided.

        Raises Invalid for what nobody could apply, Overloaded, StoreUnavailable.
        """
        check_user(user)
        check_change(change, user)
        if change.merge_into is not None:
            await self._refuse_circle(workspace, user, change.merge_into)
        return await self._appender.append(
            workspace,
            PROFILE_UPDATED,
            user_profile(workspace, user),
            msgspec.json.encode(change),
            context=EventContext(changes=change),
        )

    async def _refuse_circle(self, workspace: str, user: str, into: str) -> None:
        target = await self.seek(workspace, into)
        person = await self.seek(workspace, user)
        if target is not None and person is not None and target.key == person.key and target.user != into:
            raise Invalid.at("mergeInto", msg="this user id was merged into the same person already")

    async def erase(self, workspace: str, user: str) -> Erasure:
        """Forget a person, whoever was merged into them, and all of their journal: up to 10,000 rows in one call.

        Whoever asks calls again until it is done. A person of whom nothing is known is forgotten already.
        """
        key, _ = await self._follow(workspace, user)
        rows = 0
        for _ in range(_MOST_PIECES):
            gone = await self._store.erase(key, most=_ROWS_PER_PIECE)
            if gone == 0:
                return Erasure(rows=rows, is_done=True)
            rows += gone
        return Erasure(rows=rows, is_done=False)

    async def dossier(self, workspace: str, user: str) -> Dossier:
        """Return everything that is kept of a person, to be read piece by piece.

        Raises NotFound when there is neither a profile nor an event of this user.
        """
        profile = await self.seek(workspace, user)
        users = (user,) if profile is None else (profile.user, *profile.aliases)
        counts = await self._store.event_counts(profile.key) if profile is not None else []
        dossier = Dossier(self._store, workspace=workspace, users=users, profile=profile, counts=counts)
        if profile is None and not await dossier.has_events():
            raise NotFound("there is no profile and no event of this user")
        return dossier


def check_user(user: str) -> None:
    """Refuse a user id that nobody can have. Raises Invalid at ("path", "user")."""
    if not 1 <= len(user) <= LONGEST_USER or "\0" in user:
        raise Invalid.at("path", "user", msg=f"a user id has 1 to {LONGEST_USER} characters, none of them U+0000")
