"""Kept connections, newest first. Only those that wait are here."""

from posthorn.deliver.transport.connection import Connection


class IdlePool:
    """Idle connections by origin. The newest is used first, so that a burst's surplus ages out."""

    def __init__(self, *, idle_seconds: float, max_per_origin: int, max_total: int) -> None:
        self._idle_seconds = idle_seconds
        self._max_per_origin = max_per_origin
        self._max_total = max_total
        self._by_origin: dict[str, list[Connection]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def take(self, origin: str, now: float) -> Connection | None:
        """Take out the newest usable connection, closing those that are too old."""
        waiting = self._by_origin.get(origin)
        while waiting:
            connection = waiting.pop()
            self._count -= 1
            if self._is_fresh(connection, now) and connection.is_idle:
                return connection
            connection.close()
        return None

    def put(self, connection: Connection, now: float) -> None:
        """Keep a connection that has finished an exchange, or close it where there is no room for it."""
        connection.rest(now)
        waiting = self._by_origin.get(connection.origin)
        if waiting is None:
            waiting = self._by_origin[connection.origin] = []
        if len(waiting) >= self._max_per_origin or self._count >= self._max_total:
            connection.close()
            return
        waiting.append(connection)
        self._count += 1

    def discard(self, connection: Connection) -> None:
        """Forget a connection that was lost, if it is here."""
        waiting = self._by_origin.get(connection.origin)
        if waiting and connection in waiting:
            waiting.remove(connection)
            self._count -= 1

    def sweep(self, now: float) -> None:
        """Close the connections that have waited too long, and forget origins without any."""
        for origin, waiting in tuple(self._by_origin.items()):
            kept = [connection for connection in waiting if self._is_fresh(connection, now)]
            stale = [connection for connection in waiting if not self._is_fresh(connection, now)]
            self._count -= len(stale)
            if kept:
                self._by_origin[origin] = kept
            else:
                del self._by_origin[origin]
            for connection in stale:
                connection.close()

    def _is_fresh(self, connection: Connection, now: float) -> bool:
        return now - connection.idle_since < self._idle_seconds and now < connection.retire_at
