"""What goes to the terminal. Payloads, headers and answers are hostile: they are shown, never obeyed."""

import shutil
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from posthorn.telemetry.masking import mask_text, show_controls

_LONGEST = 300
_WIDTH_OF_FILES = 10_000


def make_console(*, to_errors: bool = False) -> Console:
    """Make a console that takes text literally: no markup, no emoji codes, no guessed highlighting.

    Lines are left whole, so that commands and addresses can be copied; what goes to a file has no width at all.
    """
    stream = sys.stderr if to_errors else sys.stdout
    width = None if stream.isatty() else _WIDTH_OF_FILES
    return Console(stderr=to_errors, markup=False, emoji=False, highlight=False, soft_wrap=True, width=width)


def one_line(value: Any, *, longest: int = _LONGEST) -> str:
    """Return foreign text as one harmless line: controls as escapes, known forms of secrets masked, cut to length."""
    text = mask_text(str(value)).replace("\n", "\\n").replace("\t", "\\t")
    return text if len(text) <= longest else f"{text[:longest]}…"


def plain(value: Any, style: str = "") -> Text:
    """Return foreign text as a styled piece of one line."""
    return Text(one_line(value), style=style)


def ascii_json(line: str) -> str:
    """Return a JSON text with everything outside printable ASCII escaped; its meaning and spelling stay the same.

    Outside of strings JSON is ASCII, so an escape is valid wherever such a character can stand.
    """
    units = (character if " " <= character <= "~" else _escape(character) for character in line)
    return "".join(units)


def _escape(character: str) -> str:
    encoded = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{encoded[at] << 8 | encoded[at + 1]:04x}" for at in range(0, len(encoded), 2))


def command_name() -> str:
    """Return how the user calls this program: by name when the shell finds it, else by its path."""
    if shutil.which("posthorn"):
        return "posthorn"
    program = Path(sys.argv[0])
    if program.name != "posthorn":
        return "posthorn"
    program = program.absolute()
    below_here = program.is_relative_to(Path.cwd())
    return show_controls(str(program.relative_to(Path.cwd()) if below_here else program))
