"""The memory of a simulation: what was known at its beginning, and on top of it what it changes."""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from posthorn.decide.hindsight import Hindsight
from posthorn.decide.recollection import Past, TrialMemory
from posthorn.engine.people import Profile, ProfilePage, ProfileQuery
from posthorn.engine.records import Attempt, EligibilityKey, Firing, Recall, Recalled
from posthorn.engine.runs import Run, RunState, Timer, TimerKind, timer_of

_AT_ONCE = 500
_NOBODY = ProfilePage(profiles=(), more=False)
_NONE: frozenset[str] = frozenset()


class RewoundMemory(TrialMemory):
    """Knows people as they were at an instant, as far as that can be told. No run is under way there."""

    def __init__(self, past: Past, hindsight: Hindsight, *, most_people: int, most_firings: int) -> None:
        super().__init__(past)
        self._hindsight = hindsight
        self._room = most_people
        self._lookups = most_firings
        self._entering: list[Timer] = []
        self.is_cut = False  #: whether there are more people than were listed
        self.is_forgetful = False  #: whether firings from before were looked up no more

    def ask(self, wanted: Recall) -> None:
        """Ask the past, and learn what it answers as it was then."""
        asked = replace(wanted, active_runs=_NONE, runs=_NONE, answers=_NONE)
        recalled = self._past.recall(asked) if asked != Recall() else Recalled()
        self._expect(recalled.profiles.values())
        known = self._hindsight.before(recalled)
        self.learn(wanted, replace(known, firings={**known.firings, **self._earlier(recalled.firings)}))

    def ask_ahead(self, wanted: Recall) -> None:
        """Ask for what will be looked up, as far as it is not known: at once, and not one by one."""
        profiles = sorted(wanted.profiles - self.asked.profiles)
        for first in range(0, len(profiles), _AT_ONCE):
            self.ask(Recall(profiles=frozenset(profiles[first : first + _AT_ONCE])))
        rest = Recall(firings=wanted.firings - self.asked.firings, counts=wanted.counts - self.asked.counts)
        if rest != Recall():
            self.ask(rest)

    def page(self, query: ProfileQuery) -> ProfilePage:
        """Return a page of profiles: of the first people only, when there are very many."""
        if query not in self._pages:
            self.learn_page(query, self._page(query))
        return self._pages[query]

    def put_run(self, run: Run) -> None:
        """Remember a run as long as it goes on."""
        super().put_run(run)
        if run.state is not RunState.ACTIVE:
            del self._runs[run.id]
            self._active[run.profile].remove(run.id)

    def put_answer(self, answer: Attempt) -> None:
        """Remember how a delivery ended."""
        self.learn(Recall(answers=frozenset({answer.delivery})), Recalled(answers={answer.delivery: answer}))

    def entering(self) -> list[Timer]:
        """Return, once, when people of whom something was learned came into their segments since then."""
        timers, self._entering = self._entering, []
        return timers

    def _page(self, query: ProfileQuery) -> ProfilePage:
        if self._room <= 0:
            self.is_cut = True
            return _NOBODY
        page = self._past.page(query)
        self._room -= len(page.profiles)
        self._expect(page.profiles)
        people = {person.key: self._hindsight.profile(person) for person in page.profiles}
        self.learn(Recall(profiles=frozenset(people)), Recalled(profiles=people))
        return ProfilePage(profiles=tuple(people.values()), more=page.more)

    def _earlier(self, firings: Mapping[EligibilityKey, Firing]) -> dict[EligibilityKey, Firing]:
        """Look up the firings before then of those that fired since then too: only the last one is remembered."""
        since_ms = self._hindsight.since_ms
        found: dict[EligibilityKey, Firing] = {}
        for key, firing in firings.items():
            # A decision does not say for which key it fired, and a rule with keys lets each fire once.
            if firing.last_ms >= since_ms and firing.times > 1 and not key.key:
                self.is_forgetful = self.is_forgetful or self._lookups <= 0
                if self.is_forgetful:
                    break
                self._lookups -= 1
                fired_ms = self._past.fired_ms(key.automation, key.profile, before_ms=since_ms)
                if fired_ms is not None:
                    found[key] = Firing(times=1, last_ms=fired_ms)
        return found

    def _expect(self, people: Iterable[Profile]) -> None:
        """Have those who came into a segment since then looked at when they did."""
        for person in people:
            if person.key in self.asked.profiles:
                continue
            for segment, at_ms in person.segments.items():
                if at_ms >= self._hindsight.since_ms:
                    self._entering.append(_look(person.key, segment, at_ms))


def _look(profile: str, segment: str, at_ms: int) -> Timer:
    return timer_of(profile, TimerKind.SEGMENTS, segment, identifier=f"{profile}/{segment}/entered", due_ms=at_ms)
