"""`posthorn nodes`: the processes that share the store, their shards and how late their work is."""

import json
from typing import Annotated, Any

import typer
from rich.table import Table

from posthorn.cli.failures import EXIT_OK
from posthorn.cli.options import DEFAULT_DATA, ApiKey, Data, Url, make_client
from posthorn.cli.terminal import make_console, one_line
from posthorn.cli.texts import _


def nodes_command(
    *,
    as_json: Annotated[bool, typer.Option("--json", help=_("Print the nodes as JSON."))] = False,
    url: Url = None,
    api_key: ApiKey = None,
    data: Data = DEFAULT_DATA,
) -> int:
    """List the nodes that are alive."""
    nodes = make_client(url, api_key, data).get("/api/v1/node")["data"]
    console = make_console()
    if as_json:
        console.print(json.dumps(nodes, indent=2), soft_wrap=True)
        return EXIT_OK
    console.print(_table(nodes))
    return EXIT_OK


def _table(nodes: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    headings = (_("Node"), _("Id"), _("Version"), _("Roles"), _("Seen"))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for heading in (_("Deciding"), _("Delivering"), _("Decide lag"), _("Deliver lag")):
        table.add_column(heading, justify="right")
    for node in nodes:
        table.add_row(
            one_line(node["name"]),
            one_line(node["id"]),
            one_line(node["version"]),
            ", ".join(map(one_line, node["roles"])) or _("leaving"),
            one_line(node["seenAt"]),
            str(node["decidingShards"]),
            str(node["deliveringShards"]),
            _lag(node["decideLagMs"]),
            _lag(node["deliverLagMs"]),
        )
    return table


def _lag(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.1f} s" if milliseconds else "0"
