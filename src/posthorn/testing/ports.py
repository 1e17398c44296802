"""Ports for servers that tests and measurements start."""

import contextlib
import random
import socket

LOOPBACK = "127.0.0.1"
# Below the ports that Linux hands out to clients: one of them could sit on the port of a server that is down.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Find a port on loopback that nobody listens on and that no outgoing connection is given. Raises OSError."""
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((LOOPBACK, port))
                return port
    raise OSError(f"no free port between {_PORTS.start} and {_PORTS.stop}")
