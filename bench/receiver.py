"""A receiver that does as little as it can: count, clock, answer 200. One process, one port.

Paths that begin with /hang are accepted and never answered, /fail is answered 500. On SIGTERM it writes what it saw.
"""

import asyncio
import signal
import sys
import time
from array import array

import uvloop

from bench.wire import RECORD

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
FAIL = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\nno"
_BODY = b'{"n":"'


class Receiver(asyncio.Protocol):
    """Reads requests that each carry one payload of `bench.wire`."""

    numbers = array("I")
    times = array("Q")
    latencies = array("I")

    def connection_made(self, transport):
        self.transport = transport
        self.rest = b""

    def data_received(self, data):
        if self.rest:
            data = self.rest + data
        at, end = 0, len(data)
        out = []
        while at < end:
            head_end = data.find(b"\r\n\r\n", at)
            if head_end < 0:
                break
            length_at = data.find(b"ontent-", at, head_end)
            while length_at >= 0 and data[length_at + 7 : length_at + 13].lower() != b"length":
                length_at = data.find(b"ontent-", length_at + 7, head_end)
            length = 0
            if length_at >= 0:
                length = int(data[length_at + 14 : data.find(b"\r\n", length_at)])
            body_at = head_end + 4
            if body_at + length > end:
                break
            path = data[at : at + 16]
            if path.startswith(b"POST /hang"):
                at = body_at + length
                continue
            if length and data[body_at : body_at + 6] == _BODY:
                now_us = time.monotonic_ns() // 1000
                self.numbers.append(int(data[body_at + 6 : body_at + 16]))
                self.times.append(now_us)
                late = now_us - int(data[body_at + 23 : body_at + 39])
                self.latencies.append(max(0, min(late, 0xFFFFFFFF)))
            out.append(FAIL if path.startswith(b"POST /fail") else OK)
            at = body_at + length
        self.rest = data[at:] if at < end else b""
        if out:
            self.transport.write(b"".join(out))


async def main(port: int, result: str) -> None:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, done.set)
    server = await loop.create_server(Receiver, "127.0.0.1", port, backlog=8192)
    print("ready", flush=True)
    while not done.is_set():
        try:
            await asyncio.wait_for(done.wait(), 0.25)
        except TimeoutError:
            print(len(Receiver.numbers), flush=True)
    with open(result, "wb") as out:
        out.writelines(
            RECORD.pack(*row) for row in zip(Receiver.numbers, Receiver.times, Receiver.latencies, strict=True)
        )
    server.close()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
