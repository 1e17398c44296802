"""The stable codes of decisions: why an automation did or did not fire for an event that it was asked about."""

from enum import StrEnum

from posthorn.engine.records import DecisionOutcome


class Reason(StrEnum):
    """Why. The table of docs/automations.md explains each, and a test keeps the two equal."""

    MATCHED = "matched"
    ENTERED = "entered"
    SOURCE_DIFFERS = "source_differs"
    COUNT_DIFFERS = "count_differs"
    CONDITION_FAILED = "condition_failed"
    FIRED_BEFORE = "fired_before"
    FIRED_RECENTLY = "fired_recently"
    NOT_STARTED = "not_started"
    ENDED = "ended"
    HELD_OUT = "held_out"
    CAPPED = "capped"
    CIRCLE = "circle"
    NO_USER = "no_user"
    ABORTED = "aborted"
    TEMPLATE_FAILED = "template_failed"
    INTERNAL_ERROR = "internal_error"

    @property
    def outcome(self) -> DecisionOutcome:
        """The outcome that it explains: each reason has one."""
        return _OUTCOMES.get(self, DecisionOutcome.NOT_ELIGIBLE)


_OUTCOMES = {
    Reason.MATCHED: DecisionOutcome.FIRED,
    Reason.ENTERED: DecisionOutcome.FIRED,
    Reason.SOURCE_DIFFERS: DecisionOutcome.NOT_MATCHED,
    Reason.COUNT_DIFFERS: DecisionOutcome.NOT_MATCHED,
    Reason.CONDITION_FAILED: DecisionOutcome.NOT_MATCHED,
    Reason.TEMPLATE_FAILED: DecisionOutcome.FAILED,
    Reason.INTERNAL_ERROR: DecisionOutcome.FAILED,
}
