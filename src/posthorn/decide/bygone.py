"""The events of a window as a simulation takes them: what deciding itself brought about then is brought about anew."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from posthorn.decide.memory import Memory
from posthorn.decide.merging import last
from posthorn.engine.listening import changed_type, entry_type, published_type
from posthorn.engine.people import EventContext
from posthorn.engine.profiles import user_profile
from posthorn.engine.records import Event

_context = msgspec.json.Decoder(EventContext)
_ORDERS = (published_type(""), changed_type(""))
_FOLLOWING = frozenset({"profile.changed", "segment.changed"})  # made by deciding, where they came from nowhere else


class Window(Struct, frozen=True, kw_only=True):
    """A time, and all events that came in during it, the oldest first."""

    since_ms: int
    until_ms: int
    events: Sequence[Event]
    heads: Mapping[str, bytes] = {}  #: by request: its header lines
    notes: tuple[str, ...] = ()  #: what is missing in it; then it is cut


def people_of(events: Iterable[Event]) -> frozenset[str]:
    """Name the profiles that events are about."""
    return frozenset(user_profile(event.workspace, event.user) for event in events if event.user is not None)


def happened_to(events: Iterable[Event], memory: Memory) -> Counter[tuple[str, str]]:
    """Count events by type, for the profiles in which their people ended up."""
    happened: Counter[tuple[str, str]] = Counter()
    ends: dict[str, str] = {}
    for event in events:
        if event.user is None:
            continue
        key = user_profile(event.workspace, event.user)
        if key not in ends:
            ends[key] = last(memory, key)
        if not _merged(event, memory):
            happened[ends[key], event.type] += 1
    return happened


def increments_in(events: Iterable[Event]) -> dict[str, dict[str, int | float]]:
    """Sum up, by profile and attribute, what events added to numbers; not where one of them sets the attribute too."""
    added: dict[str, dict[str, int | float]] = {}
    given: set[tuple[str, str]] = set()
    for event in events:
        changes = _context_of(event).changes
        if event.user is None or changes is None:
            continue
        key = user_profile(event.workspace, event.user)
        given.update((key, name) for name in (*changes.set, *changes.set_once))
        sums = added.setdefault(key, {})
        for name, amount in changes.increment.items():
            sums[name] = sums.get(name, 0) + amount
    return {
        key: {name: amount for name, amount in sums.items() if (key, name) not in given} for key, sums in added.items()
    }


def anew(events: Iterable[Event], automation: str, memory: Memory) -> Iterable[Event]:
    """Leave out what going through the events brings about again, with this automation."""
    for event in events:
        context = _context_of(event)
        is_following = event.type in _FOLLOWING and event.source is None and event.request is None
        if event.type.startswith(_ORDERS) or event.type == entry_type(automation):
            continue
        if context.automation == automation or is_following or _merged(event, memory):
            continue
        # People are known as those that they were merged into from the start.
        yield event if context.absorbs is None else msgspec.structs.replace(event, context=None)


def _merged(event: Event, memory: Memory) -> bool:
    """Tell whether an event merged its person into another one: then it counted for nobody, and let nobody in."""
    changes = _context_of(event).changes
    if event.user is None or changes is None or changes.merge_into is None:
        return False
    person = memory.profile(user_profile(event.workspace, event.user))
    return person is not None and person.merged_into is not None


def _context_of(event: Event) -> EventContext:
    return _context.decode(event.context) if event.context is not None else EventContext()
