"""Runs `posthorn` on a machine whose wall clock is wrong: `python shifted_clock.py SECONDS posthorn serve …`.

Only the wall clock is shifted. Nobody sets a monotonic clock, so that one goes on as it is.
"""

import sys
import time
from collections.abc import Callable
from typing import Any


def shift(seconds: int) -> None:
    time.time = _later(time.time, seconds)
    time.time_ns = _later(time.time_ns, seconds * 10**9)


def _later(clock: Callable[[], Any], by: int) -> Callable[[], Any]:
    return lambda: clock() + by


if __name__ == "__main__":
    shift(int(sys.argv[1]))
    from posthorn.cli.main import main  # after the shift: nobody may keep the true clock

    sys.exit(main(sys.argv[3:]))
