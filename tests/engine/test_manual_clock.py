import pytest

from posthorn.testing.clock import START_MS, ManualClock


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = ManualClock()
    assert (clock.now_ms(), clock.monotonic()) == (START_MS, 0)
    assert (clock.now_ms(), clock.monotonic()) == (START_MS, 0)


def test_both_times_move_together() -> None:
    clock = ManualClock(5_000)
    clock.advance(1.5)
    clock.advance(0.001)
    assert clock.now_ms() == 6_501
    assert clock.monotonic() == pytest.approx(1.501)


def test_a_manual_clock_never_runs_backwards() -> None:
    clock = ManualClock()
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-0.001)
    assert clock.now_ms() == START_MS
