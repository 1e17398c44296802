"""What deciding makes of random histories is what a simple reference model makes of them, to the last counter.

A history that fails is cut down to the shortest one that does, and printed as a test to paste below. EXACTNESS_EXAMPLES
says how many histories each store goes through.
"""

import asyncio
import os
from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar

import random_histories
from exact_nodes import SteppingClock
from exact_stores import OpenStore, in_memory, on_postgresql, on_sqlite
from exact_world import ExactWorld
from hypothesis import HealthCheck, Phase, find, given, note, settings
from hypothesis import strategies as st
from random_histories import Happen, Move, SeededDice, a_move, as_test
from random_rules import KINDS, some_rules
from reference_model import Model
from reference_records import Json, Now

T = TypeVar("T")
_EXAMPLES = int(os.environ.get("EXACTNESS_EXAMPLES", "0"))
_TRIES = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)


class DrawnDice:
    """Chooses by hypothesis, which then finds the shortest history that fails."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def pick(self, options: Sequence[T]) -> T:
        return self._draw(st.sampled_from(options))

    def upto(self, most: int) -> int:
        return self._draw(st.integers(0, most))


@st.composite
def some(draw: st.DrawFn) -> list[Json]:
    dice = DrawnDice(draw)
    # All are drawn and then few left out, but of a history that fails most: that cuts down best.
    return [rule for rule in some_rules(dice) if dice.upto(9)]


@st.composite
def moves(draw: st.DrawFn) -> Move:
    return a_move(DrawnDice(draw), users=3, automations=len(KINDS))


@st.composite
def histories(draw: st.DrawFn) -> list[Move]:
    least = draw(st.sampled_from((1, 20, 50)))  # lists that may be short are: hypothesis draws six moves or so
    return draw(st.lists(moves(), min_size=least, max_size=80))


@settings(_TRIES, max_examples=_EXAMPLES or 60)
@given(rules=some(), history=histories())
def test_a_random_history_in_memory_ends_as_the_reference_model_says(rules: list[Json], history: list[Move]) -> None:
    go_through(in_memory, rules, history, "in_memory")


@settings(_TRIES, max_examples=_EXAMPLES or 20)
@given(rules=some(), history=histories())
def test_a_random_history_on_sqlite_ends_as_the_reference_model_says(rules: list[Json], history: list[Move]) -> None:
    go_through(on_sqlite, rules, history, "on_sqlite")


@settings(_TRIES, max_examples=_EXAMPLES or 15)
@given(rules=some(), history=histories())
def test_a_random_history_on_postgresql_ends_as_the_reference_model_says(
    suite18: str, emptying: Any, rules: list[Json], history: list[Move]
) -> None:
    go_through(on_postgresql(suite18, emptying), rules, history, "on_postgresql(suite18, emptying)")


def test_what_is_wrong_is_found_and_cut_down_to_a_few_moves() -> None:
    def is_found(tried: tuple[list[Json], list[Move]]) -> bool:
        try:
            asyncio.run(_go_through(in_memory, *tried, model=CountsWrong))
        except AssertionError:
            return True
        return False

    tries = settings(_TRIES, max_examples=2000, database=None)
    (rule,), history = find(
        st.tuples(some(), st.lists(moves(), max_size=8)), is_found, settings=tries, random=Random(4)
    )
    assert rule["flow"]["triggers"][0]["type"] == "count"
    assert [move.type for move in history if isinstance(move, Happen)] == ["a"] * len(history) == ["a", "a"]


def test_a_history_that_fails_is_printed_as_a_test_to_paste() -> None:
    dice = SeededDice(1)
    rules = some_rules(dice)
    history = [a_move(dice, users=3, automations=len(KINDS)) for _ in range(100)]
    pasted: dict[str, Any] = {"gone": []} | vars(random_histories)
    exec(as_test("in_memory", rules, history).replace("go_through(in_memory, ", "gone.extend((") + ")", pasted)
    pasted["test_what_went_wrong"]()
    assert pasted["gone"] == [rules, history]


class CountsWrong(Model):
    """A model that never finds an event to be somebody's n-th."""

    def _is_nth(self, now: Now, trigger: Json) -> bool:
        return False


def go_through(opened: OpenStore, rules: list[Json], history: list[Move], named: str = "") -> None:
    try:
        asyncio.run(_go_through(opened, rules, history))
    except BaseException:
        if named:  # a pasted one is there already
            note(as_test(named, rules, history))
        raise


async def _go_through(opened: OpenStore, rules: list[Json], history: list[Move], model: type[Model] = Model) -> None:
    clock = SteppingClock()
    async with opened(clock) as store:
        world = ExactWorld(store, clock, rules, model=model)
        await world.begin()
        for move in history:
            await world.go_through(move)
        await world.settle_down()
