"""Letting a person into an automation: trigger, conditions, eligibility, holdout; and putting the answer on record."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from posthorn import ids
from posthorn.calendars import Zone, sticky_bucket
from posthorn.clock import SECOND_MS
from posthorn.decide import receipts, verdicts
from posthorn.decide.caps import Caps
from posthorn.decide.case import Case, Happening, person_facts
from posthorn.decide.compiling import ONLY_STEP, BrokenAutomation, CompiledAutomation
from posthorn.decide.eligibility import check, eligibility_key, next_firing
from posthorn.decide.facts import local_facts
from posthorn.decide.footprints import Track, Waiting, is_watching
from posthorn.decide.memory import Misses, Missing
from posthorn.decide.receipts import Counted
from posthorn.decide.rendering import RenderFailed
from posthorn.decide.rules import Rules
from posthorn.decide.running import Walk
from posthorn.decide.sending import Sender, Told
from posthorn.decide.stepping import Stepper, wait_for_content
from posthorn.decide.verdicts import Verdict, record
from posthorn.engine.flows import OnAbsence, Trigger
from posthorn.engine.listening import type_of
from posthorn.engine.records import EligibilityKey
from posthorn.engine.runs import Run, RunState
from posthorn.errors import PosthornError
from posthorn.templating import Template, TemplateRenderFailed

_HUNDREDTHS = 10_000
ABSENCE_STEP = "$absence"
HOLDOUT_STEP = "$holdout"


class Entrance:
    """Decides who enters, and lets them in."""

    def __init__(self, *, rules: Rules, sender: Sender, stepper: Stepper, caps: Caps) -> None:
        self._rules = rules
        self._caps = caps
        self._sender = sender
        self._stepper = stepper

    def try_all(
        self,
        case: Case,
        automations: Sequence[CompiledAutomation | BrokenAutomation],
        triggers_of: Mapping[str, Trigger] | None,
        happening: Happening,
    ) -> None:
        """Try each automation. What goes wrong inside one is its failed decision; the others must not suffer."""
        misses = Misses()
        for compiled in automations:
            if isinstance(compiled, BrokenAutomation):
                record(case, compiled.automation, happening.id, verdicts.broken(compiled.problem))
                continue
            with misses:
                self._try_safely(case, compiled, triggers_of, happening)
        misses.settle()

    def _try_safely(
        self,
        case: Case,
        compiled: CompiledAutomation,
        chosen: Mapping[str, Trigger] | None,
        happening: Happening,
    ) -> None:
        try:
            self._try(case, compiled, chosen, happening)
        except Missing:
            raise
        except Exception as error:  # noqa: BLE001 - its text may quote a value, and a value may be a secret
            if not case.has_decided(compiled.automation.id):
                problem = str(error) if isinstance(error, PosthornError) else type(error).__name__
                record(case, compiled.automation, happening.id, verdicts.broken(problem))

    def _try(
        self,
        case: Case,
        compiled: CompiledAutomation,
        chosen: Mapping[str, Trigger] | None,
        happening: Happening,
    ) -> None:
        trigger, verdict = self._triggered(compiled, chosen, happening)
        verdict = verdict or verdicts.not_open(compiled.automation, case.now_ms)
        if verdict is None:
            self._complete(case, compiled, happening)
            verdict = verdicts.not_matched(compiled, happening.facts)
        if verdict is not None or trigger is None:
            if verdict is not None:
                record(case, compiled.automation, happening.id, verdict)
            return
        if isinstance(trigger, OnAbsence):
            self._watch(case, compiled, trigger, happening)
            return
        self.admit(case, compiled, happening, verdicts.name_of(trigger))

    def _complete(self, case: Case, compiled: CompiledAutomation, happening: Happening) -> None:
        """Add to the facts what it looks at, and what those before it changed in the person."""
        case.look_up_counts(happening.facts, compiled.needs.counts)
        if compiled.needs.local and "local" not in happening.facts:
            happening.facts["local"] = local_facts(case.now_ms, self._zone(case))
        if case.person is not None and case.person is not case.shown:
            happening.facts["profile"] = person_facts(case.person)
            happening.facts["segments"] = self._rules.segment_facts(case.person.segments)
            case.shown = case.person

    def _triggered(
        self, compiled: CompiledAutomation, chosen: Mapping[str, Trigger] | None, happening: Happening
    ) -> tuple[Trigger | None, Verdict | None]:
        """Find the first trigger that fires; when none does, why the first one of this type did not."""
        if chosen is not None:
            return chosen.get(compiled.automation.id), None
        refused: Verdict | None = None
        for trigger in compiled.triggers:
            if type_of(trigger, compiled.automation.id) != happening.type:
                continue
            verdict = verdicts.not_triggered(trigger, happening.facts)
            if verdict is None:
                return trigger, None
            refused = refused or verdict
        return None, refused

    def admit(
        self,
        case: Case,
        compiled: CompiledAutomation,
        happening: Happening,
        trigger: str,
        walk: Walk | None = None,
    ) -> None:
        """Let a person in who may: send at once, or begin the run (or go on with one that waited for an absence)."""
        automation = compiled.automation
        key = self._key(case, compiled, happening)
        refused = self._refused(case, compiled, key, happening)
        if refused is not None:
            record(case, automation, happening.id, refused)
            if walk is not None:
                walk.end(RunState.EXITED, ABSENCE_STEP, refused.detail)
                walk.leave()
            return
        holds_place = key if isinstance(key, EligibilityKey) else None
        counted = receipts.counted(automation, holds_place, happening.received_ms)
        if compiled.request is not None:
            capped = self._caps.refuses(case, automation, self._zone(case))
            if capped is not None:
                record(case, automation, happening.id, verdicts.capped(capped))
                return
            delivery = self._sender.queue(
                case,
                automation,
                compiled.request,
                happening.facts,
                event=happening.id,
                hops=happening.depth + 1,
                told=Told(counted=counted) if counted is not None else None,
            )
            if isinstance(delivery, RenderFailed) and delivery.is_unanswered:
                self._wait_for_content(case, compiled, happening, trigger, delivery, counted)
            elif isinstance(delivery, RenderFailed):
                record(case, automation, happening.id, verdicts.failed(delivery))
                return
            else:
                record(case, automation, happening.id, verdicts.FIRED, delivery=delivery)
                self._caps.count(case, automation)
        if automation.flow is None or self._begin(case, compiled, happening, trigger, walk, counted):
            self._remember(case, key, happening)

    def _begin(
        self,
        case: Case,
        compiled: CompiledAutomation,
        happening: Happening,
        trigger: str,
        walk: Walk | None,
        counted: Counted | None,
    ) -> bool:
        """Let a run go its first steps. False: nothing was sent, and that costs nothing of the eligibility."""
        flow = compiled.automation.flow
        walk = walk or self._new_walk(case, compiled, happening, trigger, self._run_key(compiled, happening))
        walk.count_for(counted)
        if flow is not None and self._is_held_out(case, compiled):
            self._hold_out(walk, happening)
            return True
        walk.note("", "entered", trigger)
        self._stepper.go(walk, compiled.first)
        failure = walk.failed_unsent
        verdict = verdicts.failed_at_once(walk.id, failure) if failure is not None else verdicts.entered(walk.id)
        record(case, compiled.automation, happening.id, verdict)
        return failure is None and not walk.is_unreceived

    def _wait_for_content(
        self,
        case: Case,
        compiled: CompiledAutomation,
        happening: Happening,
        trigger: str,
        failure: RenderFailed,
        counted: Counted | None,
    ) -> None:
        """Let a request without a flow wait as a run, which is what waits here, and may be looked up and cancelled."""
        walk = self._new_walk(case, compiled, happening, trigger, self._run_key(compiled, happening))
        walk.count_for(counted)
        walk.note("", "entered", trigger)
        wait_for_content(walk, ONLY_STEP, 1, failure)
        walk.leave()
        detail = f"it waits for content that its template cannot do without: {failure.part}: {failure.message}"
        record(case, compiled.automation, happening.id, verdicts.entered(walk.id, detail))

    def _hold_out(self, walk: Walk, happening: Happening) -> None:
        flow = walk.compiled.automation.flow
        percent = flow.holdout_percent if flow is not None else 0.0
        record(walk.case, walk.compiled.automation, happening.id, verdicts.held_out(walk.id, percent))
        walk.hold_out()
        if flow is None or flow.goal is None:
            walk.end(RunState.COMPLETED, HOLDOUT_STEP, "in the holdout group")
        else:  # whether the goal is reached without us is what the group is for
            walk.wait(Waiting.TIME, HOLDOUT_STEP, walk.case.now_ms + flow.goal.within_seconds * SECOND_MS)
        walk.leave()

    def _watch(self, case: Case, compiled: CompiledAutomation, trigger: OnAbsence, happening: Happening) -> None:
        """Begin to wait whether something stays away; anew when that wait is under way for the same key."""
        if case.person is None:
            record(case, compiled.automation, happening.id, verdicts.NO_PERSON)
            return
        key = render_key(compiled.absence_keys.get(trigger.key or ""), happening.facts)
        if isinstance(key, RenderFailed):
            record(case, compiled.automation, happening.id, verdicts.failed(key))
            return
        until_ms = happening.received_ms + trigger.seconds * SECOND_MS
        name = verdicts.name_of(trigger)
        present = next((run for run in self._waiting_runs(case, compiled, key, name)), None)
        if present is not None:
            walk = Walk(case, compiled, replace(present, version=compiled.automation.version), self._rules)
            walk.stop_waiting()
            walk.happen(happening)
        else:
            walk = self._new_walk(case, compiled, happening, name, key)
        walk.note(ABSENCE_STEP, "waits", f"whether {', '.join(trigger.without)} stays away for {trigger.seconds} s")
        walk.wait(Waiting.ABSENCE, ABSENCE_STEP, until_ms)
        walk.leave()
        again = "it waits anew" if present is not None else "it waits"
        detail = f"{again} whether {', '.join(trigger.without)} stays away for {trigger.seconds} s"
        record(case, compiled.automation, happening.id, verdicts.entered(walk.id, detail))

    def _waiting_runs(self, case: Case, compiled: CompiledAutomation, key: str, trigger: str) -> list[Run]:
        flow = compiled.automation.flow
        ends_old = flow is None or flow.in_flight == "exit"
        return [
            run
            for run in case.memory.active_runs(case.work.profile)
            if run.automation == compiled.automation.id
            and run.key == key
            and (run.version == compiled.automation.version or not ends_old)
            and is_watching(run, trigger)
        ]

    def _new_walk(self, case: Case, compiled: CompiledAutomation, happening: Happening, trigger: str, key: str) -> Walk:
        run = Run(
            id=case.new_id(ids.RUN),
            workspace=case.workspace,
            automation=compiled.automation.id,
            version=compiled.automation.version,
            profile=case.work.profile,
            key=key,
            state=RunState.ACTIVE,
            entered_ms=case.now_ms,
            changed_ms=case.now_ms,
            wake_ms=None,
            document=b"",
        )
        return Walk(case, compiled, run, self._rules, Track(happening=happening.kept(), trigger=trigger))

    def _is_held_out(self, case: Case, compiled: CompiledAutomation) -> bool:
        flow = compiled.automation.flow
        if flow is None or not flow.holdout_percent:
            return False
        whom = case.work.profile if case.person is not None else case.work.id
        drawn = sticky_bucket(f"{compiled.automation.id}/$holdout/{whom}", _HUNDREDTHS)
        return drawn < flow.holdout_percent * _HUNDREDTHS / 100

    def _key(
        self, case: Case, compiled: CompiledAutomation, happening: Happening
    ) -> EligibilityKey | RenderFailed | None:
        text = render_key(compiled.key, happening.facts)
        if isinstance(text, RenderFailed):
            return text
        return eligibility_key(compiled.automation, case.person.user if case.person is not None else None, text)

    def _run_key(self, compiled: CompiledAutomation, happening: Happening) -> str:
        text = render_key(compiled.key, happening.facts)
        return text if isinstance(text, str) else ""

    def _refused(
        self, case: Case, compiled: CompiledAutomation, key: EligibilityKey | RenderFailed | None, happening: Happening
    ) -> Verdict | None:
        if key is None:
            return None
        if isinstance(key, RenderFailed):
            return verdicts.failed(key)
        firing = case.memory.firing(key)
        refused = check(compiled.automation, key, firing, at_ms=happening.received_ms, zone=self._zone(case))
        return verdicts.not_eligible(refused) if refused is not None else None

    def _remember(self, case: Case, key: EligibilityKey | RenderFailed | None, happening: Happening) -> None:
        if isinstance(key, EligibilityKey):
            case.put_firing(key, next_firing(case.memory.firing(key), happening.received_ms))

    def _zone(self, case: Case) -> Zone:
        return self._rules.zone_of(case.workspace, case.person)


def render_key(template: Template | None, facts: Mapping[str, Any]) -> str | RenderFailed:
    """Render a key; "" where there is no template."""
    if template is None:
        return ""
    try:
        return template.render(facts)
    except TemplateRenderFailed as error:
        return RenderFailed(part="eligibility.key", message=error.message, line=error.line, column=error.column)
