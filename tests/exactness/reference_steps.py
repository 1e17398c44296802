"""The reference model's steps: a run has a list of steps that are still to be done, and does them one by one."""

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from reference_records import DEEPEST, Going, Happened, Json, Now
from reference_rules import AbortedError, holds, printed

from posthorn.calendars import QuietHours, TimeOfDay, at_local_time, release_ms, sticky_bucket, sticky_fraction

if TYPE_CHECKING:
    from reference_model import Model


def blocks_of(step: Json) -> list[list[Json]]:
    """List what is inside of a step."""
    blocks = [way["steps"] for way in step.get("ways", ())] + [share["steps"] for share in step.get("shares", ())]
    return blocks + [step[name] for name in ("otherwise", "onEvent", "onTimeout") if name in step]


def behind(steps: list[Json], name: str) -> tuple[Json, list[Json]] | None:
    """Find a step by its name, and all that is to be done after it."""
    for number, step in enumerate(steps):
        rest = steps[number + 1 :]
        if step["name"] == name:
            return step, rest
        for block in blocks_of(step):
            inner = behind(block, name)
            if inner is not None:
                return inner[0], inner[1] + rest
    return None


class Steps:
    """Does steps."""

    def __init__(self, model: "Model") -> None:
        self._model = model

    def resume(self, now: Now, run: Going, came: Happened | None) -> None:
        """Go on behind a wait, when its time is over or an event came."""
        automation = self._model.in_force(run)
        place = behind(automation["flow"]["steps"], run.waits[1] if run.waits is not None else "")
        if place is None:
            self._model.end(run, "exited") if came is None else None
            return
        step, rest = place
        if came is not None:
            if came.type not in step["eventTypes"]:
                return
            if "conditions" in step and not holds(step["conditions"], self._model.facts(now, came, run)):
                return
            run.answers = {**run.answers, step["name"]: {"event": {"data": came.data}}}
            run.waits = ("came", step["name"])
            if self._model.holds(now, run):
                return
            rest = step.get("onEvent", []) + rest
        elif run.waits is not None and run.waits[0] == "came":
            rest = step.get("onEvent", []) + rest
        elif step["type"] == "wait_for_event":
            rest = step.get("onTimeout", []) + rest
        is_released = run.waits is not None and run.waits[0] == "quiet"
        run.waits = run.due_ms = None
        self.go(now, run, [step, *rest] if is_released else rest, is_released=is_released)

    def go(self, now: Now, run: Going, steps: list[Json], *, is_released: bool = False) -> None:
        """Do steps until the run waits or is over; one that quiet hours held back is not held back again."""
        todo = list(steps)
        while todo:
            step = todo.pop(0)
            if step["type"] in ("send", "send_all") and not is_released and self._is_quiet(now, run, step):
                return
            is_released = False
            todo = self._do(now, run, step) + todo
            if run.state != "active" or run.waits is not None:
                return
        self._model.come_to_the_end(now, run)

    def _do(self, now: Now, run: Going, step: Json) -> list[Json]:  # noqa: C901 - one case for each kind of step
        """Do one step and return the steps inside of it that come next."""
        facts = self._model.facts(now, run.event, run)
        match step["type"]:
            case "send" | "send_all":
                self._send(now, run, step)
            case "wait":
                due_ms = now.at_ms + step.get("seconds", 0) * 1000
                if "until" in step:
                    hour, minute = map(int, step["until"].split(":"))
                    due_ms = at_local_time(due_ms, self._model.zone_of(now.person), hour, minute)
                run.waits, run.due_ms = ("time", step["name"]), due_ms
            case "wait_for_event":
                run.waits, run.due_ms = ("event", step["name"]), now.at_ms + step["seconds"] * 1000
            case "branch":
                for way in step["ways"]:
                    if holds(way["conditions"], facts):
                        return list(way["steps"])
                return list(step.get("otherwise", []))
            case "split":
                return self._share(now, run, step)
            case "update_profile":
                self._model.change(now, self._filled_in(step["changes"], facts))
            case "emit_event":
                self._emit(now, run, step, printed(step["data"], facts))
            case "exit":
                self._model.end(run, "exited")
        return []

    def _is_quiet(self, now: Now, run: Going, step: Json) -> bool:
        quiet = self._model.in_force(run)["flow"].get("quietTime")
        if quiet is None:
            return False
        span = QuietHours(start=TimeOfDay.parse(quiet["start"]), end=TimeOfDay.parse(quiet["end"]))
        chance = sticky_fraction(f"{run.id}/quiet")
        zone, spread = self._model.zone_of(now.person), quiet["spreadSeconds"]
        until_ms = release_ms(now.at_ms, span, zone, jitter=chance, spread_seconds=spread)
        if until_ms is None:
            return False
        run.waits, run.due_ms = ("quiet", step["name"]), until_ms
        return True

    def _filled_in(self, changes: Json, facts: Any) -> Json:
        filled = {
            name: printed(value, facts) if isinstance(value, str) else value
            for name, value in changes.get("set", {}).items()
        }
        return changes | {"set": filled}

    def _send(self, now: Now, run: Going, step: Json) -> None:
        automation = self._model.in_force(run)
        channel = automation["flow"].get("channel")
        if now.person.subscriptions.get(channel) == "unsubscribed" or self._model.is_capped(now, automation):
            return
        facts = self._model.facts(now, run.event, run)
        for send in step.get("sends", [step]):
            with suppress(AbortedError):
                now.outcome.urls.append(printed(send["send"]["url"], facts))
                run.is_sent = True
                if run.counted is not None:
                    now.outcome.counted.append((len(now.outcome.urls) - 1, run.counted))
                self._model.count_message(now, automation)
                if send.get("waitForAnswer"):
                    now.outcome.asked.append((len(now.outcome.urls) - 1, run, send["name"]))
                    run.waits, run.due_ms = ("answer", step["name"]), None

    def _share(self, now: Now, run: Going, step: Json) -> list[Json]:
        whom = self._model.key_of(now.person) if now.person is not self._model.nobody else run.id
        seed = f"{run.automation}/{step['name']}/{whom}"
        drawn, reached = sticky_bucket(seed, 10_000), 0.0
        for share in step["shares"]:
            reached += share["percent"] * 100
            if drawn < reached:
                return list(share["steps"])
        return []

    def _emit(self, now: Now, run: Going, step: Json, data: str) -> None:
        depth = run.event.depth + 1
        if depth <= DEEPEST:
            now.outcome.events.append(
                Happened(
                    id="",
                    type=step["eventType"],
                    data=json.loads(data),
                    occurred_ms=now.at_ms,
                    received_ms=now.at_ms,
                    user=now.person.user,
                    depth=depth,
                )
            )
