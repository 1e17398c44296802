"""What stands around the measured servers: the receiver, the generator, and the count of what arrived."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from array import array
from pathlib import Path

from bench.generator import percentiles
from bench.wire import RECORD
from posthorn.testing.ports import free_port


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

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:  # something failed before it was stopped
            self._process.kill()
            self._process.wait()

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
    fifth = int(span * 1e6 / 5)
    return {
        "arrived": len(numbers),
        "lost": lost,
        "duplicated": duplicated,
        "span_seconds": span,
        "per_second": len(numbers) / span if span else 0,
        "first_fifth_per_second": sum(at < began_us + fifth for at in times) * 5 / span if span else 0,
        "last_fifth_per_second": sum(at >= began_us + 4 * fifth for at in times) * 5 / span if span else 0,
        "end_to_end_us": percentiles(latencies),
    }
