"""Compares what the real thing commits with what the reference model makes of the same work, one after the other."""

from typing import Any

import msgspec
from reference_model import Model
from reference_records import Counted, Going, Happened, Outcome, Told, counts_of
from reference_rules import is_timed

from posthorn.decide.footprints import track_of
from posthorn.engine.journal import DecisionQuery, DeliveryQuery
from posthorn.engine.people import EventContext, ProfileQuery
from posthorn.engine.ports import Store
from posthorn.engine.profiles import shared_profile
from posthorn.engine.records import Decided, EligibilityKey, Event, NewDelivery, OutgoingRequest, Recall
from posthorn.engine.runs import Run, RunQuery, RunState, Timer, TimerKind
from posthorn.testing.factories import WORKSPACE

_PAGE = 1000


class Judge:
    """Keeps the model in step with what is committed, and finds every difference."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.waiting: dict[str, Happened] = {}  #: events that are still to be decided
        self.runs: dict[str, Going] = {}
        self.lines: dict[str, str] = {}  #: by run of nobody: the line that it is in
        self.decisions: set[str] = set()
        self.deliveries: set[str] = set()
        self.asked: dict[str, NewDelivery] = {}  #: deliveries whose answers runs wait for
        self.answers: dict[str, Any] = {}
        self.counted: dict[str, Counted] = {}  #: deliveries that eligibility counts
        self.received: dict[str, int] = {}  #: and when they were received
        self.works = 0

    def appended(self, event: Event) -> None:
        """Hear of an event that comes in."""
        self.waiting[event.id] = _happened(event)

    def committed(self, real: Decided, now_ms: int) -> None:
        """Compare one outcome that was committed."""
        self.works += 1
        if "/automation/" in real.work.profile:  # its runs are to be looked at
            assert (real.decisions, real.deliveries, real.runs, real.profiles) == ((), (), (), ())
            return
        if real.moved_to is not None and "/user/" in real.moved_to:
            person = self.model.people[real.work.profile.partition("/user/")[2]]
            self._same("moved to", real.moved_to.partition("/user/")[2], person.merged_into, real)
            return
        known = self.runs.get(real.work.about) if isinstance(real.work, Timer) else None
        before = _of_going(known) if known is not None else None
        outcome = self._expected(real, now_ms)
        moved_to = real.moved_to.partition("/user/")[2] if real.moved_to is not None else None
        self._same("moved to", moved_to, outcome.moved_to, real)
        if moved_to is not None:
            return
        if not isinstance(real.work, Timer):
            del self.waiting[real.work.id]
        self._compare_events(real, outcome)
        decisions = [(one.automation, one.version, one.event, one.outcome.value, one.reason) for one in real.decisions]
        self._same("decisions", decisions, outcome.decisions, real)
        urls = [
            msgspec.json.decode(one.rendered.shown, type=OutgoingRequest).url for one in real.deliveries if one.rendered
        ]
        self._same("requests", urls, outcome.urls, real)
        for number, run, send in outcome.asked:
            delivery = real.deliveries[number]
            run.pending[delivery.id], self.asked[delivery.id] = send, delivery
        for number, counted in outcome.counted:
            delivery = real.deliveries[number]
            self.counted[delivery.id], self.asked[delivery.id] = counted, delivery
        self.decisions.update(one.id for one in real.decisions)
        self.deliveries.update(one.id for one in real.deliveries)
        self._compare_runs(real, outcome)
        if known is not None and known.id not in {run.id for run in real.runs}:
            self._same("the run", before, _of_going(known), real)
        if "/user/" in real.work.profile:
            self._compare_person(real, now_ms)
        else:
            assert (real.profiles, real.memberships, real.count) == ((), (), False)

    def _expected(self, real: Decided, now_ms: int) -> Outcome:
        work = real.work
        user = work.profile.partition("/user/")[2]
        into = [new.event.user for new in real.events if new.event.type == "profile.merged"]
        told = Told(
            moves={one.segment: one.is_in for one in real.memberships},
            merged_into=into[0] if into else None,
            names=[run.id for run in real.runs if run.id not in self.runs],
            ended=frozenset(run.id for run in real.runs if run.id in self.runs and _has_learnt(self.runs[run.id], run)),
        )
        if not isinstance(work, Timer) and not user:
            is_shared = work.profile == shared_profile(WORKSPACE)
            return self.model.decide_for_nobody(self.waiting[work.id], is_shared, now_ms, told)
        if not isinstance(work, Timer):
            return self.model.decide(self.waiting[work.id], user, now_ms, told)
        if work.kind is TimerKind.RUN:
            run = self.runs[work.about]
            if run.state != "cancelled":  # a run that a new version ended learns of it when it wakes
                assert run.due_ms == work.due_ms, f"{run} was woken at {work.due_ms}"
            return self.model.wake(run, user, now_ms, told)
        if work.kind in (TimerKind.ANSWER, TimerKind.RECEIPT):
            return self._heard(work, user, now_ms, told)
        if work.kind is TimerKind.LOOK:
            return self.model.look(self.runs[work.about], user, now_ms, told)
        assert work.kind is TimerKind.SEGMENTS
        return self.model.time_passes(user, now_ms, told)

    def _heard(self, work: Timer, user: str, now_ms: int, told: Told) -> Outcome:
        """Do what follows when a request has ended."""
        delivery = msgspec.json.decode(work.data)["delivery"]
        outcome = Outcome(moved_to=self.model.gone_to(user))
        if outcome.moved_to is None and delivery in self.counted:
            self.model.receive(self.counted[delivery], self.received.get(delivery), user)
        if work.kind is TimerKind.RECEIPT:
            return outcome
        return self.model.answer(self.runs[work.about], delivery, self.answers[delivery], user, now_ms, told)

    def _same(self, what: str, real: Any, expected: Any, decided: Decided) -> None:
        if real != expected:
            work = decided.work if isinstance(decided.work, Timer) else decided.work.event
            raise AssertionError(
                f"{what} of work {self.works}:\n  real     {real}\n  expected {expected}\n  work     {work}"
            )

    def _compare_events(self, real: Decided, outcome: Outcome) -> None:
        emitted = [new.event for new in real.events]
        self._same(
            "emitted events", [_seen(_happened(one)) for one in emitted], [_seen(one) for one in outcome.events], real
        )
        for event, expected in zip(emitted, outcome.events, strict=True):
            for number, (automation, version, of, *rest) in enumerate(outcome.decisions):
                if of == "" and expected.type in ("segment.changed", "profile.changed"):
                    outcome.decisions[number] = (automation, version, event.id, *rest)  # type: ignore[assignment]
            expected.id = event.id
            self.waiting[event.id] = expected

    def _compare_runs(self, real: Decided, outcome: Outcome) -> None:
        begun = [run for run in real.runs if run.id not in self.runs]
        self._same(
            "new runs",
            [(run.automation, run.version, run.key) for run in begun],
            [(run.automation, run.version, run.key) for run in outcome.new_runs],
            real,
        )
        for run, going in zip(begun, outcome.new_runs, strict=True):
            going.id, self.runs[run.id] = run.id, going
            if not going.user:
                self.lines[run.id] = real.work.profile
        for run in real.runs:
            if self.runs[run.id].state == "cancelled" and run.state is RunState.ACTIVE:
                continue  # a new version ended it, and it learns of it when it is to go on
            self._same(f"run {run.automation}", _of_run(run), _of_going(self.runs[run.id]), real)

    def _compare_person(self, real: Decided, now_ms: int) -> None:
        person = self.model.people[real.work.profile.partition("/user/")[2]]
        for one in real.profiles:
            if one.merged_into is None:
                self._same("attributes", one.attributes, person.attributes, real)
                self._same("segments", set(one.segments), person.segments, real)
        if person.merged_into is not None:
            return  # gone, or about to take over whoever was merged into them at the same time
        for segment, rule in self.model.segments.items():
            if not is_timed(rule):
                is_in = self.model.is_in(person, segment, now_ms)
                self._same(f"membership of {segment}", segment in person.segments, is_in, real)

    # ---- the whole store ----

    async def compare(self, store: Store, now_ms: int) -> None:
        """Compare all that is stored, when nothing waits any more."""
        assert self.waiting == {}, f"never decided: {self.waiting}"
        await self._compare_people(store, now_ms)
        await self._compare_firings(store)
        runs = await _all(store.runs, RunQuery, "runs")
        assert {run.id for run in runs} == set(self.runs)
        for run in runs:
            expected = _of_going(self.runs[run.id])
            if expected[0] != "cancelled":  # a run that a new version ended may not know yet
                assert _of_run(run) == expected, run
            if run.state is RunState.ACTIVE:  # those that ended stay with whom they were of then
                assert run.profile == self.lines.get(run.id, self.model.prefix + self.runs[run.id].user)
        late = [run for run in self.runs.values() if run.due_ms is not None and run.due_ms <= now_ms]
        assert late == [], "it should have gone on"
        untold = [
            run
            for run in self.runs.values()
            if run.state == "active" and not self.answers.keys().isdisjoint(run.pending)
        ]
        assert untold == [], "it should have been told of an answer"
        for kept, query, seen in (
            (store.decisions, DecisionQuery, self.decisions),
            (store.deliveries, DeliveryQuery, self.deliveries),
        ):
            stored = {row.id for row in await _all(kept, query, "rows")}
            assert stored == seen, f"{query}: {len(stored)} stored, {len(seen)} seen"

    async def _compare_people(self, store: Store, now_ms: int) -> None:
        profiles = {profile.user: profile for profile in await _all(store.profiles, ProfileQuery, "profiles")}
        living = {user: person for user, person in self.model.people.items() if self.model.gone_to(user) is None}
        assert set(profiles) == set(living)
        for user, person in living.items():
            assert profiles[user].attributes == person.attributes
            assert set(profiles[user].segments) == person.segments
            for segment in self.model.segments:
                is_in = self.model.is_in(person, segment, now_ms)
                assert is_in == (segment in person.segments), f"{user} and {segment}: time moved nobody"
        for user, person in self.model.people.items():
            counts = await store.event_counts(self.model.prefix + user)
            real = {count.type: count.count for count in counts}
            assert real == counts_of(person), f"{user}: {real}, not {counts_of(person)}"
            for count in counts:
                times = [event.occurred_ms for event in person.events if event.type == count.type]
                assert (count.first_ms, count.last_ms) == (min(times), max(times))

    async def _compare_firings(self, store: Store) -> None:
        fired: dict[EligibilityKey, list[int]] = {}
        for person in (*self.model.people.values(), self.model.nobody):
            profile = self.model.prefix + person.user if person.user else shared_profile(WORKSPACE)
            for automation, key, at_ms in person.firings:
                name = EligibilityKey(automation=automation, profile=profile, key=key)
                fired.setdefault(name, []).append(at_ms)
            for automation, key in person.given_back:
                fired.setdefault(EligibilityKey(automation=automation, profile=profile, key=key), [])
        kept = (await store.recall(Recall(firings=frozenset(fired)))).firings
        for name, times in fired.items():
            assert (kept[name].times, kept[name].last_ms) == (len(times), max(times, default=0)), name


async def _all(ask: Any, query: Any, rows: str) -> list[Any]:
    found: list[Any] = []
    while True:
        after = found[-1].user if found and rows == "profiles" else found[-1].id if found else None
        page = await ask(query(workspace=WORKSPACE, after=after, limit=_PAGE))
        found += getattr(page, rows)
        if not getattr(page, rows) or (page.done if rows == "rows" else not page.more):
            return found


def _has_learnt(going: Going, run: Run) -> bool:
    """Tell whether a run learns now that a new version ended it."""
    return going.owes and run.state is not RunState.ACTIVE


def _happened(event: Event) -> Happened:
    context = msgspec.json.decode(event.context, type=EventContext) if event.context is not None else EventContext()
    changes = msgspec.to_builtins(context.changes) if context.changes is not None else {}
    return Happened(
        id=event.id,
        type=event.type,
        data=msgspec.json.decode(event.payload or b"null"),
        occurred_ms=event.occurred_ms,
        received_ms=event.received_ms,
        user=event.user or "",
        changes=changes,
        cancels=context.cancels,
        absorbs=context.absorbs.partition("/user/")[2] if context.absorbs is not None else None,
        depth=context.depth,
    )


def _seen(event: Happened) -> tuple[Any, ...]:
    """Say what must be the same of an emitted event; those that Posthorn makes itself have data of their own."""
    data = event.data if event.type == "vip" else None
    return event.type, event.user, event.absorbs, event.depth, event.occurred_ms, event.received_ms, data


def _of_run(run: Run) -> tuple[Any, ...]:
    waits = track_of(run).waits
    return run.state.value, run.wake_ms, (waits.kind.value, waits.step) if waits is not None else None


def _of_going(run: Going) -> tuple[Any, ...]:
    return run.state, run.due_ms, run.waits
