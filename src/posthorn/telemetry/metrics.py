"""Prometheus metrics as a subscriber. The table in `measures` says which name moves which metric."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from posthorn.telemetry.measures import MEASURES, Instrument, Measure
from posthorn.telemetry.seam import Facts, Telemetry

_MOST_LABEL_SETS = 200
_OVERFLOW = "other"


class Metrics:
    """Counts and measures into a registry of its own, and renders it for /metrics."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self, telemetry: Telemetry, *, version: str) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        build = Gauge(
            "posthorn_build_info", "Always 1; the label says what runs.", ["version"], registry=self._registry
        )
        build.labels(version=version).set(1)
        metrics: dict[str, Counter | Gauge | Histogram] = {}
        for measure in MEASURES:
            if measure.metric not in metrics:
                metrics[measure.metric] = _make_metric(measure, self._registry)
            telemetry.subscribe(_recorder(measure, metrics[measure.metric]), measure.signal)

    def render(self) -> bytes:
        """Return the exposition text, to be served as `content_type`."""
        return generate_latest(self._registry)


def _make_metric(measure: Measure, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
    labels = measure.label_names
    if measure.instrument is Instrument.COUNTER:
        return Counter(measure.metric, measure.meaning, labels, registry=registry)
    if measure.instrument is Instrument.GAUGE:
        return Gauge(measure.metric, measure.meaning, labels, registry=registry)
    return Histogram(measure.metric, measure.meaning, labels, buckets=measure.buckets, registry=registry)


def _recorder(measure: Measure, metric: Counter | Gauge | Histogram) -> Callable[[str, Facts], None]:
    """Make the subscriber of one measure. It keeps the children: asking the metric costs 1 µs each time."""
    children: dict[tuple[str, ...], Callable[[float], None]] = {}
    amount, labels = measure.amount, measure.labels

    def record(_name: str, facts: Facts) -> None:
        values = labels(facts)
        move = children.get(values)
        if move is None:
            # A label that turns out to be free text must not grow memory without bound.
            if len(children) >= _MOST_LABEL_SETS:
                values = (_OVERFLOW,) * len(values)
            move = children[values] = _mover(metric.labels(*values) if values else metric)
        move(amount(facts))

    return record


def _mover(child: Counter | Gauge | Histogram) -> Callable[[float], None]:
    if isinstance(child, Counter):
        return child.inc
    if isinstance(child, Gauge):
        return child.set
    return child.observe
