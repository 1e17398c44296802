"""How severe a log line is."""

from enum import IntEnum


class Level(IntEnum):
    """Severity, with the numbers of the standard library's logging."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40

    @property
    def word(self) -> str:
        """The level as settings and log lines spell it."""
        return self.name.lower()
