"""Renders docs/telemetry.md from the catalogue and the table of metrics."""

from posthorn.telemetry.catalogue import CATALOGUE, Signal
from posthorn.telemetry.measures import MEASURES

_HEAD = """# Telemetry

The code emits facts under fixed names; logs, metrics and tests subscribe to them. A name is logged when its
level is at least `log_level`. This page is written by `make docs`; edit `src/posthorn/telemetry/catalogue.py`
and `measures.py` instead.

Metrics are served by the private door at `/metrics` in the Prometheus text format, beside the process's own
(`process_*`) and `posthorn_build_info`.

## Names

"""


def telemetry_reference() -> str:
    """Return the page in Markdown."""
    return _HEAD + "\n".join(_entry(signal) for signal in CATALOGUE.values()) + _metrics()


def _entry(signal: Signal) -> str:
    facts = "\n".join(f"- `{fact}`: {meaning}" for fact, meaning in signal.facts.items())
    return f"### `{signal.name}` ({signal.level.word})\n\n{signal.meaning}\n\n{facts}\n"


def _metrics() -> str:
    # Several rows may feed one metric under different labels; the page shows it once.
    by_metric = {measure.metric: measure for measure in MEASURES}
    rows = [
        f"| `{measure.metric}` | {measure.instrument} | {', '.join(measure.label_names)} "
        f"| `{measure.signal}` | {measure.meaning} |"
        for measure in by_metric.values()
    ]
    head = "\n## Metrics\n\n| metric | kind | labels | moved by | meaning |\n|---|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n"
