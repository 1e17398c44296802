"""Random automations: one of each kind, with random conditions, eligibility and limits."""

import json
from typing import Any

from random_histories import DAY, HOUR, URL, Dice

from posthorn.testing.clock import START_MS

Json = dict[str, Any]
ABORTS = "{% if event.data.n >= 8 %}{% abort_message('enough') %}{% endif %}"
_GOLD = {"segment": {"is": "in", "segment": "seg_gold"}}
_CONDITIONS: tuple[Json | None, ...] = (
    None,
    None,
    {"field": "event.data.n", "operator": "gte", "value": 5},
    {"not": _GOLD},
    {"count": {"event": "b", "op": "gte", "value": 2}},
    {"performed": {"event": "a", "atLeast": 2, "withinSeconds": 2 * HOUR}},
)
_ELIGIBILITY: tuple[Json, ...] = (
    {"type": "always"},
    {"type": "once"},
    {"type": "once_per_key", "key": "{{ event.data.k }}"},
    {"type": "again_after", "seconds": HOUR},
    {"type": "once_per_period", "period": "day"},
    {"type": "once_per_period", "period": "week"},
    {"type": "once_per_period", "period": "month"},
    {"type": "once", "countsFrom": "receipt"},
    {"type": "once_per_key", "key": "{{ event.data.k }}", "countsFrom": "receipt"},
    {"type": "again_after", "seconds": HOUR, "countsFrom": "receipt"},
    {"type": "once_per_period", "period": "day", "countsFrom": "receipt"},
)
_KEYLESS = tuple(rule for rule in _ELIGIBILITY if rule["type"] != "once_per_key")
KINDS = (
    "steps",
    "absence",
    "reply",
    "count",
    "enters",
    "gold",
    "emits",
    "emitted",
    "split",
    "leaves",
    "simple",
    "called",
    "asks",
)


def some_rules(dice: Dice, generation: int = 0) -> list[Json]:
    """Make one automation of each kind; those of a later generation have ids of their own."""
    return [_automation(dice, name) | {"id": f"auto_{generation:03}_{name}"} for name in KINDS]


def varied(automation: Json, variation: int, enabled: bool) -> Json:
    """Make the next version: other waits, other addresses, a step more or less."""
    flow = dict(automation["flow"])
    flow["steps"] = [_varied_step(step, variation) for step in flow["steps"]]
    if "exitOn" in flow:
        flow["exitOn"] = (["bye"], ["c"], ["pay", "bye"], ["hello"])[variation]
    if variation == 3 and len(flow["steps"]) > 1:
        flow["steps"] = flow["steps"][:-1]
    return automation | {"flow": flow, "version": automation["version"] + 1, "enabled": enabled}


def _varied_step(step: Json, variation: int) -> Json:
    if step["type"] == "wait" and "seconds" in step:
        return step | {"seconds": (60, HOUR, DAY, 5)[variation]}
    if step["type"] == "wait_for_event":
        return step | {"eventTypes": (["b"], ["b", "c"], ["pay"], ["bye"])[variation]}
    if step["type"] == "send":
        return step | {"send": _send(step["name"], f"{step['name']}-{variation}")["send"]}
    return step


def _automation(dice: Dice, name: str) -> Json:
    make: Any = globals()[f"_{name}"]
    flow = make(dice)
    # Without the data of an event there is nothing that a key could be made of.
    is_keyless = name in ("enters", "leaves", "gold")
    if "send" not in flow:
        flow |= dice.pick(({}, {}, {"channel": "sms"}, {"tags": ["promo"]}, {"tags": ["promo"], "ignoresCaps": True}))
        flow |= dice.pick(({}, {}, {"holdoutPercent": 30}))
        flow |= {"inFlight": dice.pick(("stay", "move", "exit"))}
        flow |= dice.pick(
            ({}, {}, {"quietTime": {"start": "21:00", "end": "07:30", "spreadSeconds": dice.pick((0, 900))}})
        )
        flow |= dice.pick(({}, {}, {}, {"startsMs": _instant(dice)}, {"endsMs": _instant(dice)}))
        if not is_keyless and dice.upto(2) == 2:
            flow["steps"] = json.loads(json.dumps(flow["steps"]).replace(f'"{URL}', f'"{ABORTS}{URL}'))
    if name in ("steps", "reply", "absence"):
        flow |= dice.pick(({}, {"exitOn": ["bye"]}, {"exitOn": ["bye"], "exitKey": "{{ event.data.k }}"}))
        goal = {"eventType": "pay", "withinSeconds": 2 * HOUR}
        flow |= dice.pick(({}, {"goal": goal}, {"goal": goal | {"endsRun": False}}))
    return {
        "version": 1,
        "enabled": True,
        "conditions": dice.pick(_CONDITIONS),
        "eligibility": dice.pick(_KEYLESS if is_keyless else _ELIGIBILITY),
        "send": flow.pop("send", None),
        "flow": flow,
    }


def _instant(dice: Dice) -> int:
    return START_MS + dice.pick((HOUR, 5 * HOUR, DAY, 5 * DAY, 40 * DAY)) * 1000


def _called(dice: Dice) -> Json:
    steps = [_send("called"), {"type": "wait", "name": "pause", "seconds": dice.pick((60, HOUR))}, _send("later")]
    return {"triggers": [{"type": "call"}], "steps": steps}


def _send(name: str, path: str | None = None) -> Json:
    url = f'{URL}/{path or name}/{{{{ profile.id | default: "nobody" }}}}/{{{{ counts.a.count | default: 0 }}}}'
    url += '?n={{ event.data.n | default: "-" }}&p={{ profile.attributes.plan | default: "none" }}'
    return {"type": "send", "name": name, "send": {"url": url}}


def _simple(_: Dice) -> Json:
    send = ABORTS + f'{URL}/simple/{{{{ event.data.n | default: "-" }}}}/{{{{ counts.a.count | default: 0 }}}}'
    return {"triggers": [{"type": "event", "eventType": "a"}], "steps": [], "send": send}


def _steps(dice: Dice) -> Json:
    pause = dice.pick(({"seconds": HOUR}, {"seconds": 60}, {"until": "10:00"}, {"seconds": DAY}))
    steps = [_send("first"), {"type": "wait", "name": "pause"} | pause, _send("second")]
    return {"triggers": [{"type": "event", "eventType": "b"}], "steps": steps}


def _absence(dice: Dice) -> Json:
    absence = {
        "type": "absence",
        "eventType": "cart",
        "without": dice.pick((["pay"], ["pay", "c"])),
        "seconds": dice.pick((60, HOUR)),
        "key": "{{ event.data.k }}",
    }
    return {
        "triggers": [absence],
        "steps": [_coupons(), {"type": "wait", "name": "later", "seconds": HOUR}, _send("again")],
    }


def _coupons() -> Json:
    sends = [_send(name) for name in ("coupon", "copy")]
    return {
        "type": "send_all",
        "name": "all",
        "sends": [{name: send[name] for name in ("name", "send")} for send in sends],
    }


def _asks(dice: Dice) -> Json:
    asks = [_send(name) | {"waitForAnswer": True} for name in ("ask", "other")]
    both = {
        "type": "send_all",
        "name": "both",
        "sends": [{n: s for n, s in ask.items() if n != "type"} for ask in asks],
    }
    answer = 'told/{{ steps.ask.status | default: 1 }}/{{ steps.ask.state | default: "-" }}'
    steps = [dice.pick((asks[0], both)), _send("told", answer)]
    return {"triggers": [{"type": "event", "eventType": dice.pick(("b", "c"))}], "steps": steps}


def _reply(dice: Dice) -> Json:
    waiting = {
        "type": "wait_for_event",
        "name": "reply",
        "eventTypes": ["b"],
        "seconds": dice.pick((60, HOUR)),
        "conditions": {"field": "event.data.n", "operator": "gte", "value": 4},
        "onEvent": [_send("thanks", 'thanks/{{ steps.reply.event.data.n | default: "-" }}')],
        "onTimeout": [_send("reminder")],
    }
    return {"triggers": [{"type": "event", "eventType": "a"}], "steps": [waiting, _send("after")]}


def _count(dice: Dice) -> Json:
    trigger = {"type": "count", "eventType": "a", "count": dice.pick((2, 3)), "every": dice.pick((True, False))}
    return {"triggers": [trigger], "steps": [_send("nth")]}


def _enters(dice: Dice) -> Json:
    segment = dice.pick(("seg_active", "seg_busy", "seg_gold", "seg_rich", "seg_muted"))
    return {"triggers": [{"type": "segment", "segment": segment}], "steps": [_send("welcome")]}


def _leaves(dice: Dice) -> Json:
    segment = dice.pick(("seg_active", "seg_calm", "seg_gold"))
    return {"triggers": [{"type": "segment", "segment": segment, "moves": "leaves"}], "steps": [_send("missed")]}


def _gold(dice: Dice) -> Json:
    trigger = {"type": "attribute", "attribute": "plan"} | dice.pick(({}, {"to": ["gold"]}))
    update = {"type": "update_profile", "name": "points", "changes": {"increment": {"points": 2}}}
    return {"triggers": [trigger], "steps": [_send("golden"), update]}


def _emits(dice: Dice) -> Json:
    pause = {"type": "wait", "name": "pause", "seconds": 60}
    emit = {"type": "emit_event", "name": "emit", "eventType": "vip", "data": '{"n": {{ event.data.n }}, "k": "v"}'}
    steps = [pause, emit] if dice.upto(1) else [emit, {"type": "exit", "name": "exit"}, _send("never")]
    return {"triggers": [{"type": "event", "eventType": "c"}], "steps": steps}


def _emitted(dice: Dice) -> Json:
    changes = dice.pick(
        ({"set": {"plan": "gold"}}, {"set": {"plan": "{{ event.data.k }}"}}, {"subscriptions": {"sms": "unsubscribed"}})
    )
    update = {"type": "update_profile", "name": "plan", "changes": changes}
    steps = [{"type": "wait", "name": "pause", "seconds": HOUR}, update] if dice.upto(1) else [update]
    return {"triggers": [{"type": "event", "eventType": "vip"}], "steps": [*steps, _send("vip")]}


def _split(dice: Dice) -> Json:
    branch = {
        "type": "branch",
        "name": "branch",
        "ways": [
            {"conditions": {"count": {"event": "a", "op": "gte", "value": 3}}, "steps": [_send("many")]},
            {"conditions": _GOLD, "steps": [_send("rich")]},
        ],
        "otherwise": [_send("few")],
    }
    shares = [{"percent": 30, "steps": [_send("left")]}, {"percent": 50, "steps": [branch]}]
    steps: list[Json] = [{"type": "split", "name": "test", "shares": shares}, _send("end")]
    if dice.upto(1):
        steps.insert(0, {"type": "wait", "name": "pause", "seconds": 60})
    return {"triggers": [{"type": "event", "eventType": "hello"}], "steps": steps}
