"""Profiles, runs and timers as rows, and rows as profiles, runs and timers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from posthorn.engine.people import Profile
from posthorn.engine.records import Decided, EventCount, RenderedRequest
from posthorn.engine.runs import Run, RunState, Timer, TimerKind

PROFILE_COLUMNS = 7
MEMBER_COLUMNS = 4
RUN_COLUMNS = 11
TIMER_COLUMNS = 7

_profiles = msgspec.json.Decoder(Profile)
_timers = msgspec.json.Decoder(Timer)
_encode = msgspec.json.Encoder().encode
_KINDS: Mapping[str, TimerKind] = {kind.value: kind for kind in TimerKind}
_STATES: Mapping[str, RunState] = {state.value: state for state in RunState}


def profile_row(profile: Profile) -> tuple[Any, ...]:
    """Spell out a profile as the table has it: key, workspace, user, merged, created, updated, document."""
    return (
        profile.key,
        profile.workspace,
        profile.user,
        profile.merged_into,
        profile.created_ms,
        profile.updated_ms,
        _encode(profile),
    )


def to_profile(document: bytes) -> Profile:
    """Read a profile's document."""
    return _profiles.decode(document)


def run_row(run: Run) -> tuple[Any, ...]:
    """Spell out a run as the table has it."""
    return (
        run.id,
        run.workspace,
        run.automation,
        run.version,
        run.profile,
        run.key,
        run.state,
        run.entered_ms,
        run.changed_ms,
        run.wake_ms,
        run.document,
    )


def to_run(row: Any) -> Run:
    """Read the columns of a run."""
    return Run(
        id=row[0],
        workspace=row[1],
        automation=row[2],
        version=row[3],
        profile=row[4],
        key=row[5],
        state=_STATES[row[6]],
        entered_ms=row[7],
        changed_ms=row[8],
        wake_ms=row[9],
        document=row[10],
    )


def timer_row(timer: Timer) -> tuple[Any, ...]:
    """Spell out a timer as the table has it."""
    return (timer.due_ms, timer.id, timer.shard, timer.profile, timer.kind, timer.about, timer.data)


def to_timer(row: Any) -> Timer | None:
    """Read the columns of a timer; None for a kind that only a newer release knows."""
    kind = _KINDS.get(row[4])
    if kind is None:
        return None
    return Timer(due_ms=row[0], id=row[1], shard=row[2], profile=row[3], kind=kind, about=row[5], data=row[6])


def to_count(row: Any) -> EventCount:
    """Read profile, type, count, first and last."""
    return EventCount(profile=row[0], type=row[1], count=row[2], first_ms=row[3], last_ms=row[4])


def told(tells: Timer | None) -> bytes | None:
    """Spell out what a delivery tells when it ends."""
    return _encode(tells) if tells is not None else None


def to_told(text: bytes | None) -> Timer | None:
    """Read what a delivery tells when it ends."""
    return _timers.decode(text) if text is not None else None


def to_rendered(shown: bytes, sealed: str | None, tells: bytes | None) -> RenderedRequest:
    """Read the columns of a rendered request."""
    return RenderedRequest(shown=shown, sealed=sealed, tells=to_told(tells))


def latest_profiles(decided: Iterable[Decided]) -> list[Profile]:
    """Return the profiles that outcomes put, the last one of each."""
    return list({profile.key: profile for one in decided for profile in one.profiles}.values())


def latest_runs(decided: Iterable[Decided]) -> list[Run]:
    """Return the runs that outcomes put, the last one of each."""
    return list({run.id: run for one in decided for run in one.runs}.values())


def latest_timers(decided: Sequence[Decided]) -> dict[str, Timer | None]:
    """Return what becomes of timers: the last one that is queued under an id, or None where it is taken off."""
    latest: dict[str, Timer | None] = {}
    for one in decided:
        latest |= dict.fromkeys(one.unwanted)
        latest |= {timer.id: timer for timer in one.timers}
    return latest
