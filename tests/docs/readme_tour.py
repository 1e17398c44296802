"""The README's tour as data, and the programs that its blocks run in: a server, a shell, a tail."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(sh|text) (\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block. `role` says who runs it; a `text` block shows what the block before it prints."""

    language: str
    role: str
    text: str


def blocks() -> list[Block]:
    """Read the blocks of the tour, in order."""
    found = _BLOCK.findall((ROOT / "README.md").read_text())
    return [Block(language=language, role=role, text=text) for language, role, text in found]


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def missing(shown: str, output: str) -> list[str]:
    """Return the lines of a `text` block that an output lacks; `…` stands for anything within a line."""
    lines = [line for line in shown.splitlines() if line.strip()]
    return [line for line in lines if not re.search(".*".join(map(re.escape, line.split("…"))), output)]


def eventually(holds: Callable[[], bool], what: Callable[[], str], *, again: Callable[[], None] | None = None) -> None:
    """Wait until something holds, looking again each time when there is something to run again."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(_LOOK_SECONDS)
        if again is not None:
            again()


class Program:
    """A process group in the tour's folder, with everything that it prints in one file."""

    def __init__(self, command: list[str], folder: Path, name: str, environ: Mapping[str, str]) -> None:
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=_plain_environ() | dict(environ),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def type(self, text: str) -> None:
        """Write to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.flush()

    def interrupt(self) -> int:
        """Press Ctrl-C and wait for the end; return the exit code."""
        if not self.has_ended:
            os.killpg(self._process.pid, signal.SIGINT)
        return self._process.wait(_PATIENCE_SECONDS)

    def kill(self) -> None:
        """Leave nothing behind, whatever state it is in."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


class Shell(Program):
    """A shell that the tour is pasted into. It ends at the first command that fails."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        super().__init__(["bash"], folder, "shell", environ)
        self._pasted = 0
        self._began = 0
        self.type("set -euo pipefail\n")

    @property
    def latest(self) -> str:
        """What was printed since the latest block began."""
        return self.output[self._began :]

    def paste(self, text: str) -> None:
        """Run a block to its end."""
        self._pasted += 1
        self._began = len(self.output)
        mark = f"block {self._pasted} is done"
        self.type(f"{text}\necho '{mark}'\n")
        eventually(lambda: mark in self.output or self.has_ended, lambda: f"this hangs:\n{text}\n{self.latest}")
        assert mark in self.output, f"this failed:\n{text}\n{self.latest}"


def prepare(folder: Path) -> None:
    """Make a folder look like a clone in which everything is installed."""
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "Makefile").symlink_to(ROOT / "Makefile")


def _plain_environ() -> dict[str, str]:
    # What runs the tests (make, CI) leaves variables that would change what the tour's own make and server do.
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {"LC_ALL": "C.UTF-8"}
