"""What moves runs that wait: timers, answers, events, exits and goals."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import msgspec

from posthorn.calendars import sticky_fraction
from posthorn.clock import SECOND_MS
from posthorn.decide import receipts, verdicts
from posthorn.decide.case import Case, Happening
from posthorn.decide.compiling import BrokenAutomation, CompiledAutomation
from posthorn.decide.entering import ABSENCE_STEP, HOLDOUT_STEP, Entrance, render_key
from posthorn.decide.footprints import Footprint, Waiting, Waits, document_of, track_of, with_footprint
from posthorn.decide.memory import Missing
from posthorn.decide.places import Place
from posthorn.decide.rendering import RenderFailed
from posthorn.decide.rules import Rules
from posthorn.decide.running import Walk
from posthorn.decide.sending import RequestEnd
from posthorn.decide.stepping import GOAL_STEP, Stepper, answer_facts
from posthorn.engine.flows import OnAbsence, Pausing, WaitForEvent
from posthorn.engine.records import DeliveryState
from posthorn.engine.runs import Run, RunState, Timer, TimerKind


class Mover:
    """Takes waiting runs on."""

    def __init__(self, *, rules: Rules, stepper: Stepper, entrance: Entrance) -> None:
        self._rules = rules
        self._stepper = stepper
        self._entrance = entrance

    def move(self, case: Case, timer: Timer) -> None:
        """Go on with a run whose timer is due, unless it went on before; give it an answer; or look at it anew."""
        with self._guarding(case, timer.about):
            match timer.kind:
                case TimerKind.ANSWER:
                    self._answer(case, timer)
                case TimerKind.LOOK:
                    self._look(case, timer)
                case _:
                    self._wake(case, timer)

    @contextmanager
    def _guarding(self, case: Case, run: str) -> Iterator[None]:
        """End a run in which something goes wrong that must not: it would wait for ever, and hold up others."""
        try:
            yield
        except Missing:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this run's
            self.give_up(case, run, type(error).__name__)

    def give_up(self, case: Case, identifier: str, problem: str) -> None:
        """End a run that cannot go on, and say why."""
        run = case.memory.run(identifier)
        if run is not None and run.state is RunState.ACTIVE:
            _end(case, run, RunState.FAILED, f"Posthorn could not go on: {problem}")

    def _wake(self, case: Case, timer: Timer) -> None:
        walk = self._walk_of(case, timer.about)
        if walk is None or walk.track.waits is None or walk.track.waits.timer != timer.id:
            return
        waits = walk.stop_waiting()
        if waits is not None:
            self._go_on_unless_paused(walk, waits)

    def _look(self, case: Case, timer: Timer) -> None:
        """See what a change of its automation means for a run: it may be over, and one that was held goes on."""
        walk = self._walk_of(case, timer.about)
        waits = walk.track.waits if walk is not None else None
        if walk is not None and waits is not None and waits.held_ms is not None:
            walk.stop_waiting()
            self._go_on_unless_paused(walk, waits)

    def _go_on_unless_paused(self, walk: Walk, waits: Waits) -> None:
        current = self._rules.current(walk.compiled.automation.id)  # a version that is kept was not paused itself
        if current is None or (not current.enabled and current.pausing.runs == "hold"):
            walk.hold(waits)
            walk.leave()
        elif waits.held_ms is None:
            self._go_on(walk, waits)
        else:
            self._release(walk, waits, current.pausing, walk.case.now_ms - waits.held_ms)

    def _release(self, walk: Walk, waits: Waits, pausing: Pausing, held_ms: int) -> None:
        """Go on with a run that a pause held, at once or a little later; or end it, when its time is over."""
        if pausing.end_after_seconds is not None and held_ms > pausing.end_after_seconds * SECOND_MS:
            said = f"a pause held it for {held_ms // SECOND_MS} s, and what was held for longer than"
            walk.end(RunState.EXITED, waits.step, f"{said} {pausing.end_after_seconds} s ends")
            walk.leave()
        elif pausing.spread_seconds:
            later_ms = int(sticky_fraction(f"{walk.id}/pause") * pausing.spread_seconds * SECOND_MS)
            walk.wait(waits.kind, waits.step, walk.case.now_ms + later_ms, waits.pending, tries=waits.tries)
            walk.note(waits.step, "released", f"the pause is over; it goes on in {later_ms // SECOND_MS} s")
            walk.leave()
        else:
            self._go_on(walk, waits)

    def receive(self, case: Case, timer: Timer) -> RequestEnd:
        """Count a request that has ended where eligibility counts from receipt."""
        told = msgspec.json.decode(timer.data, type=RequestEnd)
        if told.counted is not None:
            receipts.hear(case, told.counted, case.memory.answer(told.delivery))
        return told

    def _answer(self, case: Case, timer: Timer) -> None:
        told = self.receive(case, timer)
        walk = self._walk_of(case, timer.about)
        if walk is None or walk.track.waits is None or told.delivery not in walk.track.waits.pending:
            return
        attempt = case.memory.answer(told.delivery)
        if attempt is None:
            facts = answer_facts(DeliveryState.CANCELLED, None, None)
        else:
            facts = answer_facts(attempt.state, attempt.response_status, attempt.response_body)
        walk.answered(told.step, facts)
        walk.note(told.step, "answered", f"{facts['state']}, status {facts['status']}", told.delivery)
        waits = walk.track.waits
        left = tuple(delivery for delivery in waits.pending if delivery != told.delivery)
        if left:
            walk.wait_on(left)
            walk.leave()
            return
        walk.stop_waiting()
        self._go_on_unless_paused(walk, msgspec.structs.replace(waits, pending=()))

    def cancel(self, case: Case, run: str) -> None:
        """End a run because somebody asked for it."""
        found = case.memory.run(run)
        walk = self._walk_of(case, run) if found is not None and found.profile == case.work.profile else None
        if walk is not None:
            walk.end(RunState.CANCELLED, walk.track.waits.step if walk.track.waits is not None else "", "by hand")
            walk.leave()

    def happen(self, case: Case, happening: Happening, automations: frozenset[str]) -> None:
        """Let an event move or end the runs of its person that wait for it."""
        for run in case.memory.active_runs(case.work.profile):
            if run.automation in automations:
                with self._guarding(case, run.id):
                    self._happen(case, run, happening)

    def _happen(self, case: Case, run: Run, happening: Happening) -> None:
        walk = self._walk_of(case, run.id)
        if walk is None:
            return
        flow, waits = walk.compiled.automation.flow, walk.track.waits
        if flow is None or waits is None:
            return
        if flow.goal is not None and flow.goal.event_type == happening.type:
            self._reach_goal(walk, happening)
        if not walk.is_over and happening.type in flow.exit_on and _is_for_key(walk, happening):
            walk.end(RunState.EXITED, waits.step, f"{happening.type} ended it")
        if not walk.is_over and waits.kind is Waiting.ABSENCE:
            self._end_absence(walk, happening)
        if not walk.is_over and waits.kind is Waiting.EVENT and self._event_came(walk, waits, happening):
            return
        if walk.is_changed:
            walk.leave()

    def _reach_goal(self, walk: Walk, happening: Happening) -> None:
        goal = walk.compiled.automation.flow.goal if walk.compiled.automation.flow is not None else None
        if goal is None or happening.received_ms > walk.entered_ms + goal.within_seconds * SECOND_MS:
            return  # how long it waited to be decided says nothing about the person
        walk.reach_goal()
        walk.note("", "goal", f"{happening.type} came in time")
        if goal.ends_run:
            walk.end(RunState.COMPLETED, "", "the goal is reached")

    def _end_absence(self, walk: Walk, happening: Happening) -> None:
        for trigger in walk.compiled.triggers:
            is_awaited = isinstance(trigger, OnAbsence) and verdicts.name_of(trigger) == walk.track.trigger
            if isinstance(trigger, OnAbsence) and is_awaited and happening.type in trigger.without:
                key = render_key(walk.compiled.absence_keys.get(trigger.key or ""), happening.facts)
                if isinstance(key, RenderFailed):  # whose it is cannot be told: better nothing than to the wrong one
                    walk.end(RunState.EXITED, ABSENCE_STEP, f"{happening.type} came without a key: {key.message}")
                elif key == walk.key:
                    walk.end(RunState.EXITED, ABSENCE_STEP, f"{happening.type} came: it did not stay away")
                else:
                    continue
                return

    def _event_came(self, walk: Walk, waits: Waits, happening: Happening) -> bool:
        """Go on with a run when this is the event that it waits for. False: it is not."""
        place = walk.compiled.places.get(waits.step)
        if place is None or not isinstance(place.step, WaitForEvent) or happening.type not in place.step.event_types:
            return False
        facts = {**walk.facts(), **happening.facts}
        test = place.tests[0]
        if test is not None and not test.matches(facts):
            walk.note(waits.step, "other", test.explain(facts).message)
            return False
        walk.stop_waiting()
        walk.answered(waits.step, {"event": happening.facts["event"]})
        walk.note(waits.step, "went_on", f"{happening.type} came")
        self._go_on_unless_paused(walk, msgspec.structs.replace(waits, kind=Waiting.CAME))
        return True

    def _go_on(self, walk: Walk, waits: Waits) -> None:
        place = walk.compiled.places.get(waits.step)
        match waits.kind:
            case Waiting.QUIET | Waiting.CONTENT:
                self._stepper.go(walk, waits.step, after=waits)
            case Waiting.ABSENCE:
                self._entrance.admit(walk.case, walk.compiled, walk.track.happening, walk.track.trigger, walk)
            case Waiting.EVENT:
                walk.note(waits.step, "timeout", "the event did not come in time")
                self._stepper.go(walk, _way_of(place, 1, waits.step))
            case Waiting.ANSWER if not waits.pending:
                self._stepper.go(walk, place.then if place is not None else waits.step)
            case Waiting.CAME:
                self._stepper.go(walk, _way_of(place, 0, waits.step))
            case Waiting.GOAL:
                walk.end(RunState.COMPLETED, GOAL_STEP, "the time for the goal is over")
                walk.leave()
            case _ if waits.step == HOLDOUT_STEP:
                walk.end(RunState.COMPLETED, HOLDOUT_STEP, "the time for the goal is over")
                walk.leave()
            case _:
                walk.note(waits.step, "went_on")
                self._stepper.go(walk, place.then if place is not None else waits.step)

    def _walk_of(self, case: Case, identifier: str) -> Walk | None:
        """Find an active run, in the version that it belongs to now; None when there is nothing to go on with."""
        run = case.memory.run(identifier)
        if run is None or run.state is not RunState.ACTIVE:
            return None
        run = msgspec.structs.replace(run, profile=case.work.profile)  # the person may have been merged meanwhile
        current = self._rules.current(run.automation)
        compiled = self._version_for(run)
        if current is None or compiled is None or isinstance(compiled, BrokenAutomation):
            reason = "the automation is deleted" if current is None else "its automation cannot be compiled any more"
            self._cancel(case, run, reason)
            return None
        if not current.enabled and current.pausing.runs == "exit":
            self._cancel(case, run, "the automation is paused, and a pause ends its runs")
            return None
        in_flight = current.flow.in_flight if current.flow is not None else "exit"
        if current.version != run.version and in_flight == "exit":
            self._cancel(case, run, f"version {current.version} ended the runs of those before it")
            return None
        return Walk(case, compiled, run, self._rules)

    def _version_for(self, run: Run) -> CompiledAutomation | BrokenAutomation | None:
        current = self._rules.current(run.automation)
        if current is None:
            return None
        stays = current.flow is None or current.flow.in_flight == "stay"
        return self._rules.version(run.automation, run.version if stays else current.version)

    def _cancel(self, case: Case, run: Run, reason: str) -> None:
        compiled = self._rules.version(run.automation, run.version)
        if isinstance(compiled, CompiledAutomation):
            walk = Walk(case, compiled, run, self._rules)
            walk.end(RunState.CANCELLED, "", reason)
            walk.leave()
            return
        _end(case, run, RunState.CANCELLED, reason)


def _end(case: Case, run: Run, state: RunState, detail: str) -> None:
    """End a run that cannot be walked: there is nothing compiled to go through, or going through it went wrong."""
    document = run.document
    with suppress(msgspec.DecodeError):  # the document itself may be what cannot be read
        track = track_of(run)
        if track.waits is not None:
            case.drop_timer(track.waits.timer)
        said = Footprint(step="", at_ms=case.now_ms, what=state.value, detail=detail)
        document = document_of(with_footprint(msgspec.structs.replace(track, waits=None), said))
    case.put_run(msgspec.structs.replace(run, state=state, changed_ms=case.now_ms, wake_ms=None, document=document))


def _way_of(place: Place | None, number: int, step: str) -> str | None:
    """Tell where a wait for an event leads to. In a version that came later the step may be another, or gone."""
    if place is None:
        return step
    return place.ways[number] if len(place.ways) > number else place.then


def _is_for_key(walk: Walk, happening: Happening) -> bool:
    template = walk.compiled.exit_key
    return template is None or render_key(template, happening.facts) == walk.key
