"""Runs go through the steps of a flow until they have to wait, or are at the end."""

from typing import Any

from msgspec.structs import replace

from posthorn.calendars import QuietHours, TimeOfDay, release_ms, sticky_fraction
from posthorn.clock import HOUR_MS, iso_text
from posthorn.decide.case import Case, Happening, count_facts, person_facts
from posthorn.decide.compiling import CompiledAutomation
from posthorn.decide.facts import local_facts
from posthorn.decide.footprints import Footprint, Track, Waiting, Waits, document_of, track_of, with_footprint
from posthorn.decide.receipts import Counted, give_back
from posthorn.decide.rules import Rules
from posthorn.engine.runs import Run, RunState, Timer, TimerKind

_HELD_MS = HOUR_MS  # how long a held run sleeps at most when nobody tells it that the pause is over


class Walk:
    """One run under way. What it changes is put into the case when it is `left`."""

    def __init__(
        self, case: Case, compiled: CompiledAutomation, run: Run, rules: Rules, track: Track | None = None
    ) -> None:
        self.case = case
        self.compiled = compiled
        self.zone = rules.zone_of(case.workspace, case.person)
        self._rules = rules
        self.track = track_of(run) if track is None else track
        self._as_read = self.track
        self._run = run
        self._state = RunState.ACTIVE
        self._wake_ms = run.wake_ms

    @property
    def id(self) -> str:
        """The run's id."""
        return self._run.id

    @property
    def key(self) -> str:
        """The run's key."""
        return self._run.key

    @property
    def entered_ms(self) -> int:
        """When the run began."""
        return self._run.entered_ms

    @property
    def is_changed(self) -> bool:
        """Whether anything happened to the run in this case."""
        return self.track is not self._as_read

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self._state is not RunState.ACTIVE

    @property
    def failed_unsent(self) -> str | None:
        """Why the run failed, when it did so before anything was sent."""
        return self.track.path[-1].detail if self._state is RunState.FAILED and not self.track.is_sent else None

    @property
    def is_unreceived(self) -> bool:
        """Whether the run is over and its person got nothing, where eligibility counts what is received."""
        track = self.track
        return self.is_over and track.counted is not None and not track.is_sent and not track.is_held_out

    def note(self, step: str, what: str, detail: str = "", delivery: str | None = None) -> None:
        """Leave a footprint."""
        footprint = Footprint(step=step, at_ms=self.case.now_ms, what=what, detail=detail, delivery=delivery)
        self.track = with_footprint(self.track, footprint)

    def queued(self, step: str, delivery: str) -> None:
        """Note that a request is queued."""
        self.track = replace(self.track, is_sent=True)
        self.note(step, "queued", "the request is queued", delivery)

    def count_for(self, counted: Counted | None) -> None:
        """Say which firing the requests of the run count for."""
        self.track = replace(self.track, counted=counted)

    def wait(
        self, kind: Waiting, step: str, until_ms: int | None, pending: tuple[str, ...] = (), *, tries: int = 0
    ) -> None:
        """Stop here until a timer is due, or until something else comes first."""
        turns = self.track.turns + 1
        timer = f"{self.id}/{turns}"
        waits = Waits(kind=kind, step=step, timer=timer, pending=pending, tries=tries)
        self.track = replace(self.track, turns=turns, waits=waits)
        self._wake_ms = until_ms
        if until_ms is not None:
            self.case.put_timer(
                Timer(
                    id=timer,
                    shard=self.case.work.shard,
                    due_ms=until_ms,
                    profile=self.case.work.profile,
                    kind=TimerKind.RUN,
                    about=self.id,
                )
            )

    def hold(self, waits: Waits) -> None:
        """Wait until the automation is paused no more. The timer is for the case that nobody tells of that."""
        self.wait(waits.kind, waits.step, self.case.now_ms + _HELD_MS, waits.pending, tries=waits.tries)
        since_ms = self.case.now_ms if waits.held_ms is None else waits.held_ms
        if self.track.waits is not None:
            self.track = replace(self.track, waits=replace(self.track.waits, held_ms=since_ms))

    def wait_on(self, pending: tuple[str, ...]) -> None:
        """Go on waiting for the answers that are still to come."""
        if self.track.waits is not None:
            self.track = replace(self.track, waits=replace(self.track.waits, pending=pending))

    def stop_waiting(self) -> Waits | None:
        """Forget the wait and take its timer off the queue; return what it was."""
        waits = self.track.waits
        if waits is not None:
            self.case.drop_timer(waits.timer)
            self.track = replace(self.track, waits=None)
        return waits

    def hold_out(self) -> None:
        """Mark the run as one of the holdout group: nothing is sent."""
        self.track = replace(self.track, is_held_out=True)

    def reach_goal(self) -> None:
        """Remember that the goal was reached; the first time counts."""
        if self.track.goal_ms is None:
            self.track = replace(self.track, goal_ms=self.case.now_ms)

    def happen(self, happening: Happening) -> None:
        """Let a newer event take the place of the one that began the run."""
        self.track = replace(self.track, happening=happening.kept())

    def answered(self, step: str, answer: dict[str, Any]) -> None:
        """Keep what a step brought, for later steps to see."""
        self.track = replace(self.track, answers={**self.track.answers, step: answer})

    def end(self, state: RunState, step: str, detail: str) -> None:
        """End the run."""
        self.stop_waiting()
        self.note(step, state.value, detail)
        self._state = state

    def leave(self) -> None:
        """Put the run as it is now into the case."""
        if self.is_unreceived and self.track.counted is not None:
            give_back(self.case, self.track.counted)
        self.case.put_run(
            replace(
                self._run,
                state=self._state,
                changed_ms=self.case.now_ms,
                wake_ms=None if self.is_over else self._wake_ms,
                document=document_of(self.track),
            )
        )

    def facts(self) -> dict[str, Any]:
        """Build what conditions and templates of the steps see."""
        automation = self.compiled.automation
        facts = {
            **self.track.happening.facts,
            "run": {
                "id": self.id,
                "key": self.key,
                "enteredTime": iso_text(self.entered_ms),
                "trigger": self.track.trigger,
            },
            "steps": self.track.answers,
            "automation": {"id": automation.id, "name": automation.name, "version": automation.version},
            "now": iso_text(self.case.now_ms),
        }
        needs, person = self.compiled.needs, self.case.person
        counts = {name: self.case.memory.count(self.case.work.profile, name) for name in needs.counts}
        facts["counts"] = {name: count_facts(count) for name, count in counts.items() if count is not None}
        if person is not None:
            facts["profile"] = person_facts(person)
            facts["segments"] = self._rules.segment_facts(person.segments)
            facts["windows"] = person.windows
        if needs.local:
            facts["local"] = local_facts(self.case.now_ms, self.zone)
        return facts


def quiet_until(walk: Walk) -> int | None:
    """Return when the quiet hours of a flow end for its person, None outside of them."""
    flow = walk.compiled.automation.flow
    if flow is None or flow.quiet_time is None:
        return None
    quiet = QuietHours(start=TimeOfDay.parse(flow.quiet_time.start), end=TimeOfDay.parse(flow.quiet_time.end))
    return release_ms(
        walk.case.now_ms,
        quiet,
        walk.zone,
        jitter=sticky_fraction(f"{walk.id}/quiet"),
        spread_seconds=flow.quiet_time.spread_seconds,
    )
