"""Each kind of step: what it does, and where it leads."""

from typing import Any, Final

import msgspec
from msgspec.structs import replace

from posthorn import ids
from posthorn.calendars import TimeOfDay, at_local_time, sticky_bucket
from posthorn.clock import SECOND_MS, iso_text
from posthorn.decide.caps import Caps
from posthorn.decide.facts import json_of
from posthorn.decide.footprints import Waiting, Waits
from posthorn.decide.people import apply_change
from posthorn.decide.places import Place
from posthorn.decide.rendering import RenderFailed
from posthorn.decide.running import Walk, quiet_until
from posthorn.decide.sending import Sender, Told
from posthorn.engine.flows import (
    Branch,
    EmitEvent,
    Exit,
    Send,
    SendAll,
    Split,
    UpdateProfile,
    Wait,
    WaitForEvent,
)
from posthorn.engine.people import EventContext, Subscription
from posthorn.engine.records import Event, NewEvent
from posthorn.engine.runs import RunState
from posthorn.templating import TemplateRenderFailed

_MOST_STEPS = 1_000  # in one go, without a wait: a flow has no loops, so this only bounds its size
DEEPEST = 10
"""Through how many emitting automations an event may come. What is deeper is a loop, and ends there."""
_BUCKETS = 10_000
_CONTENT_WAITS_SECONDS = (60, 120, 240, 480)  # longer than a host that gave no answer is left alone
MOST_TRIES: Final = len(_CONTENT_WAITS_SECONDS) + 1
"""How often content is asked for that a template cannot do without."""
GOAL_STEP: Final = "$goal"
_STOPS: Final = ""  # no step has this name


class Stepper:
    """Takes runs through their steps."""

    def __init__(self, *, sender: Sender, caps: Caps) -> None:
        self._sender = sender
        self._caps = caps

    def go(self, walk: Walk, at: str | None, *, after: Waits | None = None) -> None:
        """Go on from a step until the run waits or is over; `after` is a wait for what that step needed itself."""
        for _ in range(_MOST_STEPS):
            if at is None:
                _come_to_the_end(walk)
                break
            place = walk.compiled.places.get(at)
            if place is None:
                walk.end(RunState.EXITED, at, f"there is no step {at!r} in version {walk.compiled.automation.version}")
                break
            following = self._do(walk, place, after)
            after = None
            if following == _STOPS:
                break
            at = following
        else:
            walk.end(RunState.FAILED, at or "", f"more than {_MOST_STEPS} steps without a wait")
        walk.leave()

    def _do(self, walk: Walk, place: Place, after: Waits | None) -> str | None:
        following: str | None = _STOPS
        match place.step:
            case Send() | SendAll():
                following = self._send(walk, place, after)
            case Wait():
                _wait(walk, place.step)
            case WaitForEvent():
                _wait_for_event(walk, place.step)
            case Branch():
                following = _branch(walk, place, place.step)
            case Split():
                following = _split(walk, place, place.step)
            case UpdateProfile():
                following = _update(walk, place, place.step)
            case EmitEvent():
                following = _emit(walk, place, place.step)
            case Exit():
                walk.end(RunState.EXITED, place.step.name, "the flow ends here")
        return following

    def _send(self, walk: Walk, place: Place, after: Waits | None) -> str | None:
        name = place.step.name
        is_released = after is not None and after.kind is Waiting.QUIET
        until_ms = None if is_released else quiet_until(walk)
        if until_ms is not None:
            walk.wait(Waiting.QUIET, name, until_ms)
            walk.note(name, "quiet", f"it is quiet time for the person until {iso_text(until_ms)}")
            return _STOPS
        channel = _unwanted_channel(walk)
        if channel is not None:
            walk.note(name, "unsubscribed", f"the person does not want messages of the channel {channel}")
            return place.then
        refused = self._caps.refuses(walk.case, walk.compiled.automation, walk.zone)
        if refused is not None:
            walk.note(name, "capped", refused)
            return place.then
        return self._queue(walk, place, after.tries + 1 if after is not None else 1)

    def _queue(self, walk: Walk, place: Place, tries: int) -> str | None:
        name, before = place.step.name, len(walk.case.deliveries)
        results = self._queued(walk, place)
        unanswered = next((one for _, one in results if isinstance(one, RenderFailed) and one.is_unanswered), None)
        if unanswered is not None and tries < MOST_TRIES:
            del walk.case.deliveries[before:]  # all requests of a step leave, or none yet
            wait_for_content(walk, name, tries, unanswered)
            return _STOPS
        awaited: list[str] = []
        sent = 0
        for send, queued in results:
            if isinstance(queued, RenderFailed) and (queued.aborted is not None or queued.is_unanswered):
                reason = queued.aborted or f"content did not come in {MOST_TRIES} tries"
                walk.note(send.name, "aborted", f"the template aborted the message: {reason}")
                continue
            if isinstance(queued, RenderFailed):
                where = f"{send.name}, {queued.part}: line {queued.line}, column {queued.column}"
                walk.end(RunState.FAILED, name, f"{where}: {queued.message}")
                return _STOPS
            sent += 1
            walk.queued(send.name, queued)
            if send.wait_for_answer:
                awaited.append(queued)
        self._caps.count(walk.case, walk.compiled.automation, sent)
        if not awaited:
            return place.then
        walk.wait(Waiting.ANSWER, name, None, tuple(awaited))
        return _STOPS

    def _queued(self, walk: Walk, place: Place) -> list[tuple[Send, str | RenderFailed]]:
        """Queue the requests of a step, up to one that ends the run; return their deliveries."""
        happening = walk.track.happening
        facts = walk.facts()
        has_steps = walk.compiled.automation.send is None
        payload = msgspec.json.encode(happening.facts["event"].get("data", {})).decode()
        results: list[tuple[Send, str | RenderFailed]] = []
        for send, request in place.requests:
            queued = self._sender.queue(
                walk.case,
                walk.compiled.automation,
                request,
                {**facts, "step": {"name": send.name}} if has_steps else facts,
                event=happening.id,
                hops=happening.depth + 1,
                told=_told(walk, send),
                payload=payload,
            )
            results.append((send, queued))
            if isinstance(queued, RenderFailed) and queued.aborted is None and not queued.is_unanswered:
                break
        return results


def wait_for_content(walk: Walk, step: str, tries: int, failure: RenderFailed) -> None:
    """Let a run wait to do a step again whose content did not come: nobody else is kept waiting for it."""
    until_ms = walk.case.now_ms + _CONTENT_WAITS_SECONDS[tries - 1] * SECOND_MS
    walk.wait(Waiting.CONTENT, step, until_ms, tries=tries)
    where = f"{failure.part}: line {failure.line}, column {failure.column}: {failure.message}"
    walk.note(step, "waits", f"{where}; it is asked again at {iso_text(until_ms)}, after try {tries} of {MOST_TRIES}")


def _told(walk: Walk, send: Send) -> Told | None:
    counted = walk.track.counted
    if counted is None and not send.wait_for_answer:
        return None
    return Told(run=walk.id, step=send.name, counted=counted)


def _come_to_the_end(walk: Walk) -> None:
    """End a run, or let it wait for its goal as long as that counts."""
    flow = walk.compiled.automation.flow
    goal = flow.goal if flow is not None else None
    if goal is not None and walk.track.goal_ms is None and walk.case.person is not None:
        until_ms = walk.entered_ms + goal.within_seconds * SECOND_MS
        if until_ms > walk.case.now_ms:
            walk.wait(Waiting.GOAL, GOAL_STEP, until_ms)
            walk.note(GOAL_STEP, "waits", f"whether {goal.event_type} comes until {iso_text(until_ms)}")
            return
    walk.end(RunState.COMPLETED, "", "came to the end")


def _unwanted_channel(walk: Walk) -> str | None:
    """Return a flow's channel when its person has unsubscribed from it."""
    flow, person = walk.compiled.automation.flow, walk.case.person
    if flow is None or flow.channel is None or person is None:
        return None
    return flow.channel if person.subscriptions.get(flow.channel) == Subscription.UNSUBSCRIBED else None


def _wait_for_event(walk: Walk, step: WaitForEvent) -> None:
    walk.wait(Waiting.EVENT, step.name, walk.case.now_ms + step.seconds * SECOND_MS)
    walk.note(step.name, "waits", f"for {', '.join(step.event_types)}")


def _wait(walk: Walk, step: Wait) -> None:
    until_ms = walk.case.now_ms + (step.seconds or 0) * SECOND_MS
    if step.until is not None:
        at = TimeOfDay.parse(step.until)
        days = frozenset(step.weekdays) if step.weekdays else None
        until_ms = at_local_time(until_ms, walk.zone, at.hour, at.minute, weekdays=days)
    walk.wait(Waiting.TIME, step.name, until_ms)
    walk.note(step.name, "waits", f"until {iso_text(until_ms)}")


def _branch(walk: Walk, place: Place, step: Branch) -> str | None:
    facts = walk.facts()
    for number, test in enumerate(place.tests):
        if test is None or test.matches(facts):
            walk.note(step.name, "way", f"way {number + 1} of {len(step.ways)}: its conditions hold")
            return place.ways[number]
    walk.note(step.name, "way", "otherwise: the conditions of no way hold")
    return place.ways[-1]


def _split(walk: Walk, place: Place, step: Split) -> str | None:
    automation = walk.compiled.automation
    whom = walk.case.work.profile if walk.case.person is not None else walk.id
    drawn = sticky_bucket(f"{automation.id}/{step.name}/{whom}", _BUCKETS) * 100 / _BUCKETS
    reached = 0.0
    for number, share in enumerate(step.shares):
        reached += share.percent
        if drawn < reached:
            walk.note(step.name, "way", f"share {number + 1}, of {share.percent:g} %")
            return place.ways[number]
    walk.note(step.name, "way", "in none of the shares")
    return place.then


def _update(walk: Walk, place: Place, step: UpdateProfile) -> str | None:
    person = walk.case.person
    if person is None:
        walk.note(step.name, "failed", "the event has no user, so there is no profile to change")
        return place.then
    try:
        facts = walk.facts()
        texts = {name: template.render(facts) for name, template in place.values}
    except TemplateRenderFailed as error:
        walk.end(RunState.FAILED, step.name, f"line {error.line}, column {error.column}: {error.message}")
        return _STOPS
    change = replace(step.changes, set={**step.changes.set, **texts})
    changed = apply_change(person, change, now_ms=walk.case.now_ms)
    if changed.is_changed:
        walk.case.put_person(changed.profile)
        walk.case.react(changed.attributes)
    walk.note(step.name, "changed", "; ".join(changed.refused) or "the profile is changed")
    return place.then


def _emit(walk: Walk, place: Place, step: EmitEvent) -> str | None:
    happening = walk.track.happening
    depth = happening.depth + 1
    if depth > DEEPEST or walk.compiled.automation.id in happening.through:
        said = f"no event was emitted: this one came through {happening.depth} automations already"
        circle = ", this one among them: they go round in a circle"
        walk.note(step.name, "loop", said + (circle if walk.compiled.automation.id in happening.through else ""))
        return place.then
    data = _rendered_json(walk, place)
    if isinstance(data, str):
        walk.end(RunState.FAILED, step.name, data)
        return _STOPS
    walk.note(step.name, "emitted", f"an event {step.event_type}")
    walk.case.events.append(_event_of(walk, step, data, depth))
    return place.then


def _rendered_json(walk: Walk, place: Place) -> bytes | str:
    """Render the data of an event; a sentence when that cannot be done."""
    if place.data is None:
        return b"{}"
    try:
        text = place.data.render(walk.facts())
        msgspec.json.decode(text)
    except TemplateRenderFailed as error:
        return f"data: line {error.line}, column {error.column}: {error.message}"
    except (msgspec.DecodeError, RecursionError) as error:
        return f"data: what the template printed is no JSON: {error}"
    return text.encode()


def _event_of(walk: Walk, step: EmitEvent, data: bytes, depth: int) -> NewEvent:
    case, automation = walk.case, walk.compiled.automation
    person = case.person
    event = Event(
        id=case.new_id(ids.EVENT),
        workspace=case.workspace,
        type=step.event_type,
        occurred_ms=case.now_ms,
        received_ms=case.now_ms,
        user=person.user if person is not None else None,
        payload=data,
        context=msgspec.json.encode(
            EventContext(automation=automation.id, depth=depth, through=(*walk.track.happening.through, automation.id))
        ),
    )
    return NewEvent(event=event, profile=case.work.profile)


def answer_facts(state: str, status: int | None, body: bytes | None) -> dict[str, Any]:
    """Render the answer to a request as later steps see it; the body as JSON where it is."""
    answer: dict[str, Any] = {"state": state, "status": status or 0}
    if body:
        decoded = json_of(body)
        answer["body"] = decoded if decoded is not None else body.decode("utf-8", "replace")
    return answer
