"""The named ways in which a taken delivery can end or go on. The guard (row unchanged, epoch holds) is the store's."""

from posthorn.engine.records import Attempt, DeliveryWork, Settlement


def delivered(work: DeliveryWork, epoch: int, attempt: Attempt) -> Settlement:
    """Take the delivery off the queue: a receiver has it."""
    return Settlement(work=work, epoch=epoch, attempt=attempt)


def retry_at(work: DeliveryWork, epoch: int, attempt: Attempt, due_ms: int) -> Settlement:
    """Keep the delivery for the next step of its schedule."""
    return Settlement(work=work, epoch=epoch, attempt=attempt, next_due_ms=due_ms, next_step=work.step + 1)


def exhausted(work: DeliveryWork, epoch: int, attempt: Attempt) -> Settlement:
    """Take the delivery off the queue: the schedule has no further step."""
    return Settlement(work=work, epoch=epoch, attempt=attempt)


def deferred(work: DeliveryWork, epoch: int, due_ms: int) -> Settlement:
    """Keep the delivery for later without an attempt made."""
    return Settlement(work=work, epoch=epoch, next_due_ms=due_ms, next_step=work.step)


def cancelled(work: DeliveryWork, epoch: int, reason: str) -> Settlement:
    """Take the delivery off the queue: there is nowhere left to send it."""
    return Settlement(work=work, epoch=epoch, cancelled=reason)
