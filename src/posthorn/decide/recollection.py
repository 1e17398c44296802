"""What a rehearsal knows: the past as the store has it, asked for when it is looked up; nothing is written there."""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from posthorn import ids
from posthorn.decide.memory import Memory, Missing
from posthorn.engine.people import Profile, ProfilePage, ProfileQuery
from posthorn.engine.records import Attempt, EligibilityKey, EventCount, Firing, Recall, Recalled
from posthorn.engine.runs import Run
from posthorn.templating import FAILED, ContentKey, ContentResponse

V = TypeVar("V")


class Past(Protocol):
    """What is remembered. It is asked from a thread, which waits for the answer."""

    def recall(self, wanted: Recall) -> Recalled:
        """Return what is remembered."""
        ...

    def page(self, query: ProfileQuery) -> ProfilePage:
        """Return a page of profiles."""
        ...

    def fired_ms(self, automation: str, profile: str, *, before_ms: int) -> int | None:
        """Return when an automation fired last for a profile before an instant, as far as the journal goes back."""
        ...


class _Failures(dict[ContentKey, ContentResponse]):
    """Answers every request of a template with a failure, and remembers that there was one: nobody is called."""

    is_asked = False

    def get(self, key: ContentKey, default: Any = None, /) -> Any:  # noqa: ARG002 - dict's
        """Return the failure."""
        self.is_asked = True
        return FAILED


class TrialMemory(Memory):
    """Asks for what is missing on the spot, so that nothing is decided, and counted, twice."""

    def __init__(self, past: Past) -> None:
        super().__init__()
        self._past = past
        # These grow in place: a copy for each answer would cost more than the answers.
        parts: dict[str, Any] = {name: set() for name in Recall.__struct_fields__}
        self.asked = Recall(**parts)
        found: dict[str, Any] = {name: {} for name in Recalled.__struct_fields__}
        self._recalled = Recalled(**found)
        self._failures = _Failures()

    @property
    def wanted_content(self) -> bool:
        """Whether a template wanted something fetched."""
        return self._failures.is_asked

    def learn(self, asked: Recall, recalled: Recalled) -> None:
        """Add what the store answered. What the rehearsal changed so far stays on top of it."""
        for name in Recall.__struct_fields__:
            getattr(self.asked, name).update(getattr(asked, name))
        for name in Recalled.__struct_fields__:
            getattr(self._recalled, name).update(getattr(recalled, name))
        for run in recalled.runs.values():
            if run.id not in self._runs:
                self._list(run)

    def ask(self, wanted: Recall) -> None:
        """Ask the past, and learn what it answers."""
        self.learn(wanted, self._past.recall(wanted))

    def firing(self, key: EligibilityKey) -> Firing | None:
        """Return when something fired last."""
        return self._told(lambda: super(TrialMemory, self).firing(key))

    def count(self, profile: str, event_type: str) -> EventCount | None:
        """Return a counter."""
        return self._told(lambda: super(TrialMemory, self).count(profile, event_type))

    def profile(self, key: str) -> Profile | None:
        """Return a profile."""
        return self._told(lambda: super(TrialMemory, self).profile(key))

    def run(self, identifier: str) -> Run | None:
        """Return a run."""
        return self._told(lambda: super(TrialMemory, self).run(identifier))

    def active_runs(self, profile: str) -> list[Run]:
        """Return the active runs of a profile, the oldest first."""
        return self._told(lambda: super(TrialMemory, self).active_runs(profile))

    def answer(self, delivery: str) -> Attempt | None:
        """Return the last attempt of a delivery."""
        return self._told(lambda: super(TrialMemory, self).answer(delivery))

    def page(self, query: ProfileQuery) -> ProfilePage:
        """Return a page of profiles."""
        if query not in self._pages:
            self.learn_page(query, self._past.page(query))
        return self._pages[query]

    def contents(self, work: str) -> dict[ContentKey, ContentResponse]:  # noqa: ARG002 - the same for all
        """Return failures."""
        return self._failures

    def drawn(self, work: str, number: int, prefix: str, now_ms: int) -> str:  # noqa: ARG002 - nothing is decided anew
        """Return a new id."""
        return ids.new_id(prefix, now_ms)

    def _told(self, look: Callable[[], V]) -> V:
        while True:
            try:
                return look()
            except Missing as miss:
                self.ask(miss.wanted.recall)

    def _list(self, run: Run) -> None:
        known = self._active.setdefault(run.profile, [])
        if run.id not in known:
            known.append(run.id)
