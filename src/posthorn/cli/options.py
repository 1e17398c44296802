"""The flags of every command that talks to a running server."""

from pathlib import Path
from typing import Annotated

import typer

from posthorn.cli.client import ApiClient
from posthorn.cli.credentials import DEFAULT_URL, choose_credentials
from posthorn.cli.texts import _
from posthorn.settings import Settings

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="POSTHORN_URL",
        metavar="URL",
        show_default=False,
        help=_("Address of the server's API. Default: what quickstart keeps, else {url}.").format(url=DEFAULT_URL),
    ),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        envvar="POSTHORN_API_KEY",
        metavar="KEY",
        show_default=False,
        help=_("API key. Default: what quickstart keeps for this address."),
    ),
]
Data = Annotated[
    Path,
    typer.Option(
        "--data",
        envvar="POSTHORN_DATA",
        metavar="DIRECTORY",
        show_default=False,
        help=_("Data directory in which quickstart keeps its key. Default: {path}.").format(path=Settings().data),
    ),
]
Identifier = Annotated[
    str,
    typer.Argument(metavar="ID", help=_("Id of a request, event, message, decision, delivery or attempt.")),
]

DEFAULT_DATA = Settings().data


def make_client(url: str | None, api_key: str | None, data: Path) -> ApiClient:
    """Return a client for the server that the flags name, or that quickstart keeps."""
    chosen = choose_credentials(url=url or None, api_key=api_key or None, data=data.expanduser())
    return ApiClient(chosen.url, chosen.api_key)
