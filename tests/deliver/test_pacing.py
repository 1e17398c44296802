"""Vendors' rates: no span has more requests than its rate, each delivery has one turn, and shares add up."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.connectors import Rate, load_catalogue
from posthorn.deliver import pacing
from posthorn.deliver.calling import Called
from posthorn.deliver.pacing import Pace, put_off_ms
from posthorn.testing.clock import ManualClock

ONE = {"token": "one"}


def called(*rates: Rate, account: dict[str, str] = ONE) -> Called:
    connector = load_catalogue()["telegram"]
    action = msgspec.structs.replace(connector.actions["send_message"], rates=rates)
    return Called(connector=connector, action=action, account=account)


def waits(pace: Pace, calls: int, target: Called, keys: dict[str, str] | None = None) -> list[float]:
    return [pace.wait_seconds(f"dlv_{id(target)}_{keys}_{number}", target, keys) for number in range(calls)]


def most_in(turns: Sequence[float], span: float) -> int:
    return max(sum(1 for turn in turns if start <= turn < start + span - 1e-6) for start in turns)


def test_what_has_no_rate_never_waits() -> None:
    pace = Pace(ManualClock(), lambda: 1.0)
    assert waits(pace, 100, called()) == [0.0] * 100
    assert pace.wait_seconds("dlv_1", None, None) == 0.0


@given(count=st.integers(1, 300), seconds=st.sampled_from([0.5, 1.0, 5.0, 60.0]), calls=st.integers(1, 700))
def test_no_span_has_more_than_its_rate_and_the_rate_is_used(count: int, seconds: float, calls: int) -> None:
    turns = waits(Pace(ManualClock(), lambda: 1.0), calls, called(Rate(count=count, per_seconds=seconds)))
    assert most_in(turns, seconds) <= count
    assert turns[-1] <= seconds * (calls / (count * 0.9) + 1)


def test_a_rate_by_input_is_kept_for_each_value_and_the_account_for_all() -> None:
    pace = Pace(ManualClock(), lambda: 1.0)
    target = called(Rate(count=30), Rate(count=1, key="input.chat_id"))
    same_chat = waits(pace, 3, target, {"input.chat_id": "7"})
    assert same_chat == pytest.approx([0.0, 1.0, 2.0])
    assert pace.wait_seconds("dlv_other", target, {"input.chat_id": "8"}) == 0.0
    assert pace.wait_seconds("dlv_more", target, {"input.chat_id": "7"}) == pytest.approx(3.0)


def test_accounts_do_not_wait_for_each_other() -> None:
    pace = Pace(ManualClock(), lambda: 1.0)
    assert waits(pace, 2, called(Rate(count=1))) == pytest.approx([0.0, 1.0])
    assert waits(pace, 2, called(Rate(count=1), account={"token": "two"})) == pytest.approx([0.0, 1.0])


def test_a_delivery_that_was_put_off_keeps_its_turn() -> None:
    clock = ManualClock()
    pace = Pace(clock, lambda: 1.0)
    target = called(Rate(count=1, per_seconds=10))
    assert [pace.wait_seconds(name, target, None) for name in "abc"] == pytest.approx([0.0, 10.0, 20.0])
    clock.advance(10)
    assert pace.wait_seconds("c", target, None) == pytest.approx(10.0)
    assert pace.wait_seconds("b", target, None) == 0.0
    assert pace.wait_seconds("d", target, None) == pytest.approx(20.0)


def test_only_who_is_in_turn_by_its_input_takes_a_turn_of_the_account() -> None:
    clock = ManualClock()
    pace = Pace(clock, lambda: 1.0)
    target = called(Rate(count=1), Rate(count=1, key="input.chat_id"))
    assert waits(pace, 3, target, {"input.chat_id": "7"}) == pytest.approx([0.0, 1.0, 2.0])
    assert pace.wait_seconds("dlv_other", target, {"input.chat_id": "8"}) == pytest.approx(1.0)
    clock.advance(1)
    second = f"dlv_{id(target)}_{{'input.chat_id': '7'}}_1"
    assert pace.wait_seconds("dlv_other", target, {"input.chat_id": "8"}) == 0.0
    assert pace.wait_seconds(second, target, {"input.chat_id": "7"}) == pytest.approx(1.0)  # the account's turn
    clock.advance(1)
    assert pace.wait_seconds(second, target, {"input.chat_id": "7"}) == 0.0


def test_each_node_takes_its_part_of_a_rate() -> None:
    clock = ManualClock()
    target = called(Rate(count=10, per_seconds=1))
    turns = [turn for share in (0.25, 0.75) for turn in waits(Pace(clock, lambda share=share: share), 60, target)]
    assert most_in([turn for turn in turns if 1 <= turn < 6], 1.0) <= 10 + 1  # two nodes may round up together


def test_only_so_many_turns_are_kept_and_those_beyond_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "_MOST_TURNS", 3)
    clock = ManualClock()
    pace = Pace(clock, lambda: 1.0)
    target = called(Rate(count=1))
    assert [pace.wait_seconds(f"dlv_{n}", target, None) for n in range(6)] == pytest.approx([0, 1, 2, 3, 4, 4])
    clock.advance(4)
    assert pace.wait_seconds("dlv_5", target, None) == 0.0
    assert pace.wait_seconds("dlv_4", target, None) == pytest.approx(1.0)
    clock.advance(100)  # nobody came for the turns of 1, 2 and 3
    assert [pace.wait_seconds(f"new_{n}", target, None) for n in range(3)] == pytest.approx([0, 1, 2])


def test_a_delivery_comes_back_a_little_before_its_turn() -> None:
    assert put_off_ms(10.0) == 9_700
    assert 0 < put_off_ms(0.2) <= 300
