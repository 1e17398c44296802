"""What can go wrong for who sends events, and the record of events that were lost.

    ClientError
    ├── InvalidCall         an argument is wrong: no event was made of it (also a ValueError)
    ├── EventTooLarge       one event is larger than `Options.largest_event_bytes`
    ├── QueueFull           more waits than `Options` allows to hold in memory
    ├── ClientClosed        the client was closed before this call
    └── SendingError        why a request failed
        ├── ServerRefused   the server refused it for good: 3xx, or 4xx except 408 and 429
        ├── ServerBusy      408, 429 or 5xx: it is sent again
        ├── NoAnswer        no connection, no answer in time, or what came was no answer of Posthorn: it is sent again
        ├── EventConflict   another event with the same id exists
        └── NotSentInTime   the client was closed, or the process ended, before it could be sent

A call raises the first four. A `SendingError` arrives in `Lost.reason`, since sending happens later.
"""

from dataclasses import dataclass, field


class ClientError(Exception):
    """Base of every error of the client."""


class InvalidCall(ClientError, ValueError):
    """An argument is wrong. The message says which and what is expected."""


class EventTooLarge(ClientError):
    """An event is larger than `Options.largest_event_bytes`."""


class QueueFull(ClientError):
    """The queue holds as much as `Options` allows. Events leave it when the server accepts them."""


class ClientClosed(ClientError):
    """The client was closed before this call."""


class SendingError(ClientError):
    """Why a request failed."""


class ServerRefused(SendingError):
    """The server refused a request for good. `detail` is the server's own text, `code` its stable code if it gave one.

    `loc` is the server's path to what is wrong inside of one event, such as ("data", "amount"), when it named one.
    """

    def __init__(self, *, status: int, detail: str, code: str | None = None, loc: tuple[str | int, ...] = ()) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.loc = loc
        place = f" at {'.'.join(map(str, loc))}" if loc else ""
        super().__init__(f"the server refused with {status}{f' {code}' if code else ''}{place}: {detail}")


class ServerBusy(SendingError):
    """The server could not take a request now: status 408, 429 or 5xx."""

    def __init__(self, *, status: int, detail: str) -> None:
        self.status = status
        self.detail = detail
        super().__init__(f"the server answered {status}: {detail}")


class NoAnswer(SendingError):
    """There was no connection, no answer in time, or no answer of Posthorn."""


class EventConflict(SendingError):
    """The server has another event with the same id. Events never change."""


class NotSentInTime(SendingError):
    """The client was closed, or the process ended, before these events were accepted.

    One request of them may have reached the server without its answer coming back.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Events that the client holds no longer and that the server did not accept.

    `bodies` are their JSON texts, to be kept or sent by other means. They are personal data and not in the repr.
    """

    reason: SendingError | QueueFull
    message_ids: tuple[str, ...]
    bodies: tuple[bytes, ...] = field(repr=False)
