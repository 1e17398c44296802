"""What conditions look at, so that only that is loaded."""

from collections.abc import Iterable
from typing import Self

from msgspec import Struct

from posthorn.conditions.windows import WindowNeed


class Needs(Struct, frozen=True, kw_only=True):
    """What a decision has to load. `event`, `user`, `source` and the like are always there."""

    counts: frozenset[str] = frozenset()  #: event types whose counters are looked at
    windows: tuple[WindowNeed, ...] = ()
    segments: frozenset[str] = frozenset()
    profile: bool = False  #: the fact `profile`, subscription states included
    local: bool = False  #: the fact `local`: the person's own clock
    times: bool = False  #: the answer depends on the present instant: `now` or `local`
    steps: frozenset[str] = frozenset()  #: steps of a run whose answers are looked at

    def __or__(self, other: Self) -> "Needs":
        """Return what both need."""
        return Needs(
            counts=self.counts | other.counts,
            windows=tuple(dict.fromkeys((*self.windows, *other.windows))),
            segments=self.segments | other.segments,
            profile=self.profile or other.profile,
            local=self.local or other.local,
            times=self.times or other.times,
            steps=self.steps | other.steps,
        )


def union(needs: Iterable[Needs]) -> Needs:
    """Return what all of them need together."""
    total = Needs()
    for each in needs:
        total |= each
    return total


def needs_of_field(root: str, name: str | None) -> Needs:  # noqa: PLR0911 - one for each fact
    """Return what reading `root.name` needs."""
    match root, name:
        case "counts", str():
            return Needs(counts=frozenset({name}))
        case "segments", str():
            return Needs(segments=frozenset({name}))
        case "steps", str():
            return Needs(steps=frozenset({name}))
        case "profile", _:
            return Needs(profile=True)
        case "local", _:
            return Needs(local=True, times=True)
        case "now", _:
            return Needs(times=True)
    return Needs()
