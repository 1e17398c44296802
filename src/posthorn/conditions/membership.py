"""Rules over what is known of a profile: counters, segments, subscription states."""

from collections.abc import Callable, Mapping
from typing import Final

from posthorn.conditions.fields import Facts
from posthorn.conditions.nodes import Account, Made
from posthorn.conditions.tree import (
    Count,
    CountOperator,
    InSegment,
    Membership,
    Operator,
    Subscription,
    SubscriptionState,
)
from posthorn.conditions.wording import spoken_times

_COUNT_TESTS: Final[Mapping[CountOperator, Callable[[int, int], bool]]] = {
    CountOperator.EQ: lambda count, value: count == value,
    CountOperator.NE: lambda count, value: count != value,
    CountOperator.GT: lambda count, value: count > value,
    CountOperator.GTE: lambda count, value: count >= value,
    CountOperator.LT: lambda count, value: count < value,
    CountOperator.LTE: lambda count, value: count <= value,
    CountOperator.EVERY: lambda count, value: count > 0 and count % value == 0,
}
_COUNT_WORDS: Final[Mapping[CountOperator, tuple[str, str]]] = {
    CountOperator.EQ: ("equals", "does not equal"),
    CountOperator.NE: ("does not equal", "equals"),
    CountOperator.GT: ("is more than", "is not more than"),
    CountOperator.GTE: ("is at least", "is not at least"),
    CountOperator.LT: ("is less than", "is not less than"),
    CountOperator.LTE: ("is at most", "is not at most"),
    CountOperator.EVERY: ("is a multiple of", "is no multiple of"),
}


def make_count(condition: Count) -> Made:
    """Compile a rule over an exact counter. What never happened was counted 0 times."""
    rule = condition.count
    event, op, value = rule.event, rule.op, rule.value
    compare = _COUNT_TESTS[op]

    def count_of(facts: Facts) -> int:
        counts = facts.get("counts")
        counter = counts.get(event) if isinstance(counts, dict) else None
        count = counter.get("count") if isinstance(counter, dict) else 0
        return count if type(count) is int else 0

    def account(facts: Facts) -> Account:
        count = count_of(facts)
        words = _COUNT_WORDS[op][0 if compare(count, value) else 1]
        return Account(
            clause=f"{event} happened {spoken_times(count)} in all, which {words} {value:,}",
            field=f"counts.{event}.count",
            operator=None if op is CountOperator.EVERY else Operator(op),
            expected=value,
            actual=count,
        )

    return Made(test=lambda facts: compare(count_of(facts), value), account=account)


def make_segment(condition: InSegment) -> Made:
    """Compile a rule over membership in a segment. Facts list the segments that the person is in."""
    rule = condition.segment
    segment, wanted = rule.segment, rule.membership is Membership.IN

    def is_member(facts: Facts) -> bool:
        segments = facts.get("segments")
        return isinstance(segments, dict) and segments.get(segment) is True

    def account(facts: Facts) -> Account:
        member = is_member(facts)
        return Account(
            clause=f"the person is {'' if member else 'not '}in the segment {segment}",
            field=f"segments.{segment}",
            expected=wanted,
            actual=member,
        )

    if wanted:
        return Made(test=is_member, account=account)
    return Made(test=lambda facts: not is_member(facts), account=account)


def make_subscription(condition: Subscription) -> Made:
    """Compile a rule over the subscription state of a channel; no state, and no profile, is `unknown`."""
    rule = condition.subscription
    channel, states = rule.channel, frozenset(map(str, rule.states))

    def state_of(facts: Facts) -> str:
        profile = facts.get("profile")
        by_channel = profile.get("subscriptions") if isinstance(profile, dict) else None
        state = by_channel.get(channel) if isinstance(by_channel, dict) else None
        return state if isinstance(state, str) else SubscriptionState.UNKNOWN

    def account(facts: Facts) -> Account:
        state = state_of(facts)
        words = "is one of" if state in states else "is none of"
        return Account(
            clause=f"the subscription to {channel} is {state}, which {words} {', '.join(rule.states)}",
            field=f"profile.subscriptions.{channel}",
            expected=[*rule.states],
            actual=state,
        )

    return Made(test=lambda facts: state_of(facts) in states, account=account)
