"""Instants of the stories, written as people write them."""

from datetime import datetime

from posthorn.clock import SECOND_MS


def at(text: str) -> int:
    """Return an instant with its offset in ms: `2026-12-03T10:00+03:00`."""
    instant = datetime.fromisoformat(text)
    assert instant.tzinfo is not None
    return int(instant.timestamp() * SECOND_MS)
