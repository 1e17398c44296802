"""When a failed delivery is tried again: pure arithmetic over values."""

from collections.abc import Sequence

from posthorn.clock import HOUR_MS, MINUTE_MS, SECOND_MS

DEFAULT_SCHEDULE_MS: tuple[int, ...] = (
    0,
    5 * SECOND_MS,
    5 * MINUTE_MS,
    30 * MINUTE_MS,
    2 * HOUR_MS,
    5 * HOUR_MS,
    10 * HOUR_MS,
    14 * HOUR_MS,
    20 * HOUR_MS,
    24 * HOUR_MS,
)
"""The example schedule of the Standard Webhooks specification 1.0.0, 75 hours in all."""

JITTER = 0.2
LONGEST_RETRY_AFTER_MS = 24 * HOUR_MS


def next_due_ms(
    schedule_ms: Sequence[int], step: int, *, now_ms: int, random: float, retry_after_ms: int | None = None
) -> int | None:
    """Return when the attempt after schedule position `step` is due, or None when there is none left.

    `random` is a number in [0, 1) that spreads the delay by ±20 %. A receiver's Retry-After (up to 24 h) is a lower
    bound: coming back earlier would break its request, and replacing a longer planned delay by a shorter one
    would let a receiver that always says "in one second" burn the whole schedule in ten seconds.
    """
    if step + 1 >= len(schedule_ms):
        return None
    planned = round(schedule_ms[step + 1] * (1 + JITTER * (2 * random - 1)))
    asked = min(retry_after_ms or 0, LONGEST_RETRY_AFTER_MS)
    return now_ms + max(planned, asked, 1)
