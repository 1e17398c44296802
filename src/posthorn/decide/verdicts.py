"""What an automation made of an event, put into the words of its decision."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from posthorn import ids
from posthorn.decide.case import Case
from posthorn.decide.compiling import CompiledAutomation
from posthorn.decide.eligibility import NotEligible
from posthorn.decide.reasons import Reason
from posthorn.decide.rendering import RenderFailed
from posthorn.engine.flows import OnAbsence, OnAttribute, OnCount, OnEvent, OnSegment, Trigger
from posthorn.engine.records import Decision, DecisionOutcome
from posthorn.engine.resources import Automation

_encode = msgspec.json.Encoder().encode


class Verdict(Struct, frozen=True, kw_only=True):
    """An outcome with its stable reason, one sentence for people, and data for programs."""

    reason: Reason
    detail: str
    data: object = None

    @property
    def outcome(self) -> DecisionOutcome:
        """The outcome that the reason explains."""
        return self.reason.outcome


FIRED = Verdict(
    reason=Reason.MATCHED,
    detail="every condition matched and the profile is eligible; the request is queued",
)


def record(case: Case, automation: Automation, event: str, verdict: Verdict, *, delivery: str | None = None) -> None:
    """Put a decision on record."""
    case.decisions.append(
        Decision(
            id=case.new_id(ids.DECISION),
            workspace=automation.workspace,
            automation=automation.id,
            version=automation.version,
            event=event,
            profile=case.work.profile,
            decided_ms=case.now_ms,
            outcome=verdict.outcome,
            reason=verdict.reason.value,
            detail=verdict.detail,
            data=_encode(verdict.data),
            delivery=delivery,
        )
    )


def entered(run: str, what: str = "every condition matched and the profile is eligible; its run has begun") -> Verdict:
    """Say that a run began, or began to wait anew."""
    return Verdict(reason=Reason.ENTERED, detail=what, data={"run": run})


def not_triggered(trigger: Trigger, facts: Mapping[str, Any]) -> Verdict | None:
    """Say why a trigger for this event type does not fire, None when it does."""
    if isinstance(trigger, OnEvent) and trigger.source is not None:
        source = facts.get("source", {}).get("id")
        if trigger.source != source:
            return Verdict(
                reason=Reason.SOURCE_DIFFERS,
                detail=f"the trigger wants the source {trigger.source}, the event came from {source or 'the API'}",
            )
    if isinstance(trigger, OnCount):
        return _not_counted(trigger, facts)
    return None


def _not_counted(trigger: OnCount, facts: Mapping[str, Any]) -> Verdict | None:
    counted = facts.get("counts", {}).get(trigger.event_type)
    if counted is None:
        detail = "the trigger counts a person's events, and this one has no user"
    elif counted["count"] == trigger.count or (trigger.every and counted["count"] % trigger.count == 0):
        return None
    else:
        wanted = f"every {trigger.count}th" if trigger.every else f"number {trigger.count}"
        detail = f"this is number {counted['count']} of the person's {trigger.event_type}, the trigger wants {wanted}"
    return Verdict(reason=Reason.COUNT_DIFFERS, detail=detail)


def not_matched(compiled: CompiledAutomation, facts: Mapping[str, Any]) -> Verdict | None:
    """Say which condition fails, None when all hold."""
    if compiled.conditions is None or compiled.conditions.matches(facts):
        return None
    explanation = compiled.conditions.explain(facts)
    return Verdict(
        reason=Reason.CONDITION_FAILED,
        detail=explanation.message,
        data=explanation,
    )


def not_open(automation: Automation, now_ms: int) -> Verdict | None:
    """Say that an automation has not started yet, or has ended."""
    flow = automation.flow
    if flow is None:
        return None
    if flow.starts_ms is not None and now_ms < flow.starts_ms:
        detail = "the automation has not started yet"
        return Verdict(reason=Reason.NOT_STARTED, detail=detail)
    if flow.ends_ms is not None and now_ms >= flow.ends_ms:
        return Verdict(reason=Reason.ENDED, detail="the automation has ended")
    return None


def not_eligible(refused: NotEligible) -> Verdict:
    """Say that it fired before."""
    return Verdict(
        reason=refused.reason,
        detail=refused.detail,
        data={"sinceMs": refused.since_ms},
    )


def held_out(run: str, percent: float) -> Verdict:
    """Say that a person is in the holdout group; a run without steps watches whether the goal is reached."""
    return Verdict(
        reason=Reason.HELD_OUT,
        detail=f"the person is one of the {percent:g} % who get nothing, to compare with",
        data={"run": run},
    )


CIRCLE = Verdict(
    reason=Reason.CIRCLE,
    detail="it reacted to this event already: what it changed set it off again, and that ends here",
)
NO_PERSON = Verdict(
    reason=Reason.NO_USER,
    detail="the event has no user, and whether something stays away is known of people only",
)


def capped(why: str) -> Verdict:
    """Say that a frequency cap leaves the message out."""
    return Verdict(reason=Reason.CAPPED, detail=why)


def failed(failure: RenderFailed) -> Verdict:
    """Say which template could not be rendered, or that its author aborted it."""
    if failure.aborted is not None:
        detail = f"the template aborted the message: {failure.aborted}"
        return Verdict(reason=Reason.ABORTED, detail=detail, data=failure)
    return Verdict(
        reason=Reason.TEMPLATE_FAILED,
        detail=f"{failure.part}: line {failure.line}, column {failure.column}: {failure.message}",
        data=failure,
    )


def failed_at_once(run: str, why: str) -> Verdict:
    """Say that a run could not do its first steps."""
    return Verdict(reason=Reason.TEMPLATE_FAILED, detail=why, data={"run": run})


def broken(problem: str) -> Verdict:
    """Say that the fault is ours."""
    return Verdict(
        reason=Reason.INTERNAL_ERROR,
        detail=f"Posthorn could not decide this; nothing was sent: {problem}",
    )


def name_of(trigger: Trigger) -> str:
    """Describe a trigger in a word or two, for a run's `trigger`."""
    match trigger:
        case OnEvent():
            return trigger.event_type
        case OnAbsence():
            return f"{trigger.event_type} without {', '.join(trigger.without)}"
        case OnCount():
            return f"{trigger.event_type} #{trigger.count}"
        case OnAttribute():
            return f"attribute {trigger.attribute}"
        case OnSegment():
            return f"{trigger.moves} segment {trigger.segment}"
    return trigger.__class__.__name__
