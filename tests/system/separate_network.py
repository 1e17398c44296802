"""A network of its own for one node: one link for clients and receivers, another to PostgreSQL, which can be cut."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

NEEDS = "needs root and the program ip (Debian's iproute2)"


def can_separate() -> bool:
    return os.geteuid() == 0 and shutil.which("ip") is not None


@dataclass(frozen=True, kw_only=True)
class SeparateNetwork:
    """Addresses are of the two ends of each link; ours comes first."""

    name: str
    database_link: str
    clients: tuple[str, str]
    database: tuple[str, str]

    @property
    def enter(self) -> tuple[str, ...]:
        """What to put before a command that is to run in it."""
        return ("ip", "netns", "exec", self.name)

    @property
    def reach(self) -> dict[str, str]:
        """What PostgreSQL listens on for it, and whom it trusts there."""
        return {self.database[0]: f"{self.database[1]}/32"}

    def cut(self) -> None:
        """Let every packet between the node and PostgreSQL vanish; neither side is told."""
        _ip("link", "set", self.database_link, "down")

    def mend(self) -> None:
        _ip("link", "set", self.database_link, "up")


@contextmanager
def separate_network() -> Iterator[SeparateNetwork]:
    number = os.getpid() % 250 + 1
    name = f"posthorn{os.getpid()}"
    clients, database = f"phc{os.getpid()}", f"phd{os.getpid()}"
    network = SeparateNetwork(
        name=name,
        database_link=database,
        clients=(f"10.211.{number}.1", f"10.211.{number}.2"),
        database=(f"10.212.{number}.1", f"10.212.{number}.2"),
    )
    _ip("netns", "add", name)
    try:
        _ip("-n", name, "link", "set", "lo", "up")
        _link(name, clients, network.clients)
        _link(name, database, network.database)
        yield network
    finally:
        for link in (clients, database):
            subprocess.run(["ip", "link", "delete", link], check=False, capture_output=True)
        _ip("netns", "delete", name)


def _link(name: str, ours: str, addresses: tuple[str, str]) -> None:
    theirs = f"{ours}n"
    _ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
    _ip("address", "add", f"{addresses[0]}/30", "dev", ours)
    _ip("link", "set", ours, "up")
    _ip("-n", name, "address", "add", f"{addresses[1]}/30", "dev", theirs)
    _ip("-n", name, "link", "set", theirs, "up")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
