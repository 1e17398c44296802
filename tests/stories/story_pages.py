"""The tutorials as data: what they tell people to type, and what they say comes of it.

In the `sh` blocks of a page each `call` is a request to the API, and a `curl` to `$INBOX` one to a source. A `text`
block after one shows parts of its answer; `…` stands for anything within a line.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

GUIDES = Path(__file__).parents[2] / "docs" / "guides" / "automations"
_SECTION = re.compile(r"^## (.+?)$", re.MULTILINE)
_KEPT = re.compile(r"([A-Z]+)=\$\(")
_PICK = re.compile(r" \| pick (\w+)")
_BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Typed:
    """One request that a page tells people to make."""

    method: str
    path: str  #: without `$API`; `$INBOX` is the address of a source
    body: str | None
    kept_as: tuple[str, str] | None  #: the shell variable that keeps a field of the answer
    shown: tuple[str, ...] = ()  #: lines that the answer must have


class Page:
    """A tutorial."""

    def __init__(self, name: str) -> None:
        self.text = (GUIDES / f"{name}.md").read_text()
        parts = _SECTION.split(self.text)
        self._sections = dict(zip(parts[1::2], parts[2::2], strict=True))

    @property
    def sections(self) -> list[str]:
        return list(self._sections)

    def section(self, heading: str) -> list[Typed]:
        """Return the requests under a heading, in order."""
        typed: list[Typed] = []
        for language, text in _BLOCK.findall(self._sections[heading]):
            if language == "sh":
                typed += [_read(command) for command in commands_of(text)]
            else:
                last = typed.pop()
                lines = tuple(line.strip() for line in text.splitlines() if line.strip())
                typed.append(
                    Typed(method=last.method, path=last.path, body=last.body, kept_as=last.kept_as, shown=lines)
                )
        return typed


def commands_of(block: str) -> list[str]:
    """Split a block into commands: at line ends that are outside of quotes and of here-documents."""
    commands: list[str] = []
    pending: list[str] = []
    for line in block.splitlines():
        if not pending and (not line.strip() or line.startswith("#")):
            continue
        pending.append(line)
        text = "\n".join(pending)
        if _is_whole(text):
            commands.append(text)
            pending = []
    assert not pending, f"this command does not end:\n{block}"
    return commands


def _is_whole(text: str) -> bool:
    first, _, rest = text.partition("\n")
    if "<<'EOF'" in first:
        return rest.endswith("EOF\n)" if _KEPT.match(first) else "\nEOF")
    return not text.endswith("\\") and text.count("'") % 2 == 0


def _read(command: str) -> Typed:
    kept = _KEPT.match(command)
    field = None
    if kept is not None:
        command = command[kept.end() :].removesuffix("\n)").removesuffix(")")
        field = _PICK.search(command)
        assert field is not None
        command = _PICK.sub("", command, count=1)
    head, _, document = command.partition("\n")
    here = document.removesuffix("\nEOF") if "<<'EOF'" in head else None
    words = shlex.split(head.replace("<<'EOF'", "") if here is not None else command.replace("\\\n", " "))
    assert words[0] in {"call", "curl"}, f"what is this: {command}"
    method, path, body = None, "", None
    rest = iter(words[1:])
    for word in rest:
        if word == "-X":
            method = next(rest)
        elif word == "-d":
            body = next(rest)
        elif word == "-H":
            next(rest)
        elif word.startswith(("$API", "$INBOX")):
            path = word.removeprefix("$API")
    body = here if body == "@-" else body
    return Typed(
        method=method or ("POST" if body is not None else "GET"),
        path=path,
        body=body,
        kept_as=(kept[1], field[1]) if kept is not None and field is not None else None,
    )


def missing(shown: tuple[str, ...], answer: str) -> list[str]:
    """Return the lines that an answer lacks."""
    return [line for line in shown if re.search(".*".join(map(re.escape, line.split("…"))), answer) is None]
