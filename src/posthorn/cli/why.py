"""`posthorn why`: fired or not, and exactly why, for an event and an automation; with what came of it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer
from rich.text import Text
from rich.tree import Tree

from posthorn.cli.client import ApiClient
from posthorn.cli.failures import EXIT_OK
from posthorn.cli.options import DEFAULT_DATA, ApiKey, Data, Url, make_client
from posthorn.cli.terminal import ascii_json, make_console, one_line, plain
from posthorn.cli.texts import _
from posthorn.cli.threads import describe_row

Row = Mapping[str, Any]

_LONGEST_SENTENCE = 4_000

Event = Annotated[str, typer.Argument(metavar="EVENT", help=_("Id of an event, or of a captured request."))]
Automation = Annotated[
    str | None,
    typer.Argument(
        metavar="AUTOMATION", show_default=False, help=_("Id or uid of an automation. Default: all of them.")
    ),
]


def why_command(
    event: Event,
    automation: Automation = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help=_("Print each answer as one line of JSON."))] = False,
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = DEFAULT_DATA,
) -> int:
    """Say whether an automation fired for an event, and why; without an automation, for each of them."""
    client = make_client(url, api_key, data)
    console = make_console()
    for answer in _answers(client, event, automation):
        if as_json:
            console.print(ascii_json(json.dumps(answer)))
        else:
            console.print(draw_why(answer), soft_wrap=False)
    return EXIT_OK


def draw_why(answer: Row) -> Tree:
    """Draw one answer: the sentence, and below it the decisions, runs and deliveries that it speaks of."""
    tree = Tree(_head(answer))
    tree.add(Text(one_line(answer.get("detail", ""), longest=_LONGEST_SENTENCE)))
    for decision in _rows(answer, "decisions"):
        tree.add(describe_row({"kind": "decision", **decision}))
    for run in _rows(answer, "runs"):
        tree.add(_run(run))
    for delivery in _rows(answer, "deliveries"):
        tree.add(describe_row({"kind": "delivery", **delivery}))
    return tree


def _answers(client: ApiClient, event: str, automation: str | None) -> Iterator[Any]:
    path = f"/api/v1/event/{quote(event, safe='')}/why"
    if automation is not None:
        yield client.get(f"{path}?{urlencode({'automation': automation})}")
        return
    page = client.get(path)
    yield from page["data"]
    while not page["done"]:
        page = client.get(f"{path}?{urlencode({'iterator': page['iterator']})}")
        yield from page["data"]


def _head(answer: Row) -> Text:
    fired, name = answer.get("fired"), answer.get("automationName")
    word, colour = _VERDICTS[fired if isinstance(fired, bool) else None]
    head = Text().append(word, f"bold {colour}")
    head.append("  ").append(plain(answer.get("automationId", "")))
    if name is not None:
        head.append(" ").append(plain(name, "cyan"))
    return head.append("  ").append(plain(answer.get("reason", ""), "magenta"))


def _run(row: Row) -> Text:
    line = Text(f"{_('run'):<8}", style="bold").append(" ").append(plain(row.get("id", "")))
    line.append("  ").append(plain(row.get("state", "")))
    if row.get("wakesAt") is not None:
        line.append("  " + _("until {instant}").format(instant=one_line(row["wakesAt"])))
    return line


def _rows(answer: Row, name: str) -> Sequence[Row]:
    rows = answer.get(name)
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


_VERDICTS: Mapping[bool | None, tuple[str, str]] = {
    True: (_("fired"), "green"),
    False: (_("did not fire"), "yellow"),
    None: (_("not known"), "red"),
}
