from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.engine.schedule import DEFAULT_SCHEDULE_MS, JITTER, LONGEST_RETRY_AFTER_MS, next_due_ms

NOW_MS = 1_767_225_600_000
HOUR_MS = 3_600_000
MIDDLE = 0.5  # the random number that spreads a delay by nothing

SCHEDULES = st.lists(st.integers(min_value=0, max_value=7 * 24 * HOUR_MS), min_size=1, max_size=12)
FRACTIONS = st.floats(min_value=0, max_value=1, exclude_max=True)


def test_the_default_schedule_is_the_example_of_standard_webhooks() -> None:
    hours = [0, 5 / 3600, 5 / 60, 0.5, 2, 5, 10, 14, 20, 24]
    assert list(DEFAULT_SCHEDULE_MS) == [round(hour * HOUR_MS) for hour in hours]


@pytest.mark.parametrize("step", range(9))
def test_each_step_waits_as_the_schedule_says(step: int) -> None:
    due_ms = next_due_ms(DEFAULT_SCHEDULE_MS, step, now_ms=NOW_MS, random=MIDDLE)
    assert due_ms == NOW_MS + DEFAULT_SCHEDULE_MS[step + 1]


@pytest.mark.parametrize(
    ("schedule_ms", "step"), [(DEFAULT_SCHEDULE_MS, 9), (DEFAULT_SCHEDULE_MS, 10), ((0,), 0), ((), 0)]
)
def test_after_the_last_step_there_is_none(schedule_ms: Sequence[int], step: int) -> None:
    assert next_due_ms(schedule_ms, step, now_ms=NOW_MS, random=MIDDLE) is None
    assert next_due_ms(schedule_ms, step, now_ms=NOW_MS, random=MIDDLE, retry_after_ms=1000) is None


@given(schedule_ms=SCHEDULES, data=st.data(), random=FRACTIONS)
def test_a_delay_is_spread_by_a_fifth_and_never_back(
    schedule_ms: Sequence[int], data: st.DataObject, random: float
) -> None:
    step = data.draw(st.integers(min_value=0, max_value=len(schedule_ms)))
    due_ms = next_due_ms(schedule_ms, step, now_ms=NOW_MS, random=random)
    if step + 1 >= len(schedule_ms):
        assert due_ms is None
        return
    planned_ms = schedule_ms[step + 1]
    assert due_ms is not None
    assert due_ms > NOW_MS
    assert due_ms - NOW_MS >= planned_ms * (1 - JITTER) - 1
    assert due_ms - NOW_MS <= max(planned_ms * (1 + JITTER) + 1, 1)


def test_the_spread_reaches_both_ways() -> None:
    schedule_ms = (0, 10_000)
    assert next_due_ms(schedule_ms, 0, now_ms=NOW_MS, random=0) == NOW_MS + 8_000
    assert next_due_ms(schedule_ms, 0, now_ms=NOW_MS, random=0.9999999) == NOW_MS + 12_000


@pytest.mark.parametrize(
    ("retry_after_ms", "waits_ms"),
    [
        (None, 10_000),
        (0, 10_000),
        (-5, 10_000),
        (9_999, 10_000),
        (60_000, 60_000),
        (LONGEST_RETRY_AFTER_MS, LONGEST_RETRY_AFTER_MS),
        (LONGEST_RETRY_AFTER_MS * 30, LONGEST_RETRY_AFTER_MS),
    ],
)
def test_retry_after_is_a_lower_bound_of_up_to_a_day(retry_after_ms: int | None, waits_ms: int) -> None:
    due_ms = next_due_ms((0, 10_000), 0, now_ms=NOW_MS, random=MIDDLE, retry_after_ms=retry_after_ms)
    assert due_ms == NOW_MS + waits_ms


def test_a_step_without_delay_is_due_a_millisecond_later() -> None:
    assert next_due_ms((0, 0), 0, now_ms=NOW_MS, random=MIDDLE) == NOW_MS + 1
