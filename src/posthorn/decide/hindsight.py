"""What is known now, taken back to the beginning of a time whose events are gone through once more.

Exact are counters, numbers that were only added to, and what carries its own instants: windows, sent messages, segments
entered, a last firing from before. What does not (other attributes, subscriptions, a segment that was left) is as now.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TypeVar

from msgspec.structs import replace

from posthorn.decide.people import apply_change
from posthorn.engine.people import Profile, ProfileChange
from posthorn.engine.records import EventCount, Recalled

K = TypeVar("K")


class Hindsight:
    """Takes back what happened since an instant."""

    def __init__(
        self,
        since_ms: int,
        happened: Counter[tuple[str, str]],
        added: Mapping[str, Mapping[str, int | float]] | None = None,
    ) -> None:
        """Make one; `happened` says how many events of a type a profile had since then, of those that were counted.

        `added` says by profile and attribute what was added to its numbers.
        """
        self.since_ms = since_ms
        self.happened = happened
        self.added = added if added is not None else {}

    def before(self, recalled: Recalled) -> Recalled:
        """Return what was known at the instant."""
        firings = {key: firing for key, firing in recalled.firings.items() if firing.last_ms < self.since_ms}
        profiles = {key: self.profile(profile) for key, profile in recalled.profiles.items()}
        return replace(recalled, firings=firings, counts=self.counts(recalled.counts), profiles=profiles)

    def counts(self, counts: Mapping[tuple[str, str], EventCount]) -> dict[tuple[str, str], EventCount]:
        """Return counters without what happened since then."""
        found = ((place, self._count(place, count)) for place, count in counts.items())
        return {place: count for place, count in found if count is not None}

    def profile(self, profile: Profile) -> Profile:
        """Return a person without the traces that bear a later instant, and what was added since then."""
        return replace(
            self._without_added(profile),
            windows={key: self._earlier(times) for key, times in profile.windows.items()},
            messages={key: self._earlier(times) for key, times in profile.messages.items()},
            segments={name: at_ms for name, at_ms in profile.segments.items() if at_ms < self.since_ms},
        )

    def _without_added(self, profile: Profile) -> Profile:
        taken = {name: -amount for name, amount in self.added.get(profile.key, {}).items()}
        if not taken:
            return profile
        return apply_change(profile, ProfileChange(increment=taken), now_ms=profile.updated_ms).profile

    def _count(self, place: tuple[str, str], count: EventCount) -> EventCount | None:
        happened = self.happened[place]
        if not happened:
            return count
        if count.count <= happened:
            return None
        last_ms = max(count.first_ms, min(count.last_ms, self.since_ms - 1))  # the real one is not kept
        return replace(count, count=count.count - happened, last_ms=last_ms)

    def _earlier(self, times: Iterable[int]) -> list[int]:
        return [at_ms for at_ms in times if at_ms < self.since_ms]
