"""The one instrumentation seam: code emits facts under declared names; logs, metrics and tests subscribe."""

from posthorn.telemetry.catalogue import CATALOGUE, Signal
from posthorn.telemetry.logs import StandardLogBridge, subscribe_logs
from posthorn.telemetry.metrics import Metrics
from posthorn.telemetry.seam import Facts, Subscriber, Telemetry, UndeclaredSignal

__all__ = [
    "CATALOGUE",
    "Facts",
    "Metrics",
    "Signal",
    "StandardLogBridge",
    "Subscriber",
    "Telemetry",
    "UndeclaredSignal",
    "subscribe_logs",
]
