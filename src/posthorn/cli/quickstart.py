"""`posthorn quickstart`: the server, a key that stays, a first inbox address, and what to type next."""

import shlex
import threading
from dataclasses import replace
from ipaddress import ip_network
from typing import Annotated, Any

import typer
from rich.console import Console

from posthorn.cli.client import ApiClient
from posthorn.cli.credentials import Credentials, new_api_key, read_credentials, write_credentials
from posthorn.cli.demo import run_demo
from posthorn.cli.failures import CommandFailed, RequestRefused
from posthorn.cli.serve import load_server
from posthorn.cli.serving import Serve, Started, with_settings_flags
from posthorn.cli.terminal import command_name, make_console
from posthorn.cli.texts import _
from posthorn.settings import Settings
from posthorn.telemetry.masking import show_controls

SOURCE_UID = "quickstart"

_LOOPBACK = ip_network("127.0.0.0/8")
_DEFAULT_DATA = Settings().data


@with_settings_flags
def quickstart_command(
    *,
    settings: Settings,
    demo: Annotated[
        bool, typer.Option("--demo", help=_("Walk one signed GitHub push from end to end before your eyes."))
    ] = False,
) -> int:
    """Run the server with a ready API key and inbox address, and print how to use them."""
    return quickstart(settings, demo=demo, server=load_server(), console=make_console())


def quickstart(settings: Settings, *, demo: bool, server: Serve, console: Console) -> int:
    """Serve like `serve`, with the key of `<data>/credentials.json`, and guide the user once the doors are open.

    The guide runs in a thread of its own and uses the HTTP API like any client. Returns the server's exit code.
    """
    key = _owner_key(settings)
    settings = replace(settings, api_key=key)
    if demo:
        settings = _open_loopback(settings, console)

    def on_ready(started: Started) -> None:
        guide = _Guide(settings=settings, started=started, key=key, console=console)
        threading.Thread(target=guide.run, kwargs={"demo": demo}, name="quickstart guide", daemon=True).start()

    return server(settings, on_ready=on_ready)


def _owner_key(settings: Settings) -> str:
    """Return the key to print at each start, kept before the first one so that no start can lose it."""
    if settings.api_key is not None:
        return settings.api_key
    kept = read_credentials(settings.data)
    if kept is not None and kept.api_key is not None:
        return kept.api_key
    key = new_api_key()
    write_credentials(settings.data, Credentials(url="", api_key=key))
    return key


def _open_loopback(settings: Settings, console: Console) -> Settings:
    if _LOOPBACK in settings.allow_targets:
        return settings
    console.print(_("Demo mode: deliveries to this machine (127.0.0.0/8) are allowed for this run."), style="yellow")
    return replace(settings, allow_targets=(*settings.allow_targets, _LOOPBACK))


class _Guide:
    """Prints what a newcomer needs, after making it through the API."""

    def __init__(self, *, settings: Settings, started: Started, key: str, console: Console) -> None:
        self._settings = settings
        self._started = started
        self._key = key
        self._console = console
        self._client = ApiClient(started.api_url, key)

    def run(self, *, demo: bool) -> None:
        """Say where everything is; a failure is printed and the server goes on."""
        try:
            self._keep_address()
            source = ensure_source(self._client)
            self._print_guide(str(source["url"]))
            if demo:
                run_demo(self._client, self._console)
            self._console.print(_("Ctrl-C stops the server."), style="dim")
        except CommandFailed as failure:
            self._console.print(_("Error: {message}").format(message=failure), style="red")

    def _keep_address(self) -> None:
        """Let client commands find the server, whatever its port. A key that the user passed is not kept."""
        kept = read_credentials(self._settings.data)
        key = kept.api_key if kept is not None else None
        write_credentials(self._settings.data, Credentials(url=self._started.api_url, api_key=key))

    def _print_guide(self, inbox_url: str) -> None:
        content = "curl -H 'content-type: application/json' -d '{\"hello\": \"world\"}'"
        data = self._settings.data
        place = "" if data == _DEFAULT_DATA else f" --data {shlex.quote(str(data))}"
        command = command_name()
        say = self._console.print
        say(_("Posthorn runs."), style="bold green")
        say(_("  API      {url}").format(url=show_controls(self._started.api_url)))
        say(_("  API key  {key}").format(key=self._key))
        say(_("  Inbox    {url}").format(url=show_controls(inbox_url)))
        say(_("Send a first request:"), style="bold")
        say(f"  {content} {shlex.quote(show_controls(inbox_url))}")
        say(_("Watch what happens, then look at one of the ids:"), style="bold")
        say(f"  {command} tail{place}")
        say(f"  {command} show <id>{place}")


def ensure_source(client: ApiClient) -> dict[str, Any]:
    """Return the newcomer's source, made at the first start: it takes any request without proof of origin."""
    try:
        found: dict[str, Any] = client.get(f"/api/v1/source/{SOURCE_UID}")
    except RequestRefused as refusal:
        if refusal.status != 404:
            raise
        body = {"name": "Quickstart", "uid": SOURCE_UID, "verification": {"type": "none"}}
        made: dict[str, Any] = client.post("/api/v1/source", body)
        return made
    return found
