"""Everything that is kept of a person as one JSON document, written while it is read."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from posthorn.api.journal_rows import attempt_out, decision_out, delivery_out, event_out, request_out
from posthorn.api.person_rows import counters_out, profile_out, whole_run_out
from posthorn.clock import iso_text
from posthorn.engine.people import Profile
from posthorn.manage.dossiers import Dossier
from posthorn.manage.people import People
from posthorn.manage.runs import Runs

_encode = msgspec.json.Encoder().encode


async def dossier_json(dossier: Dossier, people: People, runs: Runs) -> AsyncIterator[bytes]:
    """Yield the pieces of `{profile, counters, remembered, requests, events, decisions, runs, deliveries, attempts}`.

    A store that fails on the way ends the document in its middle: what is no whole JSON is no whole export.
    """
    profile = dossier.profile
    yield b'{"profile":' + _encode(profile_out(profile, people.segments_of(profile)) if profile is not None else None)
    yield b',"counters":' + _encode(counters_out(dossier.counts))
    yield b',"remembered":' + _encode(_remembered(profile))
    parts: tuple[tuple[bytes, AsyncIterator[Any], Callable[[Any], Any]], ...] = (
        (b"requests", dossier.requests(), request_out),
        (b"events", dossier.events(), event_out),
        (b"decisions", dossier.decisions(), decision_out),
        (b"runs", dossier.runs(), lambda run: whole_run_out(run, runs.name_of(run.automation))),
        (b"deliveries", dossier.deliveries(), delivery_out),
        (b"attempts", dossier.attempts(), attempt_out),
    )
    for name, rows, render in parts:
        yield b',"' + name + b'":['
        separator = b""
        async for row in rows:
            yield separator + _encode(render(row))
            separator = b","
        yield b"]"
    yield b"}"


def _remembered(profile: Profile | None) -> dict[str, dict[str, list[str]]]:
    """Render the times that conditions and caps remember."""
    if profile is None:
        return {}
    return {
        name: {key: [iso_text(at_ms) for at_ms in times] for key, times in kept.items()}
        for name, kept in (("windows", profile.windows), ("messages", profile.messages))
    }
