"""The program: its commands, its exit codes (0 done, 1 failed, 2 wrong usage), and how it says what went wrong."""

import sys
from collections.abc import Sequence
from typing import Any

import typer

from posthorn import __version__
from posthorn.cli.database import database_commands
from posthorn.cli.failures import EXIT_FAILURE, EXIT_OK, EXIT_USAGE
from posthorn.cli.nodes import nodes_command
from posthorn.cli.profiles import profiles_commands
from posthorn.cli.quickstart import quickstart_command
from posthorn.cli.serve import serve_command
from posthorn.cli.show import replay_command, show_command
from posthorn.cli.tail import tail_command
from posthorn.cli.terminal import make_console
from posthorn.cli.texts import _
from posthorn.cli.why import why_command
from posthorn.errors import PosthornError, SettingsInvalid
from posthorn.telemetry.masking import show_controls


def version_command() -> int:
    """Print the version."""
    make_console().print(f"posthorn {__version__}")
    return EXIT_OK


def make_program() -> typer.Typer:
    """Assemble the commands."""
    program = typer.Typer(
        name="posthorn",
        help=_("Self-hosted webhook platform: receive, decide, deliver, with a journal of everything."),
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    program.command("serve", help=_("Run the server until SIGTERM or Ctrl-C."))(serve_command)
    program.command("quickstart", help=_("Run the server with a ready key and inbox; print how to use them."))(
        quickstart_command
    )
    program.command("tail", help=_("Print the journal as it grows."))(tail_command)
    program.command("show", help=_("Draw everything that hangs together with an id."))(show_command)
    program.command("why", help=_("Say whether an automation fired for an event, and why."))(why_command)
    program.command("replay", help=_("Queue the deliveries of an id again."))(replay_command)
    program.command("nodes", help=_("List the nodes that share the store, their shards and their lag."))(nodes_command)
    program.add_typer(database_commands(), name="database", help=_("Bring a store up to date, look at it, move it."))
    program.add_typer(profiles_commands(), name="profiles", help=_("Import, export, show and forget people."))
    program.command("version", help=_("Print the version."))(version_command)
    return program


def main(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code. Every expected failure is one message on standard error."""
    if not arguments:
        make_program()(args=["--help"], prog_name="posthorn", standalone_mode=False)
        return EXIT_USAGE
    try:
        result = make_program()(args=list(arguments), prog_name="posthorn", standalone_mode=False)
    except typer.TyperException as error:
        return _report(_usage_message(error), error.exit_code)
    except typer.Abort:
        return _report(_("Stopped."), EXIT_FAILURE)
    except SettingsInvalid as error:
        return _report(str(error), EXIT_USAGE)
    except PosthornError as error:
        return _report(str(error), EXIT_FAILURE)
    return result if isinstance(result, int) else EXIT_OK


def run() -> None:
    """Enter the program from the shell."""
    sys.exit(main(sys.argv[1:]))


def _report(message: str, exit_code: int) -> int:
    make_console(to_errors=True).print(_("Error: {message}").format(message=show_controls(message)), style="red")
    return exit_code


def _usage_message(error: Any) -> str:
    """Return what was wrong with the arguments, a near miss when there is one, and where the help is."""
    message = str(error.format_message()).rstrip(".")
    near = getattr(error, "possibilities", None)
    if near:
        message = str(error.message)
        message = _("{message}. Did you mean {near}?").format(message=message, near=_(" or ").join(sorted(near)))
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "posthorn"
    return _("{message}\nTry `{path} --help`.").format(message=message, path=path)
