"""Tells the owner of a client what was lost: to their callback, or else to the log."""

import logging
from collections.abc import Callable, Iterable

from posthorn.client.errors import Lost

OnLost = Callable[[Lost], None]

_logger = logging.getLogger("posthorn.client")


def tell(on_lost: OnLost | None, losses: Iterable[Lost]) -> None:
    """Report losses. What the callback raises is logged: it must not end the thread that sends."""
    for lost in losses:
        if on_lost is None:
            _logger.error("posthorn.client.events_lost: %d events: %s", len(lost.message_ids), lost.reason)
            continue
        try:
            on_lost(lost)
        except Exception:  # whatever it is, it is the caller's, and the next loss is still told
            _logger.exception("posthorn.client.on_lost_failed")
