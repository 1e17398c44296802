"""What a run remembers: the event that let it in, the way so far, what it waits for. JSON in the run's document."""

from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

from posthorn.decide.case import Happening
from posthorn.decide.receipts import Counted
from posthorn.engine.runs import Run

_MOST_FOOTPRINTS = 200


class Waiting(StrEnum):
    """What a run waits for."""

    TIME = "time"
    EVENT = "event"
    ANSWER = "answer"
    QUIET = "quiet"  #: the end of quiet hours: the step itself is still to be done
    GOAL = "goal"  #: the goal, after the last step
    ABSENCE = "absence"  #: whether nothing comes: before the first step
    CONTENT = "content"  #: content that a template cannot do without: the step itself is still to be done
    CAME = "came"  #: nothing more, its event came; only a paused automation holds it there


class Waits(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A wait: where, for what, and which timer ends it."""

    kind: Waiting
    step: str
    timer: str
    pending: tuple[str, ...] = ()  #: deliveries whose answers are awaited
    tries: int = 0  #: how often content was asked for
    held_ms: int | None = None  #: since when what it waited for is there, and its automation is paused


class Footprint(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One thing that a run did."""

    step: str
    at_ms: int
    what: str  #: stable code: entered, queued, capped, waits, went_on, answered, way, changed, emitted, failed, …
    detail: str = ""  #: one sentence for people
    delivery: str | None = None


class Track(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The document of a run. It begins with the happening and that with its id, where stores look for the event."""

    happening: Happening
    trigger: str
    waits: Waits | None = None
    turns: int = 0  #: waits so far, to tell their timers apart
    answers: dict[str, Any] = {}  #: by step: what later steps see of it
    path: tuple[Footprint, ...] = ()
    goal_ms: int | None = None
    is_held_out: bool = False
    is_sent: bool = False  #: a request was queued
    counted: Counted | None = None  #: which firing its requests count for, where that is by receipt


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Track)


def track_of(run: Run) -> Track:
    """Read a run's document."""
    return _decoder.decode(run.document)


def is_watching(run: Run, trigger: str) -> bool:
    """Tell whether a run of a trigger waits to see whether something stays away: it has not entered its steps yet."""
    track = track_of(run)
    return track.trigger == trigger and track.waits is not None and track.waits.kind is Waiting.ABSENCE


def document_of(track: Track) -> bytes:
    """Write a run's document."""
    return _encoder.encode(track)


def with_footprint(track: Track, footprint: Footprint) -> Track:
    """Add to the way so far. A very long one keeps its beginning and its end."""
    path = (*track.path, footprint)
    if len(path) > _MOST_FOOTPRINTS:
        half = _MOST_FOOTPRINTS // 2
        path = path[:half] + path[half + 1 :]
    return msgspec.structs.replace(track, path=path)
