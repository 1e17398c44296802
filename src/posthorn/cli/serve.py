"""`posthorn serve`: run the server with the given settings."""

import gc

from posthorn.cli.serving import Serve, Started, with_settings_flags
from posthorn.cli.terminal import make_console
from posthorn.cli.texts import _
from posthorn.settings import Settings


@with_settings_flags
def serve_command(*, settings: Settings) -> int:
    """Run the server until SIGTERM or Ctrl-C."""
    return serve(settings, server=load_server())


def load_server() -> Serve:
    """Return the server. It is imported on demand: `posthorn version` need not load a web framework.

    While it loads and starts, the collector of garbage rests: there is none yet, and looking for it takes a tenth of
    the start. The server wakes it once it is ready.
    """
    gc.disable()
    from posthorn.server.assembly import serve as run  # noqa: PLC0415 - see above

    return run


def serve(settings: Settings, *, server: Serve) -> int:
    """Serve, and say on standard output where, once both doors are open. Returns the exit code."""
    return server(settings, on_ready=_announce)


def _announce(started: Started) -> None:
    console = make_console()
    console.print(_("API    {url}").format(url=started.api_url))
    console.print(_("Inbox  {url}/in/…").format(url=started.inbox_url_base))
    if started.api_key is not None:
        console.print(_("API key, shown this once: {key}").format(key=started.api_key))
