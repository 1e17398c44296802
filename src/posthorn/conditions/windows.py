"""Windows: the times of a profile's last events that match a filter, and rules over how many of them there are.

The facts hold them as `windows`: for the key of each `WindowNeed` the times in ms, ascending, at most `keep` of
them, the event that is being decided included. "At least 3 times in 7 days" needs only the last 3 times, however
often the event happens.
"""

from bisect import bisect_right, insort
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final

import msgspec
from msgspec import Struct

from posthorn.clock import SECOND_MS
from posthorn.conditions.fields import Facts
from posthorn.conditions.nodes import Account, Made
from posthorn.conditions.timing import now_of
from posthorn.conditions.tree import Performed, PerformedRule
from posthorn.conditions.wording import spoken_span, spoken_times

WINDOWS: Final = "windows"

_canonical = msgspec.json.Encoder(order="deterministic").encode


class WindowNeed(Struct, frozen=True, kw_only=True):
    """A window that conditions look at.

    `where` is the canonical JSON of conditions over the event, None for every event of the type. `within_seconds`
    None counts for ever.
    """

    event: str
    where: str | None
    keep: int  #: how many of the last times decide
    within_seconds: int | None

    @property
    def key(self) -> str:
        """A stable name of 24 characters; needs that are equal, and no others, have the same."""
        content = _canonical([self.event, self.where, self.keep, self.within_seconds])
        return blake2b(content, digest_size=12).hexdigest()


class Window(Struct, frozen=True, kw_only=True):
    """A window that events are put into. `admits` is the compiled filter, None for every event of the type."""

    need: WindowNeed
    key: str
    admits: Callable[[Facts], bool] | None

    def with_event(self, times: Sequence[int], facts: Facts, at_ms: int) -> tuple[int, ...] | None:
        """Return the times with this event's, or None when they stay as they are.

        `facts` need no more than the event. A late event takes its place by its own time; one that is older than
        all that is kept changes nothing. An event with a time ahead of the clock counts at once.
        """
        if facts["event"].get("type") != self.need.event or (self.admits is not None and not self.admits(facts)):
            return None
        return with_time(times, at_ms, keep=self.need.keep)


def with_time(times: Sequence[int], at_ms: int, *, keep: int) -> tuple[int, ...] | None:
    """Put a time in its place among ascending times and return the last `keep`; None when nothing changes."""
    if len(times) >= keep and at_ms <= times[-keep]:
        return None
    longer = list(times)
    insort(longer, at_ms)
    return tuple(longer[-keep:])


def window_need(rule: PerformedRule) -> WindowNeed:
    """Return the window that a rule looks at."""
    return WindowNeed(
        event=rule.event,
        where=None if rule.where is None else _canonical(rule.where).decode(),
        keep=_keep(rule),
        within_seconds=rule.within_seconds,
    )


def _keep(rule: PerformedRule) -> int:
    """To see that there are more than n, one more than n must be kept."""
    if rule.at_least is not None:
        return rule.at_least
    return (rule.at_most or rule.exactly or 0) + 1


def make_performed(condition: Performed) -> Made:
    """Compile a rule over a window."""
    rule = condition.performed
    count = _counter(window_need(rule).key, rule.within_seconds)
    low, high = _range(rule)

    def test(facts: Facts) -> bool:
        times = count(facts)
        return times is not None and low <= times <= high

    def account(facts: Facts) -> Account:
        return _account(rule, count(facts), test(facts))

    if rule.within_seconds is None:
        return Made(test=test, account=account)
    return Made(test=test, account=account, change=_change(rule, low, high))


def _range(rule: PerformedRule) -> tuple[int, float]:
    if rule.at_least is not None:
        return rule.at_least, float("inf")
    if rule.at_most is not None:
        return 0, rule.at_most
    if rule.exactly is None:
        # Unreachable from decode_conditions(), which wants one of the three.
        raise TypeError(rule)
    return rule.exactly, rule.exactly


def _times(facts: Facts, key: str) -> Sequence[int]:
    windows = facts.get(WINDOWS)
    found: Sequence[int] = windows.get(key, ()) if isinstance(windows, dict) else ()
    return found


def _counter(key: str, within_seconds: int | None) -> Callable[[Facts], int | None]:
    """Return what counts the times behind `now - within_seconds`; None when the facts do not tell `now`."""
    if within_seconds is None:
        return lambda facts: len(_times(facts, key))
    within_ms = within_seconds * SECOND_MS

    def count(facts: Facts) -> int | None:
        times, now_ms = _times(facts, key), now_of(facts)
        return None if now_ms is None else len(times) - bisect_right(times, now_ms - within_ms)

    return count


def _change(rule: PerformedRule, low: int, high: float) -> Callable[[Facts, int], int | None]:
    """A count falls when its oldest time leaves: down to `high`, then below `low`."""
    key, within_ms = window_need(rule).key, (rule.within_seconds or 0) * SECOND_MS

    def change(facts: Facts, now_ms: int) -> int | None:
        times = _times(facts, key)
        count = len(times) - bisect_right(times, now_ms - within_ms)
        if count > high:
            return times[-int(high) - 1] + within_ms
        return times[-low] + within_ms if count >= low > 0 else None

    return change


def _account(rule: PerformedRule, count: int | None, holds: bool) -> Account:  # noqa: FBT001 - an outcome, private
    name = f"{rule.event}{' with the given properties' if rule.where is not None else ''}"
    span = "" if rule.within_seconds is None else f" in the last {spoken_span(rule.within_seconds)}"
    if rule.at_least is not None:
        wanted = f"at least {rule.at_least}"
    else:
        wanted = f"at most {rule.at_most}" if rule.at_most is not None else f"exactly {rule.exactly}"
    if count is None:
        return Account(clause=f"it is not known how often {name} happened{span}, as 'now' is absent", absent=True)
    # No more times than decide are kept, so a count that reaches them may be higher.
    known = f"at least {spoken_times(count)}" if count == _keep(rule) else spoken_times(count)
    return Account(
        clause=f"{name} happened {known}{span}, which is {'' if holds else 'not '}{wanted}",
        field=f"performed.{rule.event}",
        expected=wanted,
        actual=count,
    )
