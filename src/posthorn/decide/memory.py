"""What is known while a batch is decided: what the store remembers, and on top of it what the batch changed."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from posthorn.engine.people import Profile, ProfilePage, ProfileQuery
from posthorn.engine.records import Attempt, EligibilityKey, EventCount, Firing, Recall, Recalled
from posthorn.engine.runs import Run, RunState
from posthorn.templating import FAILED, ContentKey, ContentRequest, ContentResponse

K = TypeVar("K")
V = TypeVar("V")


class Missing(Exception):
    """Something was looked up that nobody recalled yet. Whoever decides asks the store and begins the batch anew."""

    def __init__(
        self, wanted: Recall | None = None, *, page: ProfileQuery | None = None, content: "Content | None" = None
    ) -> None:
        super().__init__("not recalled yet")
        self.wanted = wanted or Recall()
        self.page = page
        self.content = content


class Content(Struct, frozen=True, kw_only=True):
    """A request that a template makes while it is rendered, for a workspace."""

    workspace: str
    request: ContentRequest


class Wanted(Struct, frozen=True, kw_only=True):
    """All that a batch has to be told before it can be decided."""

    recall: Recall = Recall()
    pages: tuple[ProfileQuery, ...] = ()
    contents: tuple[Content, ...] = ()

    def with_miss(self, miss: Missing) -> "Wanted":
        """Add what was missed."""
        return Wanted(
            recall=union(self.recall, miss.wanted),
            pages=(*self.pages, miss.page) if miss.page is not None else self.pages,
            contents=(*self.contents, miss.content) if miss.content is not None else self.contents,
        )


class Memory:
    """Looks up, and remembers what was asked for: what was not recalled is missing, and never taken for absent."""

    def __init__(self) -> None:
        self.asked = Recall()
        self._recalled = Recalled()
        self._active: dict[str, list[str]] = {}
        self._firings: dict[EligibilityKey, Firing] = {}
        self._added: dict[tuple[str, str], EventCount] = {}  #: what the batch adds to counters
        self._profiles: dict[str, Profile] = {}
        self._runs: dict[str, Run] = {}
        self._pages: dict[bytes, ProfilePage] = {}
        self._contents: dict[str, dict[ContentKey, ContentResponse]] = {}

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

    def allow(self, miss: Missing) -> None:
        """Let what was missed count as absent, where there is nothing to ask: when an automation is only tried."""
        self.asked = union(self.asked, miss.wanted)
        if miss.page is not None:
            self.learn_page(miss.page, ProfilePage(profiles=(), more=False))
        if miss.content is not None:
            self.contents(miss.content.workspace)[miss.content.request.key()] = FAILED

    def begin(self) -> None:
        """Forget what the batch changed."""
        self._firings = {}
        self._added = {}
        self._profiles = {}
        self._runs = {}
        self._active = {}
        for run in self._recalled.runs.values():
            if run.state is RunState.ACTIVE:
                self._active.setdefault(run.profile, []).append(run.id)

    def firing(self, key: EligibilityKey) -> Firing | None:
        """Return when something fired last."""
        if key in self._firings:
            return self._firings[key]
        return _found(key, self.asked.firings, self._recalled.firings, Recall(firings=frozenset({key})))

    def put_firing(self, key: EligibilityKey, firing: Firing) -> None:
        """Remember a firing."""
        self._firings[key] = firing

    def count(self, profile: str, event_type: str) -> EventCount | None:
        """Return a counter."""
        key = (profile, event_type)
        kept = _found(key, self.asked.counts, self._recalled.counts, Recall(counts=frozenset({key})))
        added = self._added.get(key)
        return _sum(kept, added) if kept is not None and added is not None else kept or added

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
        found = self._pages.get(msgspec.json.encode(query))
        if found is None:
            raise Missing(page=query)
        return found

    def contents(self, workspace: str) -> dict[ContentKey, ContentResponse]:
        """Return the answers to requests that templates of a workspace make."""
        return self._contents.setdefault(workspace, {})

    def learn_page(self, query: ProfileQuery, page: ProfilePage) -> None:
        """Add a page of profiles."""
        self._pages[msgspec.json.encode(query)] = page

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
