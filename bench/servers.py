"""The servers under measurement: real `posthorn serve` processes, one or several on one database."""

import base64
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
from pathlib import Path

import psutil

from bench.processes import Family
from posthorn.testing.ports import free_port

KEY = "bench-key-0123456789abcdef"
MASTER_KEY = base64.b64encode(b"bench" * 6 + b"ok").decode()
_BALANCE_SECONDS = 45
_SOCKETS_PER_WORKER = 12


class Node:
    """One `posthorn serve` on a data folder of its own."""

    def __init__(self, data: Path, *, database: str | None, workers: int) -> None:
        self.data = data
        self.workers = workers
        self.port, self.inbox_port = free_port(), free_port()
        self._log = open(self.data / "bench.log", "ab")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("POSTHORN_")}
        environment |= {"POSTHORN_API_KEY": KEY, "POSTHORN_MASTER_KEY": MASTER_KEY}
        if database is not None:
            environment["POSTHORN_DATABASE"] = database
        flags = ["--workers", str(workers)] if workers > 1 else []
        began = time.monotonic()
        self._process = subprocess.Popen(
            [
                sys.executable, "-m", "posthorn.cli", "serve", "--data", str(self.data), "--port", str(self.port),
                "--inbox-port", str(self.inbox_port), "--allow-target", "127.0.0.0/8", "--log-level", "warning", *flags,
            ],
            env=environment, stdout=self._log, stderr=self._log,
        )  # fmt: skip
        try:
            self._wait_ready()
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.monotonic() - began
        self.family = Family(self._process.pid)

    def _wait_ready(self) -> None:
        for _ in range(600):
            with contextlib.suppress(OSError):
                if self.get("/health")[0] == 200:
                    return
            if self._process.poll() is not None:
                raise SystemExit(f"the server ended: {(self.data / 'bench.log').read_text()[-2000:]}")
            time.sleep(0.05)
        raise SystemExit(f"the server did not become ready: {(self.data / 'bench.log').read_text()[-2000:]}")

    def get(self, path: str) -> tuple[int, bytes]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", headers={"authorization": f"Bearer {KEY}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()

    def post(self, path: str, body: dict) -> dict:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            json.dumps(body).encode(),
            {"authorization": f"Bearer {KEY}", "content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def store_counts(self) -> dict[str, float] | None:
        """Sum the store's figures over the processes of this node; None when one of them was not reached."""
        if self.workers == 1:
            return _store_figures(self.get("/metrics")[1])
        found: dict[int, dict[str, float]] = {}
        for _ in range(5):
            found |= self._counts_by_process()
            if len(found) >= self.workers:
                names = set().union(*found.values())
                return {name: sum(figures[name] for figures in found.values()) for name in names}
        return None

    def _counts_by_process(self) -> dict[int, dict[str, float]]:
        """Ask for metrics on many connections at once: the workers share a port, and each answers for itself."""
        request = b"GET /metrics HTTP/1.1\r\nhost: bench\r\n\r\n"
        sockets = [
            socket.create_connection(("127.0.0.1", self.port)) for _ in range(_SOCKETS_PER_WORKER * self.workers)
        ]
        try:
            for each in sockets:
                each.sendall(request)
            answers = {each.getsockname()[1]: _read_answer(each) for each in sockets}
            owners = {
                connection.raddr.port: child
                for child in self.family.workers()
                for connection in psutil.Process(child).net_connections("tcp4")
                if connection.raddr and connection.laddr.port == self.port
            }
        finally:
            for each in sockets:
                each.close()
        return {owners[port]: _store_figures(answer) for port, answer in answers.items() if port in owners}

    def end(self) -> None:
        """Ask the process to end."""
        self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End the process and wait for it, without patience when it does not listen."""
        self.end()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


class Cluster:
    """One or several nodes on one store, asked and measured as one."""

    def __init__(self, *, database: str | None, nodes: int, workers: int) -> None:
        self.database = database
        self.workers = workers
        self.folders = [
            Path(tempfile.mkdtemp(prefix="posthorn-bench-", dir=os.environ.get("BENCH_DIR"))) for _ in range(nodes)
        ]
        self.nodes: list[Node] = []

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.stop()
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)

    def start(self) -> None:
        """Start the nodes, the first alone: it makes the tables."""
        for folder in self.folders:
            self.nodes.append(Node(folder, database=self.database, workers=self.workers))
        if len(self.nodes) * self.workers > 1:
            self._wait_balanced()

    def stop(self) -> None:
        """End all nodes; their folders stay."""
        for node in self.nodes:
            node.end()
        for node in self.nodes:
            node.stop()
        self.nodes = []

    def _wait_balanced(self) -> None:
        """Wait until every process owns its share of the shards, or say that they did not come to it."""
        expected = len(self.nodes) * self.workers
        end = time.monotonic() + _BALANCE_SECONDS
        standings = []
        while time.monotonic() < end:
            standings = json.loads(self.nodes[0].get("/api/v1/node")[1])["data"]
            shares = [min(each["decidingShards"], each["deliveringShards"]) for each in standings]
            if len(shares) == expected and min(shares) >= 256 // expected * 0.75:
                return
            time.sleep(0.25)
        print(f"the shards are not spread evenly after {_BALANCE_SECONDS} s: {standings}", file=sys.stderr)

    def post(self, path: str, body: dict) -> dict:
        return self.nodes[0].post(path, body)

    def catch_up(self) -> None:
        """Let every process know what was configured: a read through the API follows the changes first."""
        for node in self.nodes:
            for _ in range(_SOCKETS_PER_WORKER if node.workers > 1 else 1):
                node.get("/api/v1/app?limit=1")

    @property
    def ports(self) -> list[int]:
        return [node.port for node in self.nodes]

    @property
    def inbox_ports(self) -> list[int]:
        return [node.inbox_port for node in self.nodes]

    @property
    def start_seconds(self) -> float:
        return self.nodes[0].start_seconds

    def cpu_seconds(self) -> float:
        return sum(node.family.cpu_seconds() for node in self.nodes)

    def rss_bytes(self) -> int:
        return sum(node.family.rss_bytes() for node in self.nodes)

    def store_counts(self) -> dict[str, float]:
        """Sum the store's figures over all nodes; empty when one process could not be asked."""
        counts = [node.store_counts() for node in self.nodes]
        if None in counts:
            return {}
        return {name: sum(each[name] for each in counts) for name in counts[0]}


def _store_figures(metrics: bytes) -> dict[str, float]:
    figures = {}
    for line in metrics.decode().splitlines():
        if line.startswith("posthorn_store_"):
            name, value = line.split()
            figures[name.removeprefix("posthorn_store_").removesuffix("_total")] = float(value)
    return figures


def _read_answer(connection: socket.socket) -> bytes:
    connection.settimeout(10)
    received = b""
    while b"\r\n\r\n" not in received:
        received += _some(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += _some(connection)
    return body


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise SystemExit("a server closed a connection instead of answering")
    return data
