"""Every name that may be emitted, with its facts. A name is constant: the thing, a dot, what happened."""

from dataclasses import dataclass

from posthorn.telemetry.levels import Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One name: what it says, its facts (ids and numbers, never objects or secrets), its log line's level."""

    name: str
    meaning: str
    facts: dict[str, str]  #: fact → its meaning and unit
    level: Level


_SIGNALS = (
    Signal(
        name="append.committed",
        meaning="A batch of intake became durable.",
        facts={
            "units": "how many units of intake the commit had",
            "events": "how many of them carried a new event",
            "seconds": "how long the commit took",
        },
        level=Level.DEBUG,
    ),
    Signal(
        name="attempt.finished",
        meaning="One HTTP try of a delivery ended.",
        facts={
            "state": "the delivery's state after it",
            "status": "the HTTP status, None when no response came",
            "error": "stable code of the failure, None when a response came",
            "total_us": "microseconds from the start to the last byte",
        },
        level=Level.DEBUG,
    ),
    Signal(
        name="bridge.committed",
        meaning="A batch from a broker became durable and was acknowledged.",
        facts={
            "source": "the source's id",
            "accepted": "how many messages became events",
            "duplicates": "how many were seen before",
            "rejected": "how many were kept as rejected requests",
        },
        level=Level.DEBUG,
    ),
    Signal(
        name="bridge.connected",
        meaning="A bridge consumes from its broker.",
        facts={"source": "the source's id", "protocol": "NATS, AMQP, REDIS or KAFKA"},
        level=Level.INFO,
    ),
    Signal(
        name="bridge.lost",
        meaning="A bridge lost its broker or cannot reach it; it tries again.",
        facts={"source": "the source's id", "cause": "what failed", "failures": "how many times in a row"},
        level=Level.WARNING,
    ),
    Signal(
        name="content.failed",
        meaning="A request that a template made got no answer; its host is left alone for a while.",
        facts={"code": "stable code of the failure"},
        level=Level.WARNING,
    ),
    Signal(
        name="decision.made",
        meaning="An automation did or did not fire for an event.",
        facts={"outcome": "fired, not_matched, not_eligible or failed"},
        level=Level.DEBUG,
    ),
    Signal(
        name="delivery.settled",
        meaning="A batch of delivery outcomes became durable.",
        facts={
            "delivered": "how many receivers answered 2xx",
            "retried": "how many wait for another attempt",
            "exhausted": "how many failed for good",
            "cancelled": "how many were taken off the queue",
        },
        level=Level.DEBUG,
    ),
    Signal(
        name="endpoint.disabled",
        meaning="Posthorn switched an endpoint off.",
        facts={"endpoint": "its id", "reason": "stable code, such as gone after a 410"},
        level=Level.WARNING,
    ),
    Signal(
        name="error.unexpected",
        meaning="Something failed that must not fail. This is a bug or a broken machine.",
        facts={"where": "the part that failed", "exception": "what was raised"},
        level=Level.ERROR,
    ),
    Signal(
        name="lease.changed",
        meaning="This node won or lost shards.",
        facts={
            "node": "its id",
            "stage": "decide or deliver",
            "owned": "how many shards it owns now",
            "won": "how many it took",
            "lost": "how many it lost or gave up",
        },
        level=Level.INFO,
    ),
    Signal(
        name="log.written",
        meaning="A library wrote to Python's standard logging.",
        facts={"logger": "the logger's name", "message": "what it wrote", "exception": "what it reported"},
        level=Level.WARNING,
    ),
    Signal(
        name="prune.finished",
        meaning="Old journal rows and expired claims were deleted.",
        facts={
            "rows": "journal rows",
            "claims": "expired idempotency keys",
            "seconds": "how long it took",
        },
        level=Level.DEBUG,
    ),
    Signal(
        name="request.captured",
        meaning="A request at an inbox address was answered.",
        facts={
            "outcome": "accepted, duplicate or rejected",
            "cause": "stable code of the rejection, else None",
        },
        level=Level.DEBUG,
    ),
    Signal(
        name="server.started",
        meaning="Both doors are open.",
        facts={
            "version": "of Posthorn",
            "api_url": "base address of the private door",
            "inbox_url": "base address of the public door",
            "data": "the data directory",
        },
        level=Level.INFO,
    ),
    Signal(
        name="server.stopped",
        meaning="Everything in flight is settled, or the time for it was over.",
        facts={"seconds": "how long the shutdown took"},
        level=Level.INFO,
    ),
    Signal(
        name="server.stopping",
        meaning="The shutdown began.",
        facts={"reason": "the signal's name, or what asked for it"},
        level=Level.INFO,
    ),
    Signal(
        name="store.unavailable",
        meaning="The store could not commit; callers were answered 503 or work waits.",
        facts={"cause": "what the store said"},
        level=Level.ERROR,
    ),
    Signal(
        name="store.unsafe",
        meaning="The store's server is set up so that a crash can lose what was acknowledged.",
        facts={"cause": "what is set, what it risks and what to do"},
        level=Level.WARNING,
    ),
    Signal(
        name="telemetry.undeclared",
        meaning="The code emitted a name that this page does not list. Written once for each name.",
        facts={"undeclared": "the name"},
        level=Level.WARNING,
    ),
)

CATALOGUE: dict[str, Signal] = {signal.name: signal for signal in _SIGNALS}
