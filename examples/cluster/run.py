"""A cluster on one machine: three PostgreSQL servers, three Posthorn nodes, a receiver. Ctrl-C ends all of it.

It plays what runs a cluster elsewhere: when the PostgreSQL primary dies it promotes a standby, as Patroni or a managed
service does, and it starts nodes that died again after half a minute, as systemd or Kubernetes does.
"""
# ruff: noqa: INP001, T201 - a script, and printing is its purpose.

import argparse
import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from posthorn.testing.ports import free_port
from posthorn.testing.postgres_group import ReplicatedPostgres
from posthorn.testing.postgres_programs import PostgresFailed
from posthorn.vault.loading import new_master_key

NODES = 3
HEALTHY_SECONDS = 60.0
AGAIN_SECONDS = 30.0
LOOK_SECONDS = 0.2


class Node:
    """One `posthorn serve` over the shared database, with a data folder of its own."""

    def __init__(self, number: int, folder: Path, ports: tuple[int, int], environ: dict[str, str]) -> None:
        self.number = number
        self.port, self.inbox_port = ports
        self.died_at: float | None = None
        self._folder = folder
        self._environ = environ
        self.process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [
            str(Path(sys.executable).with_name("posthorn")), "serve", "--data", str(self._folder),
            "--port", str(self.port), "--inbox-port", str(self.inbox_port), "--allow-target", "127.0.0.0/8",
        ]  # fmt: skip
        with self.log.open("ab") as log:
            return subprocess.Popen(command, env=os.environ | self._environ, stdout=log, stderr=log)  # noqa: S603 - ours

    @property
    def log(self) -> Path:
        """Where it writes what it has to say."""
        return self._folder.with_suffix(".log")

    def is_healthy(self) -> bool:
        """Whether it answers, with the database behind it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def wait_until_healthy(self) -> None:
        """Return once it is healthy. Raises SystemExit with its log when that does not come."""
        deadline = time.monotonic() + HEALTHY_SECONDS
        while not self.is_healthy():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"node {self.number} did not start:\n{self.log.read_text()}")
            time.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Say when it died, and start it again a while later."""
        if self.process.poll() is None:
            return
        if self.died_at is None:
            self.died_at = time.monotonic()
            say(f"node {self.number} is gone; the others take over its shards. It starts again in {AGAIN_SECONDS:g} s")
        elif time.monotonic() > self.died_at + AGAIN_SECONDS:
            self.died_at = None
            self.process = self._spawn()
            say(f"node {self.number} starts again, pid {self.process.pid}")

    def call(self, method: str, path: str, body: object, key: str) -> int:
        """Call the API and return the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        connection.request(method, f"/api/v1{path}", json.dumps(body), headers)
        status = connection.getresponse().status
        connection.close()
        return status


class Receiver(BaseHTTPRequestHandler):
    """Answers 200 to every webhook and prints its id."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Print and answer one webhook."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        say(f"received {self.headers.get('webhook-id')}: {body[:200].decode(errors='replace')}")
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server has
        """Keep quiet: do_POST has said it."""


def say(text: str) -> None:
    """Print a line at once, also into a pipe."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def start_nodes(nodes: list[Node], folder: Path, first_port: int, environ: dict[str, str]) -> None:
    """Start all nodes, adding each to the list at once, so that whatever happens they can be ended."""
    for number in range(1, NODES + 1):
        door = first_port + 10 * (number - 1)
        ports = (door, door + 1) if first_port else (free_port(), free_port())
        nodes.append(Node(number, folder / f"node{number}", ports, environ))
    for node in nodes:
        node.wait_until_healthy()


def start_receiver(node: Node, key: str) -> ThreadingHTTPServer:
    """Listen for webhooks, and make an application with an endpoint that sends them here."""
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    node.call("POST", "/app", {"name": "Demo", "uid": "demo"}, key)
    url = f"http://127.0.0.1:{receiver.server_address[1]}/"
    node.call("POST", "/app/demo/endpoint", {"url": url, "retryScheduleSeconds": [5, 5, 5, 5]}, key)
    return receiver


def describe(postgres: ReplicatedPostgres, nodes: list[Node], key: str) -> None:
    """Print where everything is and what to try."""
    for server in postgres.servers:
        role = "primary" if server is postgres.primary else "standby"
        print(f"PostgreSQL {server.name:6} 127.0.0.1:{server.port}  pid {server.pid}  {role}")
    for node in nodes:
        print(f"Node {node.number}  http://127.0.0.1:{node.port}  pid {node.process.pid}  log {node.log}")
    print(f"API key  {key}\n\nTry, in another terminal:")
    print(f"  export POSTHORN_API_KEY={key}")
    program = Path(sys.executable).with_name("posthorn")
    print(f"  {program} nodes --url http://127.0.0.1:{nodes[0].port}")
    print(
        f"  curl -H 'authorization: Bearer {key}' -H 'content-type: application/json' "
        f"""-d '{{"eventType": "order.paid", "payload": {{"n": 1}}}}' """
        f"http://127.0.0.1:{nodes[0].port}/api/v1/app/demo/msg"
    )
    print(f"  kill -9 {nodes[1].process.pid}   # node 2: `nodes` shows two, which hold all shards")
    print(f"  kill -9 {postgres.primary.pid}   # the primary: messages are answered 503 until a standby takes over")
    print("Ctrl-C ends everything.\n", flush=True)


def replace_primary(postgres: ReplicatedPostgres) -> None:
    """Promote a standby, and bring the dead server back as one."""
    dead = postgres.kill_primary()
    say(f"PostgreSQL {dead.name} is gone; a standby is promoted")
    began = time.monotonic()
    promoted = postgres.promote_standby()
    say(f"PostgreSQL {promoted.name} is the primary now, after {time.monotonic() - began:.1f} s; pid {promoted.pid}")
    postgres.rebuild(dead)
    say(f"PostgreSQL {dead.name} follows it as a standby again, pid {dead.pid}")


def watch(postgres: ReplicatedPostgres, nodes: list[Node]) -> None:
    """Mend what breaks, until Ctrl-C."""
    while True:
        if not postgres.primary.is_running():
            replace_primary(postgres)
        for node in nodes:
            node.look()
        time.sleep(LOOK_SECONDS)


def end(nodes: list[Node]) -> None:
    """End the nodes: each finishes what it is sending and gives up its shards."""
    say("ending")
    for node in nodes:
        node.process.terminate()
    for node in nodes:
        try:
            node.process.wait(30)
        except subprocess.TimeoutExpired:
            node.process.kill()
            node.process.wait()


def run(first_port: int) -> None:
    """Start everything, watch it, end it."""
    with (
        tempfile.TemporaryDirectory(prefix="posthorn-cluster-", ignore_cleanup_errors=True) as folder,
        ReplicatedPostgres.create(Path(folder) / "postgres") as postgres,
    ):
        say("three PostgreSQL servers run; starting three nodes")
        nodes: list[Node] = []
        try:
            run_nodes(postgres, nodes, Path(folder), first_port)
        finally:
            end(nodes)


def run_nodes(postgres: ReplicatedPostgres, nodes: list[Node], folder: Path, first_port: int) -> None:
    """Start the nodes over the database, and the receiver; then watch."""
    key = f"cluster-{secrets.token_urlsafe(18)}"
    database = postgres.create_database("posthorn")
    # Secrets travel by the environment: other users of a machine can read flags.
    environ = {"POSTHORN_DATABASE": database, "POSTHORN_MASTER_KEY": new_master_key(), "POSTHORN_API_KEY": key}
    start_nodes(nodes, folder, first_port, environ)
    with start_receiver(nodes[0], key):
        describe(postgres, nodes, key)
        watch(postgres, nodes)


def main() -> int:
    """Read the flags and run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8600, help="first of the nodes' ports; 0 takes free ones")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(parser.parse_args().port)
    except KeyboardInterrupt:
        return 0
    except PostgresFailed as failure:
        print(f"Error: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
