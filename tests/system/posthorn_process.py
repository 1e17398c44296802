"""The real server as a child process: started, killed, restarted, and asked why when it does not start."""

import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

API_KEY = "system-test-key-0123456789"
LOOPBACK = ("--allow-target", "127.0.0.0/8")
_API = re.compile(r"^API +http://[\d.]+:(\d+)$", re.MULTILINE)
_INBOX = re.compile(r"^Inbox +http://[\d.]+:(\d+)/in/", re.MULTILINE)
_LOOK_SECONDS = 0.002
_START_SECONDS = 60.0
_STOP_SECONDS = 60.0


class Broken(AssertionError):
    """The server did not do what its tests build upon; carries what it wrote to standard error."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended."""

    code: int
    output: str
    errors: str


class Posthorn:
    """One data folder, and the process that serves it, if any, at an address of this machine."""

    def __init__(
        self,
        data: Path,
        flags: Sequence[str] = LOOPBACK,
        environ: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.data = data
        self.host = host
        self.flags = tuple(flags)
        self.environ = {"POSTHORN_API_KEY": API_KEY} | dict(environ or {})
        self.port = 0
        self.inbox_port = 0
        self._logs = data.with_name(f"{data.name}-logs")
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def errors(self) -> str:
        """What the latest start wrote to standard error."""
        return self._log("err").read_text(errors="replace") if self._log("err").exists() else ""

    @property
    def output(self) -> str:
        return self._log("out").read_text(errors="replace") if self._log("out").exists() else ""

    def spawn(self, *, preexec: Sequence[str] = ()) -> None:
        """Start the process without waiting for it, through a wrapper command when one is given."""
        self._logs.mkdir(parents=True, exist_ok=True)
        self._starts += 1
        ours = {name: value for name, value in os.environ.items() if not name.startswith("POSTHORN_")}
        command = [
            *preexec, str(Path(sys.executable).with_name("posthorn")), "serve",
            "--data", str(self.data), "--host", self.host, "--port", "0", "--inbox-port", "0", *self.flags,
        ]  # fmt: skip
        with self._log("out").open("wb") as out, self._log("err").open("wb") as err:
            self._process = subprocess.Popen(command, stdout=out, stderr=err, env=ours | self.environ)

    def start(self, *, preexec: Sequence[str] = ()) -> float:
        """Start and wait until it is healthy; return how many seconds that took."""
        began = time.monotonic()
        self.spawn(preexec=preexec)
        deadline = began + _START_SECONDS
        while not (_API.search(self.output) and _INBOX.search(self.output)):
            self._must_live(deadline)
        self.port = int(_found(_API, self.output))
        self.inbox_port = int(_found(_INBOX, self.output))
        while not self.is_healthy():
            self._must_live(deadline)
        return time.monotonic() - began

    def is_healthy(self) -> bool:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            if self.is_running:
                self._process.kill()
            self._process.wait()
            self._process = None

    def terminate(self) -> None:
        """Ask it to end, as an operator would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = _STOP_SECONDS) -> Ended:
        """Wait for the end."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        if self._process.returncode is None:
            raise Broken(f"still running after {seconds} s:\n{self.errors}")
        ended = Ended(code=self._process.returncode, output=self.output, errors=self.errors)
        self._process = None
        return ended

    def stop(self) -> Ended:
        self.terminate()
        return self.wait()

    def refuse(self) -> Ended:
        """Start and wait for the refusal that is expected."""
        self.spawn()
        return self.wait()

    def _log(self, kind: str) -> Path:
        return self._logs / f"{self._starts}.{kind}"

    def _must_live(self, deadline: float) -> None:
        if not self.is_running or time.monotonic() > deadline:
            raise Broken(f"Posthorn did not become ready:\n{self.output}\n{self.errors}")
        time.sleep(_LOOK_SECONDS)


Launch = Callable[..., Posthorn]


def inbox_path(url: str) -> str:
    """Return the path of an inbox address. The port changes with every start."""
    return urlsplit(url).path


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    assert match is not None
    return match.group(1)
