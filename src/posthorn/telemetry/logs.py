"""Structured logging as a subscriber: which names are written follows from their level in the catalogue."""

import logging
import sys
import traceback
from collections.abc import Callable
from typing import TextIO

import structlog

from posthorn.telemetry.catalogue import CATALOGUE
from posthorn.telemetry.levels import Level
from posthorn.telemetry.masking import mask_facts, mask_text
from posthorn.telemetry.seam import Facts, Telemetry


def subscribe_logs(telemetry: Telemetry, *, level: str, json: bool, stream: TextIO | None = None) -> Callable[[], None]:
    """Write a line for each signal of at least this level (debug, info, warning, error); return what ends it.

    Lines go to standard error unless `stream` says otherwise. Names below the level get no subscriber at all,
    so that quiet hot paths stay free. Raises KeyError for an unknown level.
    """
    least = Level[level.upper()]
    logger = _make_logger(stream or sys.stderr, json=json)
    levels = {name: signal.level for name, signal in CATALOGUE.items() if signal.level >= least}

    def write(name: str, facts: Facts) -> None:
        shown = mask_facts({key: value for key, value in facts.items() if key != "exception"})
        exception = facts.get("exception")
        if isinstance(exception, BaseException):
            shown["exception"] = _plain_traceback(exception)
        getattr(logger, levels[name].word)(name, **shown)

    return telemetry.subscribe(write, *levels)


class StandardLogBridge(logging.Handler):
    """Carries libraries' warnings from Python's standard logging to the seam: all lines look alike."""

    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__(level=logging.WARNING)
        self._telemetry = telemetry

    def emit(self, record: logging.LogRecord) -> None:
        """Emit `log.written`; a record that cannot be rendered is reported the way logging does it."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            self.handleError(record)
            return
        exception = record.exc_info[1] if record.exc_info else None
        self._telemetry.emit("log.written", logger=record.name, message=message, exception=exception)


def _plain_traceback(exception: BaseException) -> str:
    """Render without the frames' local variables: they hold keys and payloads."""
    return mask_text("".join(traceback.format_exception(exception)).rstrip())


def _make_logger(stream: TextIO, *, json: bool) -> structlog.typing.BindableLogger:
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    processors: list[structlog.typing.Processor] = [structlog.processors.add_log_level, stamp]
    if json:
        processors.append(structlog.processors.JSONRenderer())
    else:
        processors.append(structlog.dev.ConsoleRenderer(colors=stream.isatty(), sort_keys=False))
    # The logger is wrapped by hand: structlog.configure would change the whole process.
    logger: structlog.typing.BindableLogger = structlog.wrap_logger(
        structlog.PrintLogger(stream), processors=processors, wrapper_class=structlog.BoundLogger
    )
    return logger
