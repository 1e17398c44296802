"""Sends POSTs at a constant rate, open loop: a late answer never slows the next request down.

Each payload carries the instant at which its request was due, so a queue that builds up shows in the latency.
`rate` 0 sends as fast as the connections answer (closed loop), to find the maximum.
"""

import asyncio
import json
import sys
import time
from array import array
from collections import deque

import uvloop

from bench.wire import payload

_TICK_SECONDS = 0.001


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self, load):
        self.load = load
        self.rest = b""
        self.due_us = 0
        self.need = 0

    def connection_made(self, transport):
        self.transport = transport
        self.load.idle.append(self)

    def connection_lost(self, exc):
        self.load.lost += 1

    def send(self, request, due_us):
        self.due_us = due_us
        self.transport.write(request)

    def data_received(self, data):
        if self.rest:
            data = self.rest + data
        head_end = data.find(b"\r\n\r\n")
        if head_end < 0:
            self.rest = data
            return
        if data[:13] == b"HTTP/1.1 200 " or data[9:12] in (b"200", b"202"):
            ok = True
        else:
            ok = False
        length_at = data.find(b"content-length: ")
        if length_at < 0:
            length_at = data.find(b"Content-Length: ")
        length = int(data[length_at + 16 : data.find(b"\r\n", length_at)]) if length_at >= 0 else 0
        if len(data) < head_end + 4 + length:
            self.rest = data
            return
        self.rest = b""
        self.load.answered(self, ok, data)


class Load:
    def __init__(self, plan):
        self.plan = plan
        self.idle = deque()
        self.waiting = deque()
        self.latencies = array("I")
        self.accepted = 0
        self.refused = 0
        self.lost = 0
        self.sent = 0
        self.sample = ""
        self.paths = [path.encode() for path in plan["paths"]]
        size = plan["size"] + plan["envelope"]
        self.heads = [
            b"POST "
            + path
            + b" HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer "
            + plan["key"].encode()
            + b"\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % size
            for path in self.paths
        ]
        people = plan.get("people")
        before = plan["before"].encode()
        self.befores = [before % person for person in range(people)] if people else [before]
        self.after = plan["after"].encode()

    def request(self, number, due_ns):
        body = self.befores[number % len(self.befores)] + payload(number, due_ns, self.plan["size"]) + self.after
        return self.heads[number % len(self.heads)] + body

    def answered(self, connection, ok, data):
        now_us = time.monotonic_ns() // 1000
        self.latencies.append(min(now_us - connection.due_us, 0xFFFFFFFF))
        if ok:
            self.accepted += 1
        else:
            self.refused += 1
            self.sample = self.sample or data[:300].decode("latin-1")
        if self.waiting:
            number, due_ns = self.waiting.popleft()
            connection.send(self.request(number, due_ns), due_ns // 1000)
        elif self.plan["rate"] == 0 and not self.over:
            self.next(connection)
        else:
            self.idle.append(connection)

    def next(self, connection):
        due_ns = time.monotonic_ns()
        connection.send(self.request(self.sent, due_ns), due_ns // 1000)
        self.sent += 1

    over = False

    async def run(self):
        loop = asyncio.get_running_loop()
        ports = self.plan["ports"]
        for number in range(self.plan["connections"]):
            port = ports[number % len(ports)]  # every server gets as many connections as the others
            await loop.create_connection(lambda: Connection(self), self.plan["host"], port)
        began = time.monotonic_ns()
        cpu = time.process_time()
        end = began + int(self.plan["seconds"] * 1e9)
        if self.plan["rate"] == 0:
            while self.idle:
                self.next(self.idle.popleft())
            await asyncio.sleep(self.plan["seconds"])
        else:
            await self._paced(began, end)
        self.over = True
        sent_for = (time.monotonic_ns() - began) / 1e9
        patience = time.monotonic() + 60
        while self.accepted + self.refused < self.sent and time.monotonic() < patience:
            await asyncio.sleep(0.01)
        return {
            "sent": self.sent, "accepted": self.accepted, "refused": self.refused, "lost_connections": self.lost,
            "sample_refusal": self.sample, "began_us": began // 1000, "seconds": sent_for,
            "publish_us": percentiles(self.latencies), "cpu_seconds": time.process_time() - cpu,
        }  # fmt: skip

    async def _paced(self, began, end):
        gap = 1e9 / self.plan["rate"]
        while (now := time.monotonic_ns()) < end:
            while (due := began + int(self.sent * gap)) <= now:
                number = self.sent
                self.sent += 1
                if self.idle:
                    self.idle.popleft().send(self.request(number, due), due // 1000)
                else:
                    self.waiting.append((number, due))
            await asyncio.sleep(_TICK_SECONDS)


def percentiles(values):
    ordered = sorted(values)
    if not ordered:
        return {}
    pick = lambda q: ordered[min(len(ordered) - 1, int(len(ordered) * q))]  # noqa: E731
    return {"p50": pick(0.50), "p95": pick(0.95), "p99": pick(0.99), "max": ordered[-1]}


if __name__ == "__main__":
    plan = json.load(sys.stdin)
    json.dump(uvloop.run(Load(plan).run()), sys.stdout)
