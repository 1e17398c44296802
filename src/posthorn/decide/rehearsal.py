"""Trying an automation without sending: over one event (preview), or over the events of the last days (simulation).

The decider is the real one. Only what it may look at is of its own: one automation, a memory that reads the store's and
never writes to it, a clock that follows the events, and masks in place of all secrets.
"""

from collections import Counter

import msgspec
from msgspec import Struct

from posthorn.decide.case import Case
from posthorn.decide.deciding import Decider, Moved
from posthorn.decide.footprints import Footprint, track_of
from posthorn.decide.hindsight import Hindsight
from posthorn.decide.memory import Memory
from posthorn.decide.merging import last
from posthorn.decide.recollection import Past, TrialMemory
from posthorn.engine.directory import Directory
from posthorn.engine.marks import MASK
from posthorn.engine.profiles import shared_profile, user_profile
from posthorn.engine.records import Decision, DecisionWork, Event, OutgoingRequest, Recall, Recalled, RenderedRequest
from posthorn.engine.runs import Timer
from posthorn.engine.shards import shard_of
from posthorn.templating import Masked
from posthorn.vault import KeyRing

NOT_FETCHED = "a template fetches content (connected_content): nothing was fetched, so it was rendered without"
"""What a rehearsal says where a template wanted content."""

_NO_KEY = KeyRing([bytes(32)])  # it seals masks that nobody opens
_MOST_MOVES = 50


class Rehearsed(Struct, frozen=True, kw_only=True):
    """What an automation makes of one event: its decisions, what would be sent, and what its runs would do."""

    decisions: tuple[Decision, ...]
    requests: tuple[OutgoingRequest, ...]
    path: tuple[Footprint, ...]  #: of runs that begin, and of those that the event moves or ends
    notes: tuple[str, ...]  #: where this is not what would really happen


class _Masks:
    """In place of all secrets."""

    def values(self, workspace: str, names: frozenset[str]) -> dict[str, str]:  # noqa: ARG002 - the port's
        """Return a mask for each."""
        return dict.fromkeys(names - {"*"}, Masked(MASK))


def rehearsing(directory: Directory) -> Decider:
    """Make a decider for trials; `directory` holds one automation, beside segments, sources and the workspace."""
    return Decider(directory=directory, secrets=_Masks(), key_ring=_NO_KEY)


def preview(
    directory: Directory, work: DecisionWork, past: Past, now_ms: int, *, is_counted: bool = False
) -> Rehearsed:
    """Decide one event for its person as the past knows them. Nothing that happens here is stored or sent.

    `is_counted` says that the counters have this event in them already; otherwise it counts on top of them.
    """
    memory = TrialMemory(past)
    if is_counted:
        _uncount(work, memory, past)
    case = decided(rehearsing(directory), work, memory, now_ms)
    footprints = (footprint for run in case.runs for footprint in track_of(run).path)
    return Rehearsed(
        decisions=tuple(case.decisions),
        requests=tuple(shown_request(one.rendered) for one in case.deliveries if one.rendered is not None),
        path=tuple(footprint for footprint in footprints if footprint.at_ms == now_ms),
        notes=(NOT_FETCHED,) if memory.wanted_content else (),
    )


def _uncount(work: DecisionWork, memory: TrialMemory, past: Past) -> None:
    place = (last(memory, work.profile), work.event.type)
    wanted = Recall(counts=frozenset({place}))
    before = Hindsight(work.event.received_ms, Counter({place: 1}))
    memory.learn(wanted, Recalled(counts=before.counts(past.recall(wanted).counts)))


def decided(decider: Decider, work: DecisionWork | Timer, memory: Memory, now_ms: int) -> Case:
    """Decide a piece of work, for whoever its person turned out to be."""
    for _ in range(_MOST_MOVES):
        case = decider.decide(work, memory, now_ms)
        if not isinstance(case, Moved):
            return case
        work = msgspec.structs.replace(work, profile=case.profile, shard=shard_of(case.profile))
    return decider.failure(work, memory, now_ms, "its person was merged over and over")


def shown_request(rendered: RenderedRequest) -> OutgoingRequest:
    """Read what people may see of a request: its secrets are masked."""
    return msgspec.json.decode(rendered.shown, type=OutgoingRequest)


def work_of(event: Event, head: bytes | None = None) -> DecisionWork:
    """Make an event work to be decided; `head` has the header lines of the request that it came with."""
    profile = user_profile(event.workspace, event.user) if event.user else shared_profile(event.workspace)
    return DecisionWork(
        id=event.id, shard=shard_of(profile), profile=profile, due_ms=event.received_ms, event=event, head=head
    )
