"""Svix's numbers for where a delivery or attempt stands."""

from enum import IntEnum

from posthorn.engine.journal import DeliveryRow
from posthorn.engine.records import Attempt, DeliveryState, Trigger


class MessageStatus(IntEnum):
    """Where something stands; the names in lower case are `statusText`."""

    SUCCESS = 0
    PENDING = 1  #: waits for its first attempt
    FAIL = 2
    SENDING = 3  #: failed, and will be tried again
    CANCELED = 4


class StatusCodeClass(IntEnum):
    """A class of HTTP statuses; NONE is no response at all."""

    NONE = 0
    CODE_1XX = 100
    CODE_2XX = 200
    CODE_3XX = 300
    CODE_4XX = 400
    CODE_5XX = 500


STATES = {
    MessageStatus.SUCCESS: DeliveryState.DELIVERED,
    MessageStatus.PENDING: DeliveryState.PENDING,
    MessageStatus.FAIL: DeliveryState.EXHAUSTED,
    MessageStatus.SENDING: DeliveryState.PENDING,
    MessageStatus.CANCELED: DeliveryState.CANCELLED,
}


def status_of_delivery(row: DeliveryRow, *, expanded: bool) -> MessageStatus:
    """Return where a delivery stands. Not expanded, a cancelled one counts as success, as older SDKs expect."""
    match row.state:
        case DeliveryState.DELIVERED:
            return MessageStatus.SUCCESS
        case DeliveryState.EXHAUSTED:
            return MessageStatus.FAIL
        case DeliveryState.CANCELLED:
            return MessageStatus.CANCELED if expanded else MessageStatus.SUCCESS
        case DeliveryState.PENDING:
            return MessageStatus.SENDING if row.attempts else MessageStatus.PENDING


def status_of_attempt(attempt: Attempt) -> MessageStatus:
    """Return how an attempt ended: it succeeded or it failed."""
    return MessageStatus.SUCCESS if attempt.state is DeliveryState.DELIVERED else MessageStatus.FAIL


def trigger_number(trigger: Trigger) -> int:
    """Return Svix's number for why an attempt was made."""
    return 1 if trigger is Trigger.MANUAL else 0
