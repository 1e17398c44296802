"""How a command fails: one sentence that says the way out, and an exit code."""

from posthorn.errors import PosthornError

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2


class CommandFailed(PosthornError):
    """The command could not do its work. The message is for people and already harmless to print."""

    code = "command_failed"


class ServerUnreachable(CommandFailed):
    """No server answered, or the connection broke."""

    code = "server_unreachable"


class RequestRefused(CommandFailed):
    """The server answered with an error. `status` is its HTTP status."""

    code = "request_refused"

    def __init__(self, message: str, *, status: int) -> None:
        self.status = status
        super().__init__(message)
