"""Somebody turns out to be known under another id: one profile ends, the other takes over what is known."""

import msgspec

from posthorn import ids
from posthorn.decide.case import Case
from posthorn.decide.memory import Memory
from posthorn.decide.people import absorbed
from posthorn.decide.sweeping import Sweeper
from posthorn.engine.people import EventContext, Membership, Profile
from posthorn.engine.profiles import user_of, user_profile
from posthorn.engine.records import Event, NewEvent


def merge(case: Case, event: Event, person: Profile, into: str) -> bool:
    """End this profile and let the owner of the other one take over what is known of it."""
    target = last(case.memory, user_profile(event.workspace, into))
    if event.user != person.user or target == person.key:  # two that end in each other would both be gone
        case.put_person(person)
        return True  # somebody who was merged already: the merge meant that one, and not who they are now
    for segment, since_ms in person.segments.items():
        case.put_membership(Membership(segment=segment, profile=person.key, is_in=False, since_ms=since_ms))
    case.segment_moves = []  # nobody left: they are somebody else from now on
    case.put_tombstone(msgspec.structs.replace(person, merged_into=target, segments={}, updated_ms=case.now_ms))
    told = Event(
        id=case.new_id(ids.EVENT),
        workspace=event.workspace,
        type="profile.merged",
        occurred_ms=event.occurred_ms,
        received_ms=event.received_ms,  # before what came in since then for the one that it is merged into
        user=user_of(target),
        payload=msgspec.json.encode({"user": person.user}),
        context=msgspec.json.encode(EventContext(absorbs=person.key)),
    )
    case.events.append(NewEvent(event=told, profile=target))
    return False


def absorb(case: Case, person: Profile, key: str, sweeper: Sweeper) -> None:
    """Take over what is known of a profile that has ended. Nobody writes it any more, so it may be read here."""
    if key == person.key:  # of two that were merged into each other, this is the one that lives on
        case.put_person(person)
        return
    other = case.memory.profile(key)
    case.absorb(key)
    sweeper.forget_days(case, key)
    for run in case.memory.active_runs(key):
        case.put_run(msgspec.structs.replace(run, profile=person.key))
    case.put_person(absorbed(person, other, now_ms=case.now_ms) if other is not None else person)
    sweeper.remember_days(case, None)


def living(memory: Memory, key: str) -> Profile | None:
    """Return a profile. Of two that were merged into each other at two nodes the one with the smaller key lives on."""
    person = memory.profile(key)
    if person is None or person.merged_into is None or key > person.merged_into:
        return person
    other = memory.profile(person.merged_into)
    is_circle = other is not None and other.merged_into == key
    return msgspec.structs.replace(person, merged_into=None) if is_circle else person


def last(memory: Memory, key: str) -> str:
    """Return the profile that a profile was merged into in the end: itself, when it was not."""
    seen: set[str] = set()
    while key not in seen:
        seen.add(key)
        person = memory.profile(key)
        if person is None or person.merged_into is None:
            break
        key = person.merged_into
    return key
