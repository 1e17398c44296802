"""A simple model of automations: lists of all that ever happened, and answers found by going through them.

It knows the rules as JSON, as people write them, and shares no code with `posthorn.decide`; only calendars and the
sticky hash, which have tests of their own. It is told in which order the work was done, and does the same.
"""

from reference_limits import is_capped, not_eligible
from reference_people import People
from reference_records import Going, Happened, Json, Now, Outcome, Person, Told, absorb, counts_of
from reference_rules import AbortedError, Facts, counts_in, holds, is_timed, looked_at, printed
from reference_steps import Steps
from reference_triggers import is_changed, is_moved, listens, type_of

from posthorn.calendars import sticky_bucket


class Model(People):
    """People, rules and runs."""

    def __init__(self, *, prefix: str, time_zone: str, caps: list[Json], segments: dict[str, Json]) -> None:
        super().__init__(prefix, time_zone)
        self.caps = caps
        self.segments = segments
        self.rules: dict[str, list[Json]] = {}  #: by automation: its versions, the newest last
        self.steps = Steps(self)

    # ---- what people configure ----

    def publish(self, automation: Json) -> None:
        """Put a new version in force."""
        versions = self.rules.setdefault(automation["id"], [])
        versions.append(automation)
        if len(versions) > 1 and automation["flow"].get("inFlight") == "exit":
            for run in self.runs:
                if run.automation == automation["id"] and run.state == "active":
                    run.state, run.waits, run.due_ms, run.owes = "cancelled", None, None, True

    def switch(self, automation: str) -> None:
        """Pause an automation, or let it go on when it was: that is no new version."""
        current = self.current(automation)
        self.rules[automation][-1] = current | {"enabled": not current["enabled"]}

    def current(self, automation: str) -> Json:
        return self.rules[automation][-1]

    def in_force(self, run: Going) -> Json:
        """Return the version that a run belongs to now."""
        newest = self.current(run.automation)
        if newest["flow"].get("inFlight") == "move":
            return newest
        return next(each for each in self.rules[run.automation] if each["version"] == run.version)

    def enabled(self) -> list[Json]:
        return [self.current(name) for name in sorted(self.rules) if self.current(name)["enabled"]]

    # ---- one piece of work ----

    def decide(self, event: Happened, user: str, at_ms: int, told: Told) -> Outcome:
        """Do what follows from an event in the line of a user."""
        outcome = Outcome(moved_to=self.gone_to(user))
        if outcome.moved_to is not None:
            return outcome
        self.learn(told)
        is_new = user not in self.people
        person = self.people.setdefault(user, Person(user=user))
        now = Now(at_ms=at_ms, person=person, event=event, told=told, outcome=outcome, is_touched=is_new)
        into = event.changes.get("mergeInto")
        if into is not None and event.user == user and self.merge(now, into, told.merged_into):
            return outcome
        if event.absorbs is not None:
            if event.absorbs != user:
                absorb(person, self.people[event.absorbs])
                person.merged_into = None
            now.is_touched = True
        self.change(now, event.changes)
        now.is_touched |= any(counts_in(rule, event, person.events) for rule in self.segments.values())
        person.events.append(event)
        for run in self._active(person):
            if run.id in event.cancels:
                self.end(run, "cancelled")
        for run in self._active(person):
            self._touch(now, run)
        self._update_segments(now)
        for automation in self.enabled():
            self._try_triggers(now, automation)
        self._react(now)
        return outcome

    def decide_for_nobody(self, event: Happened, is_shared: bool, at_ms: int, told: Told) -> Outcome:
        """Do what follows from an event without a user; in the one line of all of them where firings are remembered."""
        listening = [one for one in self.enabled() if listens(one, event.type)]
        outcome = Outcome()
        if not is_shared and any(one["eligibility"]["type"] != "always" for one in listening):
            outcome.moved_to = ""
            return outcome
        self.learn(told)
        now = Now(at_ms=at_ms, person=self.nobody, event=event, told=told, outcome=outcome)
        for run in self.runs:
            if run.id in event.cancels and run.state == "active":
                self.end(run, "cancelled")
        for automation in listening:
            self._try_triggers(now, automation)
        return outcome

    def wake(self, run: Going | None, user: str, at_ms: int, told: Told) -> Outcome:
        """Do what follows when the timer of a run's present wait is due."""
        outcome = Outcome(moved_to=self.gone_to(user))
        person = self.people[user] if user else self.nobody
        if outcome.moved_to is not None:
            return outcome
        self.learn(told)
        if run is None or run.state != "active" or run.waits is None:
            return outcome
        if run.user != user:  # it is woken before its person is taken over
            self.people[run.user].runs.remove(run)
            person.runs.append(run)
            run.user = user
        event = self.told(person, "profile.changed", at_ms)
        now = Now(at_ms=at_ms, person=person, event=event, told=told, outcome=outcome)
        kind, step = run.waits
        if self.holds(now, run):
            return outcome
        if kind == "absence":
            self._admit(now, self.in_force(run), run.event, run)
        elif step in ("$holdout", "$goal"):
            self.end(run, "completed")
        else:
            self.steps.resume(now, run, came=None)
        self._tell(now)
        return outcome

    def answer(self, run: Going, delivery: str, answer: Json, user: str, at_ms: int, told: Told) -> Outcome:
        """Give a run the answer to a request; with the last one that it waits for it goes on."""
        if run.state != "active" or delivery not in run.pending:
            return Outcome(moved_to=self.gone_to(user))
        run.answers = {**run.answers, run.pending.pop(delivery): answer}
        return self.wake(None if run.pending else run, user, at_ms, told)

    def look(self, run: Going, user: str, at_ms: int, told: Told) -> Outcome:
        """Let a run go on that only a paused automation held."""
        return self.wake(run if run.is_held else None, user, at_ms, told)

    def holds(self, now: Now, run: Going) -> bool:
        """Hold a run that would go on while its automation is paused; it is woken each hour to see whether it is."""
        run.is_held = not self.current(run.automation)["enabled"]
        if run.is_held:
            run.due_ms = now.at_ms + 3_600_000
        return run.is_held

    def time_passes(self, user: str, at_ms: int, told: Told) -> Outcome:
        """Do what follows when time alone changes who is in a segment."""
        outcome = Outcome(moved_to=self.gone_to(user))
        person = self.people[user]
        if outcome.moved_to is not None:
            return outcome
        event = self.told(person, "segment.changed", at_ms)
        now = Now(at_ms=at_ms, person=person, event=event, told=told, outcome=outcome)
        self._tell(now)
        return outcome

    def _tell(self, now: Now) -> None:
        """Let automations react to what time or a run changed: it is an event, too."""
        if now.person is self.nobody:
            return
        self._update_segments(now)
        if now.changed or now.moved:
            now.outcome.events.append(now.event)
            self._react(now)

    def facts(self, now: Now, event: Happened, run: Going | None = None) -> Facts:
        """Gather what conditions and templates see."""
        person = now.person
        seen: Json = {"event": {"type": event.type} | ({"data": event.data} if event.data is not None else {})}
        seen |= {
            "profile": {"id": person.user, "attributes": person.attributes, "subscriptions": person.subscriptions},
            "counts": {kind: {"count": n} for kind, n in counts_of(person).items()},
        }
        if person is self.nobody:
            del seen["profile"], seen["counts"]
        if run is not None:
            seen |= {
                "run": {"key": run.key},
                "steps": run.answers,
                "automation": {"version": self.in_force(run)["version"]},
            }
        return Facts(seen=seen, events=person.events, segments=person.segments, now_ms=now.at_ms)

    # ---- segments ----

    def is_in(self, person: Person, segment: str, at_ms: int) -> bool:
        nobody = self.told(person, "", at_ms)
        now = Now(at_ms=at_ms, person=person, event=nobody, told=Told(), outcome=Outcome())
        return holds(self.segments[segment], self.facts(now, nobody))

    def _update_segments(self, now: Now) -> None:
        looks_at_all = now.is_touched
        for segment in sorted(self.segments):
            is_in = self.is_in(now.person, segment, now.at_ms)
            is_due = looks_at_all or now.event.type in ("segment.changed", looked_at(self.segments[segment]))
            if is_timed(self.segments[segment]) and not (is_due and now.told.moves.get(segment) is is_in):
                continue  # when time moves somebody is not for the model to say, only whether it is right
            if is_in != (segment in now.person.segments):
                now.is_touched = True
                now.moved.append((segment, is_in))
                (now.person.segments.add if is_in else now.person.segments.discard)(segment)

    # ---- entering ----

    def _try_triggers(self, now: Now, automation: Json) -> None:
        kind = now.event.type
        triggers = [one for one in automation["flow"]["triggers"] if type_of(one, automation) == kind]
        fires = [one for one in triggers if one["type"] != "count" or self._is_nth(now, one)]
        if fires:
            self._try(now, automation, fires[0])
        elif triggers:
            self.record(now, automation, now.event, "not_matched", "count_differs")

    def _is_nth(self, now: Now, trigger: Json) -> bool:
        number = counts_of(now.person).get(trigger["eventType"])
        if number is None:
            return False  # it has no user, and only people's events are counted
        return number == trigger["count"] or (trigger.get("every", False) and number % trigger["count"] == 0)

    def _try(self, now: Now, automation: Json, trigger: Json) -> None:
        facts = self.facts(now, now.event)
        flow = automation["flow"]
        if now.at_ms < flow.get("startsMs", now.at_ms):
            self.record(now, automation, now.event, "not_eligible", "not_started")
        elif now.at_ms >= flow.get("endsMs", now.at_ms + 1):
            self.record(now, automation, now.event, "not_eligible", "ended")
        elif automation["conditions"] is not None and not holds(automation["conditions"], facts):
            self.record(now, automation, now.event, "not_matched", "condition_failed")
        elif trigger["type"] == "absence" and now.person is self.nobody:
            self.record(now, automation, now.event, "not_eligible", "no_user")
        elif trigger["type"] == "absence":
            self._watch(now, automation, trigger)
        else:
            self._admit(now, automation, now.event, None)

    def _react(self, now: Now) -> None:
        for _ in range(10):
            if now.is_touched:
                self._update_segments(now)
            changed, moved = now.changed, now.moved
            now.changed, now.moved = set(), []
            if not changed and not moved:
                return
            for automation in self.enabled():
                found = [one for one in automation["flow"]["triggers"] if is_changed(now.person, one, changed)]
                self._try_once(now, automation, found)
            for automation in self.enabled():
                found = [one for one in automation["flow"]["triggers"] if is_moved(one, moved)]
                self._try_once(now, automation, found)

    def _try_once(self, now: Now, automation: Json, found: list[Json]) -> None:
        """Let an automation react, but only once to one piece of work."""
        if found and automation["id"] in now.reacted:
            self.record(now, automation, now.event, "not_eligible", "circle")
        elif found:
            now.reacted.add(automation["id"])
            self._try(now, automation, found[0])

    def _watch(self, now: Now, automation: Json, trigger: Json) -> None:
        key = printed(trigger["key"], self.facts(now, now.event))
        due_ms = now.event.received_ms + trigger["seconds"] * 1000
        waiting = [
            run
            for run in self._active(now.person)
            if run.automation == automation["id"] and run.key == key and run.waits == ("absence", "$absence")
        ]
        run = waiting[0] if waiting else self._begin(now, automation, key)
        run.event, run.version = now.event, automation["version"]
        run.waits, run.due_ms = ("absence", "$absence"), due_ms
        self.record(now, automation, now.event, "fired", "entered")

    def _begin(self, now: Now, automation: Json, key: str) -> Going:
        run = Going(
            automation=automation["id"],
            version=automation["version"],
            key=key,
            user=now.person.user,
            entered_ms=now.at_ms,
            event=now.event,
            order=len(self.runs),
        )
        run.id = now.told.names.pop(0) if now.told.names else None
        self.runs.append(run)
        now.person.runs.append(run)
        now.outcome.new_runs.append(run)
        return run

    def _admit(self, now: Now, automation: Json, event: Happened, run: Going | None) -> None:
        rule = automation["eligibility"]
        key = printed(rule["key"], self.facts(now, event)) if rule["type"] == "once_per_key" else ""
        reason = not_eligible(now.person, automation, key, event.received_ms, self.zone_of(now.person))
        if reason is not None:
            self.record(now, automation, event, "not_eligible", reason)
            if run is not None:
                self.end(run, "exited")
            return
        counted = (automation["id"], key, event.received_ms) if rule.get("countsFrom") == "receipt" else None
        if automation["send"] is not None:
            if self.is_capped(now, automation):
                self.record(now, automation, event, "not_eligible", "capped")
                return
            try:
                now.outcome.urls.append(printed(automation["send"], self.facts(now, event)))
            except AbortedError:
                self.record(now, automation, event, "not_eligible", "aborted")
                return
            self.record(now, automation, event, "fired", "matched")
            self.count_message(now, automation)
            if counted is not None:
                now.outcome.counted.append((len(now.outcome.urls) - 1, counted))
        else:
            run = run or self._begin(now, automation, key)
            run.waits = run.due_ms = None
            run.counted = counted
            self._let_go(now, automation, event, run)
            if self.is_unreceived(run):
                return
        if rule["type"] != "always":
            now.person.firings.append((automation["id"], key, event.received_ms))

    def _let_go(self, now: Now, automation: Json, event: Happened, run: Going) -> None:
        """Let a run go its first steps, if its person is not to be held out."""
        percent = automation["flow"].get("holdoutPercent", 0)
        whom = self.key_of(now.person) if now.person is not self.nobody else event.id
        if sticky_bucket(f"{automation['id']}/$holdout/{whom}", 10_000) < percent * 100:
            self._hold_out(now, automation, event, run)
            return
        self.record(now, automation, event, "fired", "entered")
        self.steps.go(now, run, automation["flow"]["steps"])

    def _hold_out(self, now: Now, automation: Json, event: Happened, run: Going) -> None:
        self.record(now, automation, event, "not_eligible", "held_out")
        goal = automation["flow"].get("goal")
        run.is_held_out = True
        if goal is None:
            self.end(run, "completed")
        else:
            run.waits, run.due_ms = ("time", "$holdout"), now.at_ms + goal["withinSeconds"] * 1000

    def record(self, now: Now, automation: Json, event: Happened, outcome: str, reason: str) -> None:
        now.outcome.decisions.append((automation["id"], automation["version"], event.id, outcome, reason))

    # ---- runs that wait ----

    def _active(self, person: Person) -> list[Going]:
        found = [run for run in person.runs if run.state == "active"]
        return sorted(found, key=lambda run: (run.id is None, run.id or "", run.order))

    def _touch(self, now: Now, run: Going) -> None:
        """Let an event move or end a run."""
        automation, event = self.in_force(run), now.event
        flow = automation["flow"]
        goal = flow.get("goal")
        if goal is not None and goal["eventType"] == event.type:
            in_time = event.received_ms <= run.entered_ms + goal["withinSeconds"] * 1000
            run.is_goal_reached |= in_time
            if in_time and goal.get("endsRun", True):
                self.end(run, "completed")
                return
        if event.type in flow.get("exitOn", ()) and self._is_for(now, run, flow.get("exitKey")):
            self.end(run, "exited")
        elif run.waits == ("absence", "$absence"):
            absences = [one for one in flow["triggers"] if one["type"] == "absence" and event.type in one["without"]]
            if any(self._is_for(now, run, one["key"]) for one in absences):
                self.end(run, "exited")
        elif run.waits is not None and run.waits[0] == "event":
            self.steps.resume(now, run, came=event)

    def _is_for(self, now: Now, run: Going, key: str | None) -> bool:
        return key is None or printed(key, self.facts(now, now.event)) == run.key

    def come_to_the_end(self, now: Now, run: Going) -> None:
        """End a run, or let it wait for its goal."""
        goal = self.in_force(run)["flow"].get("goal")
        if goal is not None and not run.is_goal_reached and now.person is not self.nobody:
            until_ms = run.entered_ms + goal["withinSeconds"] * 1000
            if until_ms > now.at_ms:
                run.waits, run.due_ms = ("goal", "$goal"), until_ms
                return
        self.end(run, "completed")

    def end(self, run: Going, state: str) -> None:
        run.state, run.waits, run.due_ms = state, None, None
        self.give_back(run)

    # ---- caps ----

    def is_capped(self, now: Now, automation: Json) -> bool:
        return is_capped(now, automation, self.caps, self.zone_of(now.person))

    def count_message(self, now: Now, automation: Json) -> None:
        flow = automation["flow"]
        if now.person is self.nobody:
            return
        now.is_touched = True
        now.person.messages.append((now.at_ms, flow.get("channel"), tuple(flow.get("tags", ()))))
