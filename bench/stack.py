"""Starting and stopping what is measured: the real server process, the receiver, the generator."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from array import array
from pathlib import Path

import psutil

from bench.generator import percentiles
from bench.wire import RECORD

KEY = "bench-key-0123456789abcdef"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Receiver:
    """The receiving process."""

    def __init__(self) -> None:
        self.port = free_port()
        self._result = tempfile.mktemp()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.receiver", str(self.port), self._result], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout.readline().strip() == "ready"
        os.set_blocking(self._process.stdout.fileno(), False)
        self._seen = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def seen(self) -> int:
        with contextlib.suppress(TypeError, ValueError):
            lines = self._process.stdout.read() or ""
            if lines.strip():
                self._seen = int(lines.split()[-1])
        return self._seen

    def wait_until_quiet(self, expected: int, patience: float) -> None:
        """Wait until `expected` arrived, or nothing new came for 5 s, or patience ends."""
        end, last, changed = time.monotonic() + patience, -1, time.monotonic()
        while time.monotonic() < end:
            seen = self.seen
            if seen >= expected:
                return
            if seen != last:
                last, changed = seen, time.monotonic()
            elif time.monotonic() - changed > 5:
                return
            time.sleep(0.1)

    def stop(self) -> tuple[array, array, array]:
        """Return numbers, receive times (µs), latencies (µs)."""
        self._process.send_signal(signal.SIGTERM)
        while self._process.poll() is None:
            with contextlib.suppress(TypeError):
                self._process.stdout.read()
            time.sleep(0.02)
        numbers, times, latencies = array("I"), array("Q"), array("I")
        data = Path(self._result).read_bytes()
        for number, at, late in RECORD.iter_unpack(data):
            numbers.append(number)
            times.append(at)
            latencies.append(late)
        os.unlink(self._result)
        return numbers, times, latencies


class Server:
    """A real `posthorn serve` on a data folder of its own."""

    def __init__(self, data: Path | None = None) -> None:
        self.data = data or Path(tempfile.mkdtemp(prefix="posthorn-bench-", dir=os.environ.get("BENCH_DIR")))
        self.port, self.inbox_port = free_port(), free_port()
        self._log = open(self.data / "bench.log", "ab")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("POSTHORN_")}
        environment["POSTHORN_API_KEY"] = KEY
        began = time.monotonic()
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "posthorn.cli", "serve", "--data", str(self.data), "--port", str(self.port),
                "--inbox-port", str(self.inbox_port), "--allow-target", "127.0.0.0/8", "--log-level", "warning",
            ],
            env=environment, stdout=self._log, stderr=self._log,
        )  # fmt: skip
        self._wait_ready()
        self.start_seconds = time.monotonic() - began
        self._stats = psutil.Process(self._process.pid)

    def _wait_ready(self) -> None:
        for _ in range(600):
            with contextlib.suppress(OSError):
                if self.get("/health")[0] == 200:
                    return
            if self._process.poll() is not None:
                raise SystemExit(f"the server ended: {(self.data / 'bench.log').read_text()[-2000:]}")
            time.sleep(0.05)
        raise SystemExit("the server did not become ready")

    def get(self, path: str) -> tuple[int, bytes]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return answer.status, answer.read()

    def post(self, path: str, body: dict) -> dict:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(body).encode(),
            {"authorization": f"Bearer {KEY}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def cpu_seconds(self) -> float:
        times = self._stats.cpu_times()
        return times.user + times.system

    def rss_bytes(self) -> int:
        return self._stats.memory_info().rss

    def store_counts(self) -> dict[str, float]:
        counts = {}
        for line in self.get("/metrics")[1].decode().splitlines():
            if line.startswith("posthorn_store_"):
                name, value = line.split()
                counts[name.removeprefix("posthorn_store_").removesuffix("_total")] = float(value)
        return counts

    def stop(self, *, keep: bool = False) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
        self._log.close()
        if not keep:
            shutil.rmtree(self.data, ignore_errors=True)


def generate(plan: dict) -> dict:
    """Run a generator process to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.generator"], input=json.dumps(plan), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout)


def arrivals(
    numbers: array, times: array, latencies: array, *, began_us: int, copies: int, sent: int, hanging=(0, 1)
) -> dict:
    """Count what arrived: how fast, how late, lost, duplicated.

    `hanging` (a, b): of b addresses in turn the first a never answer; what was sent to them is not expected.
    """
    silent, addresses = hanging
    seen = bytearray(sent)
    for number in numbers:
        if seen[number] < 255:
            seen[number] += 1
    lost = sum(max(0, copies - count) for number, count in enumerate(seen) if number % addresses >= silent)
    duplicated = sum(max(0, count - copies) for count in seen)
    span = (max(times) - began_us) / 1e6 if times else 0
    return {
        "arrived": len(numbers),
        "lost": lost,
        "duplicated": duplicated,
        "span_seconds": span,
        "per_second": len(numbers) / span if span else 0,
        "end_to_end_us": percentiles(latencies),
    }
