"""Three PostgreSQL servers, of which a commit waits for two: what is answered outlives any one of them."""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

from posthorn.testing.ports import LOOPBACK
from posthorn.testing.postgres import PostgresServer
from posthorn.testing.postgres_programs import PostgresFailed

NAMES = ("one", "two", "three")
# All three are named on each: a server is never its own standby, so this stays right whoever is promoted.
_SYNCHRONOUS = {"synchronous_standby_names": f"ANY 1 ({', '.join(NAMES)})"}
_NOTHING: Mapping[str, str] = MappingProxyType({})
_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.02


class ReplicatedPostgres:
    """A primary and its two standbys, each in a folder of its own. Made by `create`; `close` ends all."""

    def __init__(self, primary: PostgresServer) -> None:
        self.servers = [primary]
        self.primary = primary

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        version: int = 18,
        settings: Mapping[str, str] = _NOTHING,
        durable: bool = True,
        reach: Mapping[str, str] = _NOTHING,
    ) -> "ReplicatedPostgres":
        """Make and start all three; returns once both standbys stream. Arguments as in PostgresServer.create."""
        primary = PostgresServer.create(
            folder / NAMES[0], version=version, settings={**_SYNCHRONOUS, **settings}, durable=durable, reach=reach
        )
        group = cls(primary)
        try:
            primary.start()
            for name in NAMES[1:]:
                standby = primary.base_backup(folder / name)
                group.servers.append(standby)
                standby.start()
            group.wait_until_streaming(len(NAMES) - 1)
        except BaseException:
            group.close()
            raise
        return group

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def standbys(self) -> list[PostgresServer]:
        """The servers that run and are not the primary."""
        return [server for server in self.servers if server.is_running() and server is not self.primary]

    def dsn(self, database: str = "postgres", *, host: str = LOOPBACK) -> str:
        """Return an address that names all three; a client that knows of it finds the one that takes writes."""
        hosts = ",".join(f"{host}:{server.port}" for server in self.servers)
        return f"postgresql://postgres@{hosts}/{database}?target_session_attrs=read-write"

    def create_database(self, name: str) -> str:
        """Make a database on the primary and return its address."""
        self.primary.create_database(name)
        return self.dsn(name)

    def kill_primary(self) -> PostgresServer:
        """End the primary as a power cut would and return it."""
        self.primary.kill()
        return self.primary

    def promote_standby(self) -> PostgresServer:
        """Make the standby with the most WAL the primary once the old one is gone, and let the others follow it."""
        if self.primary.is_running():
            raise PostgresFailed("the primary runs: two would take writes")
        standbys = self.standbys
        if not standbys:
            raise PostgresFailed("no standby is left to promote")
        # What the old primary had sent is still being received: the positions are compared when they are final.
        _wait(lambda: not any(standby.is_receiving() for standby in standbys), "standbys still receive")
        chosen = max(standbys, key=PostgresServer.wal_position)
        chosen.promote()
        self.primary = chosen
        for standby in self.standbys:
            standby.follow(chosen)
        self.wait_until_streaming(len(self.standbys))
        return chosen

    def rebuild(self, server: PostgresServer) -> None:
        """Make a server that is down a standby of the present primary by a base backup; returns when it streams."""
        server.copy_from(self.primary)
        server.start()
        self.wait_until_streaming(len(self.standbys))

    def wait_until_streaming(self, count: int) -> None:
        """Return once so many standbys stream. Raises PostgresFailed when that takes a minute."""
        _wait(lambda: len(self.primary.standbys()) >= count, f"fewer than {count} standbys stream")

    def close(self) -> None:
        """End all three at once."""
        for server in self.servers:
            with contextlib.suppress(PostgresFailed):
                server.kill()


def _wait(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise PostgresFailed(otherwise)
        time.sleep(_LOOK_SECONDS)
