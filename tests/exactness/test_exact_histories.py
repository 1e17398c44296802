"""What deciding makes of random histories is what a simple reference model makes of them, to the last counter."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeVar

from exact_nodes import SteppingClock
from exact_world import ExactWorld
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_histories import Move, a_move
from random_rules import KINDS, some_rules

from posthorn.testing.memory import MemoryStore

T = TypeVar("T")


class DrawnDice:
    """Chooses by hypothesis, which then finds the shortest history that fails."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def pick(self, options: Sequence[T]) -> T:
        return self._draw(st.sampled_from(options))

    def upto(self, most: int) -> int:
        return self._draw(st.integers(0, most))


@st.composite
def rules(draw: st.DrawFn) -> list[dict[str, Any]]:
    return some_rules(DrawnDice(draw))


@st.composite
def moves(draw: st.DrawFn) -> Move:
    return a_move(DrawnDice(draw), users=3, automations=len(KINDS))


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(rules=rules(), history=st.lists(moves(), min_size=1, max_size=80))
def test_a_random_history_ends_as_the_reference_model_says(rules: list[dict[str, Any]], history: list[Move]) -> None:
    asyncio.run(_go_through(rules, history))


async def _go_through(rules: list[dict[str, Any]], history: list[Move]) -> None:
    clock = SteppingClock()
    world = ExactWorld(MemoryStore(clock), clock, rules)
    await world.begin()
    for move in history:
        await world.go_through(move)
    await world.settle_down()
