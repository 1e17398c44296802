"""`posthorn show` and `posthorn replay`: one thread of the journal, drawn; and sent again."""

import json
from typing import Annotated
from urllib.parse import quote

import typer

from posthorn.cli.failures import EXIT_OK
from posthorn.cli.options import DEFAULT_DATA, ApiKey, Data, Identifier, Url, make_client
from posthorn.cli.terminal import ascii_json, make_console, one_line
from posthorn.cli.texts import _
from posthorn.cli.threads import draw_thread


def show_command(
    identifier: Identifier,
    *,
    as_json: Annotated[bool, typer.Option("--json", help=_("Print the API's answer as one line of JSON."))] = False,
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = DEFAULT_DATA,
) -> int:
    """Draw everything that hangs together with an id: request, event, decisions, deliveries, attempts."""
    thread = make_client(url, api_key, data).get(f"/api/v1/thread/{quote(identifier, safe='')}")
    console = make_console()
    if as_json:
        console.print(ascii_json(json.dumps(thread)))
    else:
        console.print(draw_thread(thread), soft_wrap=False)
    return EXIT_OK


def replay_command(
    identifier: Identifier, *, url: Url = None, api_key: ApiKey = None, data: Data = DEFAULT_DATA
) -> int:
    """Queue the deliveries of an id again. Attempts made so far keep counting."""
    client = make_client(url, api_key, data)
    answer = client.post(f"/api/v1/replay/{quote(identifier, safe='')}")
    console = make_console()
    for delivery in answer["deliveries"]:
        console.print(_("queued again: {delivery}").format(delivery=one_line(delivery)))
    return EXIT_OK
