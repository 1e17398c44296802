"""What is known while a batch is decided: what the store remembers, and on top of it what the batch changed."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import reduce
from typing import Self, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from posthorn import ids
from posthorn.engine.people import Profile, ProfilePage, ProfileQuery
from posthorn.engine.records import Attempt, EligibilityKey, EventCount, Firing, Recall, Recalled
from posthorn.engine.runs import Run, RunPage, RunQuery, RunState
from posthorn.templating import ContentKey, ContentRequest, ContentResponse

Draw = Callable[[str, int], str]
"""Draws an id of a kind for an instant: a new one with each call."""
K = TypeVar("K")
V = TypeVar("V")


class Missing(Exception):
    """Something was looked up that nobody recalled yet. Whoever decides asks the store and begins the batch anew."""

    def __init__(
        self,
        wanted: Recall | None = None,
        *,
        page: ProfileQuery | RunQuery | None = None,
        content: "Content | None" = None,
    ) -> None:
        super().__init__("not recalled yet")
        self.wanted = Wanted(
            recall=wanted or Recall(),
            pages=(page,) if page is not None else (),
            contents=(content,) if content is not None else (),
        )


class Content(Struct, frozen=True, kw_only=True):
    """A request that a template makes while it is rendered, for a workspace, while a piece of work is decided."""

    workspace: str
    work: str
    request: ContentRequest


class Wanted(Struct, frozen=True, kw_only=True):
    """All that a batch has to be told before it can be decided."""

    recall: Recall = Recall()
    pages: tuple[ProfileQuery | RunQuery, ...] = ()
    contents: tuple[Content, ...] = ()

    def __or__(self, other: "Wanted") -> "Wanted":
        """Return what both want."""
        return Wanted(
            recall=union(self.recall, other.recall),
            pages=tuple(dict.fromkeys((*self.pages, *other.pages))),
            contents=tuple(dict.fromkeys((*self.contents, *other.contents))),
        )


class Misses:
    """Collects what is missing in several parts of one decision, so that all of it is asked for at once."""

    def __init__(self) -> None:
        self._wanted = Wanted()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, Missing):
            self._wanted |= error.wanted
            return True
        return False

    def settle(self) -> None:
        """Raise Missing for all that was collected, if anything was."""
        if self._wanted != Wanted():
            miss = Missing()
            miss.wanted = self._wanted
            raise miss


class Memory:
    """Looks up, and remembers what was asked for: what was not recalled is missing, and never taken for absent."""

    def __init__(self, draw: Draw = ids.new_id) -> None:
        self.asked = Recall()
        self._draw = draw
        self._recalled = Recalled()
        self._active: dict[str, list[str]] = {}
        self._firings: dict[EligibilityKey, Firing] = {}
        self._added: dict[tuple[str, str], EventCount] = {}  #: what the batch adds to counters
        self._profiles: dict[str, Profile] = {}
        self._absorbed: dict[str, list[str]] = {}  #: by profile, those that it took over in this batch
        self._summed: set[tuple[EligibilityKey, str]] = set()  #: firings that count those of an absorbed profile
        self._runs: dict[str, Run] = {}
        self._pages: dict[ProfileQuery, ProfilePage] = {}
        self._run_pages: dict[RunQuery, RunPage] = {}
        self._contents: dict[str, dict[ContentKey, ContentResponse]] = {}
        self._drawn: dict[tuple[str, int, str], str] = {}
        self._instants: dict[str, int] = {}

    def learn(self, asked: Recall, recalled: Recalled) -> None:
        """Add what the store answered, and forget what the batch changed so far: it is decided anew."""
        self.asked = union(self.asked, asked)
        self._recalled = Recalled(
            firings={**self._recalled.firings, **recalled.firings},
            counts={**self._recalled.counts, **recalled.counts},
            profiles={**self._recalled.profiles, **recalled.profiles},
            runs={**self._recalled.runs, **recalled.runs},
            answers={**self._recalled.answers, **recalled.answers},
        )
        self.begin()

    def begin(self) -> None:
        """Forget what the batch changed."""
        self._firings = {}
        self._added = {}
        self._profiles = {}
        self._absorbed = {}
        self._summed = set()
        self._runs = {}
        self._active = {}
        for run in self._recalled.runs.values():
            if run.state is RunState.ACTIVE:
                self._active.setdefault(run.profile, []).append(run.id)

    def firing(self, key: EligibilityKey) -> Firing | None:
        """Return when something fired last."""
        firing = self._firings.get(key)
        if firing is None:
            firing = _found(key, self.asked.firings, self._recalled.firings, Recall(firings=frozenset({key})))
        for profile in self._absorbed.get(key.profile, ()):
            theirs = self.firing(replace(key, profile=profile)) if (key, profile) not in self._summed else None
            if theirs is not None:
                times, last_ms = (firing.times, firing.last_ms) if firing is not None else (0, theirs.last_ms)
                firing = Firing(times=times + theirs.times, last_ms=max(last_ms, theirs.last_ms))
        return firing

    def put_firing(self, key: EligibilityKey, firing: Firing) -> None:
        """Remember a firing."""
        self._firings[key] = firing
        self._summed.update((key, profile) for profile in self._absorbed.get(key.profile, ()))

    def absorb(self, profile: str, into: str) -> None:
        """Let counters and firings of a profile count for another one, as the store does from the commit on."""
        self._absorbed.setdefault(into, []).append(profile)

    def count(self, profile: str, event_type: str) -> EventCount | None:
        """Return a counter."""
        key = (profile, event_type)
        kept = _found(key, self.asked.counts, self._recalled.counts, Recall(counts=frozenset({key})))
        parts = [kept, self._added.get(key)]
        parts += [self.count(absorbed, event_type) for absorbed in self._absorbed.get(profile, ())]
        found = [part for part in parts if part is not None]
        return reduce(_sum, found) if found else None

    def add_count(self, profile: str, event_type: str, at_ms: int) -> None:
        """Count one more; what was counted before need not be known for that."""
        one = EventCount(profile=profile, type=event_type, count=1, first_ms=at_ms, last_ms=at_ms)
        added = self._added.get((profile, event_type))
        self._added[profile, event_type] = _sum(added, one) if added is not None else one

    def profile(self, key: str) -> Profile | None:
        """Return a profile."""
        if key in self._profiles:
            return self._profiles[key]
        return _found(key, self.asked.profiles, self._recalled.profiles, Recall(profiles=frozenset({key})))

    def put_profile(self, profile: Profile) -> None:
        """Remember a profile."""
        self._profiles[profile.key] = profile

    def run(self, identifier: str) -> Run | None:
        """Return a run."""
        if identifier in self._runs:
            return self._runs[identifier]
        found = self._recalled.runs.get(identifier)
        if found is None and identifier not in self.asked.runs:
            raise Missing(Recall(runs=frozenset({identifier})))
        return found

    def active_runs(self, profile: str) -> list[Run]:
        """Return the active runs of a profile, the oldest first."""
        if profile not in self.asked.active_runs:
            raise Missing(Recall(active_runs=frozenset({profile})))
        runs = [self._runs.get(run) or self._recalled.runs[run] for run in self._active.get(profile, ())]
        return sorted((run for run in runs if run.state is RunState.ACTIVE), key=lambda run: run.id)

    def put_run(self, run: Run) -> None:
        """Remember a run."""
        known = self._active.setdefault(run.profile, [])
        if run.id not in known:
            known.append(run.id)
        self._runs[run.id] = run

    def page(self, query: ProfileQuery) -> ProfilePage:
        """Return a page of profiles."""
        found = self._pages.get(query)
        if found is None:
            raise Missing(page=query)
        return found

    def run_page(self, query: RunQuery) -> RunPage:
        """Return a page of runs, as the store has them."""
        found = self._run_pages.get(query)
        if found is None:
            raise Missing(page=query)
        return found

    def contents(self, work: str) -> dict[ContentKey, ContentResponse]:
        """Return the answers to requests that templates make while a piece of work is decided."""
        return self._contents.setdefault(work, {})

    def drawn(self, work: str, number: int, prefix: str, now_ms: int) -> str:
        """Return the id that a piece of work draws as its n-th."""
        name = (work, number, prefix)
        found = self._drawn.get(name)
        if found is None:
            found = self._drawn[name] = self._draw(prefix, now_ms)
        return found

    def instant(self, work: str, now_ms: int) -> int:
        """Return when a piece of work is decided: the first time it was tried."""
        return self._instants.setdefault(work, now_ms)

    def learn_page(self, query: ProfileQuery, page: ProfilePage) -> None:
        """Add a page of profiles."""
        self._pages[query] = page

    def learn_run_page(self, query: RunQuery, page: RunPage) -> None:
        """Add a page of runs."""
        self._run_pages[query] = page

    def answer(self, delivery: str) -> Attempt | None:
        """Return the last attempt of a delivery."""
        return _found(delivery, self.asked.answers, self._recalled.answers, Recall(answers=frozenset({delivery})))


def _found(key: K, asked: AbstractSet[K], known: Mapping[K, V], wanted: Recall) -> V | None:
    found = known.get(key)
    if found is None and key not in asked:
        raise Missing(wanted)
    return found


def _sum(left: EventCount, right: EventCount) -> EventCount:
    return EventCount(
        profile=left.profile,
        type=left.type,
        count=left.count + right.count,
        first_ms=min(left.first_ms, right.first_ms),
        last_ms=max(left.last_ms, right.last_ms),
    )


def union(left: Recall, right: Recall) -> Recall:
    """Return what both ask for."""
    return replace(
        left,
        firings=left.firings | right.firings,
        counts=left.counts | right.counts,
        profiles=left.profiles | right.profiles,
        active_runs=left.active_runs | right.active_runs,
        runs=left.runs | right.runs,
        answers=left.answers | right.answers,
    )
