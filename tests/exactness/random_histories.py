"""Random histories: which rules there are, and what happens to whom, when, in which order, with which accidents."""

from collections.abc import Sequence
from pprint import pformat
from random import Random
from typing import Any, Protocol, TypeVar

from msgspec import Struct

Json = dict[str, Any]
T = TypeVar("T")
HOUR = 3600
DAY = 24 * HOUR
TYPES = ("a", "b", "c", "cart", "pay", "bye", "hello", "call")
ZONES = ("Asia/Tokyo", "America/New_York", "Europe/Lisbon")
URL = "https://example.test"

CAPS: list[Json] = [
    {"most": 6, "period": "day"},
    {"most": 4, "seconds": HOUR, "channel": "sms"},
    {"most": 2, "seconds": HOUR, "channel": "sms"},
    {"most": 3, "period": "day", "channel": "sms"},
    {"most": 5, "period": "week", "tag": "promo"},
    {"most": 3, "period": "day", "channel": "sms", "tag": "promo"},
]
SEGMENTS: dict[str, Json] = {
    "seg_active": {"performed": {"event": "a", "atLeast": 2, "withinSeconds": 2 * HOUR}},
    "seg_busy": {"count": {"event": "a", "op": "gte", "value": 3}},
    "seg_calm": {
        "performed": {
            "event": "b",
            "where": {"field": "event.data.n", "operator": "gte", "value": 5},
            "atMost": 1,
            "withinSeconds": HOUR,
        }
    },
    "seg_gold": {"field": "profile.attributes.plan", "operator": "eq", "value": "gold"},
    "seg_muted": {"subscription": {"channel": "sms", "is": ["unsubscribed"]}},
    "seg_rich": {
        "all": [
            {"field": "profile.attributes.points", "operator": "gte", "value": 3},
            {"segment": {"is": "in", "segment": "seg_gold"}},
        ]
    },
}


class Dice(Protocol):
    """Chooses."""

    def pick(self, options: Sequence[T]) -> T: ...

    def upto(self, most: int) -> int: ...


class Happen(Struct, frozen=True):
    """An event comes in; it occurred so long before. User -1 is nobody."""

    user: int
    type: str
    n: int
    k: str
    late_ms: int = 0
    changes: Json = {}


class Merge(Struct, frozen=True):
    """Somebody turns out to be somebody else."""

    user: int
    into: int


class Cancel(Struct, frozen=True):
    """Somebody ends one of the runs that there are by hand."""

    number: int


class Pass(Struct, frozen=True):
    """The clock goes on, or makes a small step back."""

    ms: int


class Decide(Struct, frozen=True):
    """A node decides a batch, and perhaps something goes wrong."""

    node: int
    room: int
    accident: str = ""


class Edit(Struct, frozen=True):
    """A new version of an automation is published, perhaps a paused one."""

    automation: int
    variation: int
    enabled: bool = True


class Switch(Struct, frozen=True):
    """An automation is paused, or goes on when it was."""

    automation: int


class Answer(Struct, frozen=True):
    """One of the requests that runs wait for is answered for good; status 0 cancels it."""

    number: int
    status: int


Move = Happen | Merge | Cancel | Pass | Decide | Edit | Switch | Answer
ACCIDENTS = ("dies before", "dies after", "store away", "loses shards", "meanwhile")


def a_move(dice: Dice, users: int, automations: int, first: int = 0) -> Move:
    """Choose what happens next, to some of so many users from the first on."""
    drawn = dice.upto(99)
    if drawn < 60:
        return an_event(dice, -1 if dice.upto(9) == 9 else first + dice.upto(users - 1))
    if drawn < 74:
        return Pass(
            dice.pick((1, 40, 900, 5_000, 5_000, 60_000, 60_000, 600_000, HOUR * 1000, 5 * HOUR * 1000, -3, -700))
        )
    if drawn < 91:
        accident = dice.pick(("",) * 8 + ACCIDENTS)
        return Decide(dice.upto(1), dice.pick((256, 1, 2, 3, 7, 20)), accident)
    if drawn < 93:
        return Cancel(dice.upto(20)) if dice.upto(2) == 2 else Answer(dice.upto(9), dice.pick((200, 500, 0)))
    if drawn < 96:
        return Merge(first + dice.upto(users - 1), first + dice.upto(users - 1))
    return _a_change(dice, dice.upto(automations - 1))


def _a_change(dice: Dice, automation: int) -> Move:
    if dice.upto(1):
        return Switch(automation)
    return Edit(automation, dice.upto(3), enabled=dice.upto(3) > 0)


def an_event(dice: Dice, user: int) -> Happen:
    """Choose what somebody does."""
    kind = dice.pick(TYPES)
    changes: Json = {}
    if kind == "hello" and user >= 0:
        changes = dice.pick(
            (
                {"set": {"plan": "gold"}},
                {"set": {"plan": "basic"}},
                {"increment": {"points": 1}},
                {"subscriptions": {"sms": "unsubscribed"}},
                *({"timeZone": name} for name in ZONES),
            )
        )
    late_ms = dice.pick((0, 0, 0, 0, 300, 50_000, 3 * HOUR * 1000, -2_000))
    return Happen(user, kind, dice.upto(9), dice.pick(("x", "y", "z")), late_ms, changes)


class SeededDice:
    """Chooses by a seed."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def pick(self, options: Sequence[T]) -> T:
        return self._random.choice(options)

    def upto(self, most: int) -> int:
        return self._random.randint(0, most)


def as_test(store: str, rules: list[Json], history: list[Move]) -> str:
    """Write a history as a test to paste beside those that go through random ones."""
    lists = {
        name: pformat(each, width=110, sort_dicts=False).replace("\n", "\n    ")
        for name, each in (("rules", rules), ("history", history))
    }
    fixtures = "suite18: str, emptying: Any" if "suite18" in store else ""
    return f"""def test_what_went_wrong({fixtures}) -> None:
    rules = {lists["rules"]}
    history = {lists["history"]}
    go_through({store}, rules, history)"""
