"""`posthorn tail`: the journal as it grows, one line for each row."""

import itertools
import json
import time
from collections import deque
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from posthorn.cli.client import ApiClient
from posthorn.cli.failures import EXIT_OK, RequestRefused, ServerUnreachable
from posthorn.cli.options import DEFAULT_DATA, ApiKey, Data, Url, make_client
from posthorn.cli.terminal import ascii_json, make_console
from posthorn.cli.texts import _
from posthorn.cli.threads import describe_row
from posthorn.lifecycle import backoff_seconds

_PATH = "/api/v1/tail"
_CURSOR = "cursor"  #: the kind of a line that only says where the stream stands
_REMEMBERED_LINES = 500
_LONGEST_PAUSE_SECONDS = 5.0


def tail_command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help=_("Print each row as one line of JSON."))] = False,
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = DEFAULT_DATA,
) -> int:
    """Print requests, events, decisions and attempts as they become durable, until Ctrl-C."""
    client = make_client(url, api_key, data)
    console = make_console()
    try:
        for line in follow(client, make_console(to_errors=True)):
            print_row(line, console, as_json=as_json)
    except KeyboardInterrupt:
        # Ctrl-C is how a tail ends.
        return EXIT_OK
    return EXIT_OK


def follow(client: ApiClient, notices: Console) -> Iterator[str]:
    """Yield the journal's new rows as JSON texts, for ever; a lost connection is taken up where it broke.

    Lines that only say where the stream stands are taken note of and left out.
    The first connection must succeed: raises ServerUnreachable and RequestRefused.
    """
    lines = client.lines(_PATH)
    cursor: int | None = None
    # A stream that was taken up again may repeat some lines.
    recent: deque[str] = deque(maxlen=_REMEMBERED_LINES)
    while True:
        try:
            for line in lines:
                identity, cursor = _place(line, cursor)
                if identity is not None and identity not in recent:
                    recent.append(identity)
                    yield line
            notices.print(_("The server closed the stream. Trying again …"), style="yellow")
        except ServerUnreachable as failure:
            notices.print(_("{failure} Trying again …").format(failure=failure), style="yellow")
        lines = _reconnect(client, cursor)


def _reconnect(client: ApiClient, cursor: int | None) -> Iterator[str]:
    path = _PATH if cursor is None else f"{_PATH}?after={cursor}"
    for failures in itertools.count(1):
        time.sleep(min(backoff_seconds(failures), _LONGEST_PAUSE_SECONDS))
        try:
            return client.lines(path)
        except ServerUnreachable:
            continue
        except RequestRefused as refusal:
            # A server that is still starting answers 503; anything else will not mend itself.
            if refusal.status < 500:
                raise
    raise AssertionError("an endless count never ends")


def print_row(line: str, console: Console, *, as_json: bool) -> None:
    """Print one row of the tail; one that is no JSON object is shown as it came, harmlessly."""
    if as_json:
        console.print(ascii_json(line))
        return
    row = _decoded(line)
    console.print(Text(ascii_json(line)) if row is None else describe_row(row))


def _place(line: str, before: int | None) -> tuple[str | None, int | None]:
    """Return what tells a row from others, None for a line that is no row, and the cursor after the line."""
    row = _decoded(line)
    if row is None:
        return line, before
    kind, cursor = row.get("kind"), row.get("cursor")
    identity = None if kind == _CURSOR else f"{kind} {row.get('id')}"
    return identity, cursor if isinstance(cursor, int) else before


def _decoded(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
