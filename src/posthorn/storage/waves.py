"""How a batch of outcomes is cut for statements that take many at once: where their order matters, a new one begins."""

from collections.abc import Sequence
from typing import TypeAlias

from posthorn.engine.records import Decided
from posthorn.engine.runs import Timer

Numbered: TypeAlias = tuple[int, Decided]

_NOTHING: frozenset[str] = frozenset()


def waves(decided: Sequence[Decided], *, most_rows: int) -> list[list[Numbered]]:
    """Cut into runs of numbered outcomes, each with up to `most_rows` journal rows unless one alone has more.

    In a wave each work comes once, so that its first outcome counts; no outcome touches a timer that another one
    settles; and whoever absorbs a profile is alone, because it reads what those before it counted.
    """
    if _is_one_wave(decided, most_rows):
        return [list(enumerate(decided))]
    found: list[list[Numbered]] = [[]]
    works: set[str] = set()
    touched: set[str] = set()
    rows = 0
    is_full = False
    for number, one in enumerate(decided):
        timers = touched_timers(one)
        own_rows = len(one.decisions) + len(one.events)
        if found[-1] and (
            is_full
            or one.absorbs is not None
            or one.work.id in works
            or one.work.id in touched
            or not works.isdisjoint(timers)
            or rows + own_rows > most_rows
        ):
            found.append([])
            works.clear()
            touched.clear()
            rows = 0
        found[-1].append((number, one))
        works.add(one.work.id)
        touched |= timers
        rows += own_rows
        is_full = one.absorbs is not None
    return found


def changing_more(decided: Sequence[Decided]) -> list[Decided]:
    """Return the outcomes of timers, and those that change more than decisions, deliveries, firings and counters."""
    return [
        one
        for one in decided
        if one.profiles
        or one.runs
        or one.timers
        or one.unwanted
        or one.memberships
        or one.events
        or one.absorbs is not None
        or one.moved_to is not None
        or type(one.work) is Timer
    ]


def _is_one_wave(decided: Sequence[Decided], most_rows: int) -> bool:
    """Tell quickly of a batch like most that nothing in it depends on the order."""
    return (
        not [one for one in decided if one.timers or one.unwanted or one.absorbs is not None]
        and len({one.work.id for one in decided}) == len(decided)
        and sum([len(one.decisions) + len(one.events) for one in decided]) <= most_rows
    )


def touched_timers(one: Decided) -> frozenset[str]:
    """Return the ids of the timers that an outcome queues or takes off, beside its own work."""
    if not one.timers and not one.unwanted:
        return _NOTHING
    return frozenset([*one.unwanted, *(timer.id for timer in one.timers)])
