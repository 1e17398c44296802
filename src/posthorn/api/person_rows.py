"""How people and runs look on the wire."""

from collections.abc import Sequence
from typing import Any

from posthorn.api.rendering import Out, iso_or_none
from posthorn.clock import iso_text
from posthorn.decide.footprints import Track, track_of
from posthorn.engine.people import Device, Profile
from posthorn.engine.profiles import user_of
from posthorn.engine.records import EventCount
from posthorn.engine.runs import Run, RunState
from posthorn.manage.people import Member, Person


class MemberOut(Out, frozen=True, kw_only=True):
    """A segment that a person is in."""

    id: str
    uid: str | None
    name: str
    since: str


class CounterOut(Out, frozen=True, kw_only=True):
    """How often a person had an event of a type, exactly."""

    count: int
    first_at: str
    last_at: str


class ProfileOut(Out, frozen=True, kw_only=True):
    """A person. `aliases` are user ids that were merged into this one."""

    user: str
    attributes: dict[str, Any]
    subscriptions: dict[str, str]
    time_zone: str | None
    locale: str | None
    devices: tuple[Device, ...]
    aliases: tuple[str, ...]
    segments: list[MemberOut]
    created_at: str
    updated_at: str


class PersonOut(ProfileOut, frozen=True, kw_only=True):
    """A person with their exact counters, by event type."""

    counters: dict[str, CounterOut]


class AppendedOut(Out, frozen=True, kw_only=True):
    """The event that brings the change about; it is there once that is decided."""

    id: str


class RunOut(Out, frozen=True, kw_only=True):
    """A run: one person's (and key's) way through one version of an automation."""

    id: str
    automation_id: str
    automation_name: str | None
    version: int
    user: str | None
    key: str
    state: RunState
    entered_at: str
    changed_at: str
    wakes_at: str | None


class WaitOut(Out, frozen=True, kw_only=True):
    """What a run waits for: a time, an event, answers to these deliveries, the end of quiet time, or content."""

    kind: str
    step: str
    until: str | None
    deliveries: tuple[str, ...]
    is_held: bool  #: that is over, and the automation is paused


class FootprintOut(Out, frozen=True, kw_only=True):
    """One thing that a run did, in a sentence."""

    step: str
    at: str
    what: str
    detail: str
    delivery_id: str | None


class EnteredByOut(Out, frozen=True, kw_only=True):
    """The event that let the person in."""

    id: str
    type: str
    time: str


class WholeRunOut(RunOut, frozen=True, kw_only=True):
    """A run with its path, step by step. `answers` is what later steps see of earlier ones."""

    trigger: str
    event: EnteredByOut
    waits: WaitOut | None
    path: list[FootprintOut]
    answers: dict[str, Any]
    goal_reached_at: str | None
    is_held_out: bool


def _profile_fields(profile: Profile, members: Sequence[Member]) -> dict[str, Any]:
    return {
        "user": profile.user,
        "attributes": profile.attributes,
        "subscriptions": profile.subscriptions,
        "time_zone": profile.time_zone,
        "locale": profile.locale,
        "devices": profile.devices,
        "aliases": profile.aliases,
        "segments": [
            MemberOut(id=one.segment.id, uid=one.segment.uid, name=one.segment.name, since=iso_text(one.since_ms))
            for one in members
        ],
        "created_at": iso_text(profile.created_ms),
        "updated_at": iso_text(profile.updated_ms),
    }


def profile_out(profile: Profile, members: Sequence[Member]) -> ProfileOut:
    """Render a profile."""
    return ProfileOut(**_profile_fields(profile, members))


def person_out(person: Person) -> PersonOut:
    """Render a profile with its counters."""
    fields = _profile_fields(person.profile, person.segments)
    return PersonOut(**fields, counters=counters_out(person.counts))


def counters_out(counts: Sequence[EventCount]) -> dict[str, CounterOut]:
    """Render counters by event type."""
    return {
        one.type: CounterOut(count=one.count, first_at=iso_text(one.first_ms), last_at=iso_text(one.last_ms))
        for one in counts
    }


def _run_fields(run: Run, name: str | None) -> dict[str, Any]:
    return {
        "id": run.id,
        "automation_id": run.automation,
        "automation_name": name,
        "version": run.version,
        "user": user_of(run.profile),
        "key": run.key,
        "state": run.state,
        "entered_at": iso_text(run.entered_ms),
        "changed_at": iso_text(run.changed_ms),
        "wakes_at": iso_or_none(run.wake_ms),
    }


def run_out(run: Run, name: str | None) -> RunOut:
    """Render a run; `name` is that of its automation."""
    return RunOut(**_run_fields(run, name))


def whole_run_out(run: Run, name: str | None) -> WholeRunOut:
    """Render a run with its path."""
    track = track_of(run)
    happening = track.happening
    return WholeRunOut(
        **_run_fields(run, name),
        trigger=track.trigger,
        event=EnteredByOut(id=happening.id, type=happening.type, time=iso_text(happening.at_ms)),
        waits=_wait_out(track, run.wake_ms),
        path=[
            FootprintOut(
                step=one.step, at=iso_text(one.at_ms), what=one.what, detail=one.detail, delivery_id=one.delivery
            )
            for one in track.path
        ],
        answers=track.answers,
        goal_reached_at=iso_or_none(track.goal_ms),
        is_held_out=track.is_held_out,
    )


def _wait_out(track: Track, wake_ms: int | None) -> WaitOut | None:
    waits = track.waits
    if waits is None:
        return None
    until = iso_or_none(wake_ms)
    return WaitOut(
        kind=waits.kind, step=waits.step, until=until, deliveries=waits.pending, is_held=waits.held_ms is not None
    )
