"""One event against its automations: match, check eligibility, render, and say why. No store, no socket."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from posthorn import ids
from posthorn.decide.compiling import BrokenAutomation, CompiledAutomation
from posthorn.decide.eligibility import NotEligible, check, eligibility_key, next_firing
from posthorn.decide.facts import hops_of
from posthorn.decide.rendering import Rendered, RenderFailed, SecretValues, render
from posthorn.engine.lanes import automation_lane
from posthorn.engine.records import Decision, DecisionOutcome, DecisionWork, EligibilityKey, Firing, NewDelivery
from posthorn.engine.resources import Automation
from posthorn.engine.shards import shard_of
from posthorn.errors import PosthornError
from posthorn.templating import TemplateRenderFailed
from posthorn.vault import KeyRing

_encode = msgspec.json.Encoder().encode


class Ruling(Struct, frozen=True, kw_only=True):
    """What one automation made of an event, and what follows from it."""

    decision: Decision
    delivery: NewDelivery | None = None
    firing: tuple[EligibilityKey, Firing] | None = None


class _Verdict(Struct, frozen=True, kw_only=True):
    outcome: DecisionOutcome
    reason: str
    detail: str
    data: object = None


class Decider:
    """Decides. `remember` looks up firings: those of this batch first, then those of the store."""

    def __init__(self, *, secrets: SecretValues, key_ring: KeyRing, now_ms: Callable[[], int]) -> None:
        self._secrets = secrets
        self._key_ring = key_ring
        self._now_ms = now_ms

    def decide(
        self,
        work: DecisionWork,
        automations: Sequence[CompiledAutomation | BrokenAutomation],
        facts: Mapping[str, Any],
        firings: MutableMapping[EligibilityKey, Firing | None],
    ) -> list[Ruling]:
        """Decide one event for all automations that listen to its type, in order; updates `firings`.

        What goes wrong inside one automation is recorded as its failed decision: neither the others nor the
        queue may suffer from it.
        """
        return [self._rule_or_failure(work, compiled, facts, firings) for compiled in automations]

    def internal_failure(self, work: DecisionWork, automation: Automation, problem: str) -> Ruling:
        """Record that an automation could not be decided for a reason that is not the event's."""
        return self._ruling(work, automation, _broken(problem))

    def out_of_line(self, work: DecisionWork, automation: Automation) -> Ruling:
        """Record that what an automation remembers is another node's to look up: the event came in before the rule."""
        return self._ruling(work, automation, _OUT_OF_LINE)

    def key_of(
        self, work: DecisionWork, compiled: CompiledAutomation, facts: Mapping[str, Any]
    ) -> EligibilityKey | RenderFailed | None:
        """Return the eligibility key that an automation has for an event."""
        text = ""
        if compiled.key is not None:
            try:
                text = compiled.key.render(facts)
            except TemplateRenderFailed as error:
                return RenderFailed(part="eligibility.key", message=error.message, line=error.line, column=error.column)
        return eligibility_key(compiled.automation, work, text)

    def _rule_or_failure(
        self,
        work: DecisionWork,
        compiled: CompiledAutomation | BrokenAutomation,
        facts: Mapping[str, Any],
        firings: MutableMapping[EligibilityKey, Firing | None],
    ) -> Ruling:
        if isinstance(compiled, BrokenAutomation):
            return self.internal_failure(work, compiled.automation, compiled.problem)
        try:
            return self._rule(work, compiled, facts, firings)
        except PosthornError as error:
            return self.internal_failure(work, compiled.automation, str(error))
        except Exception as error:  # noqa: BLE001 - its text may quote a value, and a value may be a secret
            return self.internal_failure(work, compiled.automation, type(error).__name__)

    def _rule(
        self,
        work: DecisionWork,
        compiled: CompiledAutomation,
        facts: Mapping[str, Any],
        firings: MutableMapping[EligibilityKey, Firing | None],
    ) -> Ruling:
        verdict = _not_matched(compiled, facts)
        if verdict is not None:
            return self._ruling(work, compiled.automation, verdict)
        key = self.key_of(work, compiled, facts)
        if isinstance(key, RenderFailed):
            return self._ruling(work, compiled.automation, _failed(key))
        firing = firings.get(key) if key is not None else None
        refused = check(compiled.automation, work, key.key if key is not None else "", firing)
        if refused is not None:
            return self._ruling(work, compiled.automation, _not_eligible(refused))
        rendered = render(compiled, facts, self._secrets, hops=hops_of(facts) + 1)
        if isinstance(rendered, RenderFailed):
            return self._ruling(work, compiled.automation, _failed(rendered))
        ruling = self._fired(work, compiled, rendered)
        if key is None:
            return ruling
        firings[key] = remembered = next_firing(firing, work)
        return msgspec.structs.replace(ruling, firing=(key, remembered))

    def _fired(self, work: DecisionWork, compiled: CompiledAutomation, rendered: Rendered) -> Ruling:
        now_ms = self._now_ms()
        lane = automation_lane(compiled.automation.id, rendered.shown.url)
        delivery_id = ids.new_id(ids.DELIVERY, now_ms)
        delivery = NewDelivery(
            id=delivery_id,
            shard=shard_of(lane),
            endpoint=lane,
            due_ms=now_ms,
            event=work.event.id,
            rendered=rendered.sealed_for(delivery_id, self._key_ring),
        )
        verdict = _Verdict(
            outcome=DecisionOutcome.FIRED,
            reason="matched",
            detail="every condition matched and the profile is eligible; the request is queued",
        )
        ruling = self._ruling(work, compiled.automation, verdict)
        decision = msgspec.structs.replace(ruling.decision, delivery=delivery_id)
        return Ruling(decision=decision, delivery=delivery)

    def _ruling(self, work: DecisionWork, automation: Automation, verdict: _Verdict) -> Ruling:
        now_ms = self._now_ms()
        return Ruling(
            decision=Decision(
                id=ids.new_id(ids.DECISION, now_ms),
                workspace=work.event.workspace,
                automation=automation.id,
                version=automation.version,
                event=work.event.id,
                profile=work.profile,
                decided_ms=now_ms,
                outcome=verdict.outcome,
                reason=verdict.reason,
                detail=verdict.detail,
                data=_encode(verdict.data),
            )
        )


_OUT_OF_LINE = _Verdict(
    outcome=DecisionOutcome.NOT_ELIGIBLE,
    reason="came_before_rule",
    detail="the event has no user and came in before it was known that this automation remembers its firings;"
    " it decides on events that come in from now on",
)


def _not_matched(compiled: CompiledAutomation, facts: Mapping[str, Any]) -> _Verdict | None:
    wanted = compiled.automation.trigger.source
    source = facts.get("source", {}).get("id")
    if wanted is not None and wanted != source:
        return _Verdict(
            outcome=DecisionOutcome.NOT_MATCHED,
            reason="source_differs",
            detail=f"the trigger wants the source {wanted}, the event came from {source or 'the API'}",
        )
    if compiled.conditions is None or compiled.conditions.matches(facts):
        return None
    explanation = compiled.conditions.explain(facts)
    return _Verdict(
        outcome=DecisionOutcome.NOT_MATCHED,
        reason="condition_failed",
        detail=explanation.message,
        data=explanation,
    )


def _not_eligible(refused: NotEligible) -> _Verdict:
    return _Verdict(
        outcome=DecisionOutcome.NOT_ELIGIBLE,
        reason=refused.reason,
        detail=refused.detail,
        data={"sinceMs": refused.since_ms},
    )


def _failed(failure: RenderFailed) -> _Verdict:
    return _Verdict(
        outcome=DecisionOutcome.FAILED,
        reason="template_failed",
        detail=f"{failure.part}: line {failure.line}, column {failure.column}: {failure.message}",
        data=failure,
    )


def _broken(problem: str) -> _Verdict:
    return _Verdict(
        outcome=DecisionOutcome.FAILED,
        reason="internal_error",
        detail=f"Posthorn could not decide this; nothing was sent: {problem}",
    )
