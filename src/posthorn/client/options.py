"""How the client batches, waits and gives up."""

from dataclasses import dataclass, fields

from posthorn.client.errors import InvalidCall

_DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Limits of a client; each has a default that suits a web service.

    `batch_events` and `batch_bytes` (JSON before gzip) close a batch, as does the age of its first event,
    `flush_after_seconds`. Segment's limits are 500 KB a batch, so the default fits its servers as well. `queue_events`
    and `queue_bytes` bound what waits in memory, separately for tracking calls and for published events; beyond them
    a call raises QueueFull, or with `raise_when_full=False` reports the event as lost. `request_seconds` bounds one
    try. A batch that found no server for `give_up_after_seconds` is lost; None keeps it for as long as the process
    lives. `close_seconds` is the time that `close()` and the end of the process give to what still waits.
    `gzip_from_bytes` compresses larger bodies of tracking calls; None never does.
    """

    batch_events: int = 100
    batch_bytes: int = 450_000
    flush_after_seconds: float = 0.5
    queue_events: int = 10_000
    queue_bytes: int = 64 * 1024 * 1024
    largest_event_bytes: int = 450_000
    raise_when_full: bool = True
    request_seconds: float = 15.0
    first_retry_seconds: float = 0.5
    longest_retry_seconds: float = 60.0
    longest_retry_after_seconds: float = 3_600.0
    give_up_after_seconds: float | None = _DAY_SECONDS
    close_seconds: float = 10.0
    gzip_from_bytes: int | None = 1_024

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            # A try needs some time and a batch some room; waiting no time at all is a choice.
            least = 0 if option.name in _MAY_BE_ZERO else 1 if isinstance(value, int) else 1e-3
            if value is not None and value < least:
                raise InvalidCall(f"{option.name} must be at least {least}, not {value}")


_MAY_BE_ZERO = frozenset({"flush_after_seconds", "raise_when_full", "close_seconds", "gzip_from_bytes"})
