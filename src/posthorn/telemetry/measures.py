"""The table of metrics: which signal moves which metric, by how much, under which labels."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from posthorn.telemetry.seam import Facts

_MICROSECONDS = 1_000_000
_COMMIT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_ATTEMPT_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0)
_STATUS_CLASSES = {digit: f"{digit}xx" for digit in range(1, 6)}


class Instrument(StrEnum):
    """What kind of metric it is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


def _one(_facts: Facts) -> float:
    return 1.0


def _unlabelled(_facts: Facts) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One row of the table. `labels` yields the values of `label_names`, in order."""

    signal: str
    metric: str
    instrument: Instrument
    meaning: str
    amount: Callable[[Facts], float] = _one
    label_names: tuple[str, ...] = ()
    labels: Callable[[Facts], tuple[str, ...]] = _unlabelled
    buckets: tuple[float, ...] = ()


def _fact(name: str) -> Callable[[Facts], float]:
    return lambda facts: facts[name]


def _word(name: str) -> Callable[[Facts], tuple[str, ...]]:
    return lambda facts: (facts[name],)


def _attempt_labels(facts: Facts) -> tuple[str, ...]:
    status = facts["status"]
    result = facts["error"] or _STATUS_CLASSES.get((status or 0) // 100, "other")
    return (facts["state"], result)


def _request_labels(facts: Facts) -> tuple[str, ...]:
    return (facts["outcome"], facts["cause"] or "")


def _settled(outcome: str) -> Measure:
    return Measure(
        signal="delivery.settled",
        metric="posthorn_deliveries_settled_total",
        instrument=Instrument.COUNTER,
        meaning="Outcomes of taken deliveries.",
        amount=_fact(outcome),
        label_names=("outcome",),
        labels=lambda _facts: (outcome,),
    )


MEASURES: tuple[Measure, ...] = (
    Measure(
        signal="append.committed",
        metric="posthorn_events_appended_total",
        instrument=Instrument.COUNTER,
        meaning="Events made durable.",
        amount=_fact("events"),
    ),
    Measure(
        signal="append.committed",
        metric="posthorn_intake_units_total",
        instrument=Instrument.COUNTER,
        meaning="Units of intake committed, duplicates and rejected requests included.",
        amount=_fact("units"),
    ),
    Measure(
        signal="append.committed",
        metric="posthorn_append_commit_seconds",
        instrument=Instrument.HISTOGRAM,
        meaning="How long a group commit of intake took.",
        amount=_fact("seconds"),
        buckets=_COMMIT_BUCKETS,
    ),
    Measure(
        signal="request.captured",
        metric="posthorn_requests_captured_total",
        instrument=Instrument.COUNTER,
        meaning="Requests at inbox addresses, by outcome and cause of rejection.",
        label_names=("outcome", "cause"),
        labels=_request_labels,
    ),
    Measure(
        signal="decision.made",
        metric="posthorn_decisions_total",
        instrument=Instrument.COUNTER,
        meaning="Decisions of automations, by outcome.",
        label_names=("outcome",),
        labels=_word("outcome"),
    ),
    Measure(
        signal="attempt.finished",
        metric="posthorn_attempts_total",
        instrument=Instrument.COUNTER,
        meaning="HTTP tries, by the delivery's state after them and by status class or error.",
        label_names=("state", "result"),
        labels=_attempt_labels,
    ),
    Measure(
        signal="attempt.finished",
        metric="posthorn_attempt_seconds",
        instrument=Instrument.HISTOGRAM,
        meaning="How long an HTTP try took.",
        amount=lambda facts: facts["total_us"] / _MICROSECONDS,
        buckets=_ATTEMPT_BUCKETS,
    ),
    *(_settled(outcome) for outcome in ("delivered", "retried", "exhausted", "cancelled")),
    Measure(
        signal="endpoint.disabled",
        metric="posthorn_endpoints_disabled_total",
        instrument=Instrument.COUNTER,
        meaning="Endpoints that Posthorn switched off, by reason.",
        label_names=("reason",),
        labels=_word("reason"),
    ),
    Measure(
        signal="store.unavailable",
        metric="posthorn_store_unavailable_total",
        instrument=Instrument.COUNTER,
        meaning="Commits that the store refused.",
    ),
    Measure(
        signal="lease.changed",
        metric="posthorn_shards_owned",
        instrument=Instrument.GAUGE,
        meaning="Shards that this node owns.",
        amount=_fact("owned"),
    ),
    Measure(
        signal="prune.finished",
        metric="posthorn_pruned_rows_total",
        instrument=Instrument.COUNTER,
        meaning="Journal rows deleted for their age.",
        amount=_fact("rows"),
    ),
    Measure(
        signal="error.unexpected",
        metric="posthorn_unexpected_errors_total",
        instrument=Instrument.COUNTER,
        meaning="Failures that must not happen, by where they did.",
        label_names=("where",),
        labels=_word("where"),
    ),
)
