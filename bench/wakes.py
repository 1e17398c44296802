"""Runs that wait: a million of them, a thousand waking each second. `python -m bench.wakes [--database embedded|URL]`.

Each run waits in a step and then posts to the receiver with the instant it was to wake at, so what arrives tells how
late it was. The rest of the runs wait for a year: they may cost room on the disk, and nothing else.
"""

import argparse
import asyncio
import json
import sqlite3
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import asyncpg

from bench.servers import Cluster
from bench.stores import PostgresStores, SqliteStores
from posthorn import ids
from posthorn.decide.case import Happening
from posthorn.decide.footprints import Track, Waiting, Waits, document_of
from posthorn.engine.profiles import user_profile
from posthorn.engine.shards import shard_of
from posthorn.storage.sqlite.connection import DATABASE

YEAR_MS = 365 * 24 * 3_600_000
_LEAD_SECONDS = 12
_BATCH = 20_000
_RUN = "id, workspace, automation, version, profile, key, state, entered_ms, changed_ms, wake_ms, document"
_TIMER = "due_ms, id, shard, profile, kind, about, data"


class Late:
    """Collects by how many ms each request came after the instant in its path."""

    def __init__(self) -> None:
        self.ms: list[int] = []
        late = self.ms

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                late.append(time.time_ns() // 1_000_000 - int(self.path.rpartition("/")[2]))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"


def rows(workspace: str, automation: str, *, waiting: int, waking: int, rate: int, start_ms: int):
    """Make the rows of runs and their timers: first those that wake, `rate` a second, then those that do not."""
    for number in range(waiting + waking):
        due_ms = start_ms + number * 1000 // rate if number < waking else start_ms + YEAR_MS
        user = f"u{number}"
        profile, run = user_profile(workspace, user), ids.new_id(ids.RUN, start_ms)
        happening = Happening(
            id="evt_bench",
            type="bench",
            at_ms=0,
            received_ms=0,
            facts={"event": {"id": "evt_bench"}, "user": {"id": user}},
        )
        waits = Waits(kind=Waiting.TIME, step="wait", timer=f"{run}/1")
        document = document_of(Track(happening=happening, trigger="bench", waits=waits, turns=1))
        yield (
            (run, workspace, automation, 1, profile, str(due_ms), "active", 0, 0, due_ms, document),
            (due_ms, f"{run}/1", shard_of(profile), profile, "run", run, b""),
        )


def fill_sqlite(path: str, made) -> None:
    connection = sqlite3.connect(path)
    run = f"INSERT INTO run ({_RUN}) VALUES ({', '.join('?' * 11)})"
    timer = f"INSERT INTO timer ({_TIMER}) VALUES ({', '.join('?' * 7)})"
    batch = []
    for pair in made:
        batch.append(pair)
        if len(batch) == _BATCH:
            connection.executemany(run, [one for one, _ in batch])
            connection.executemany(timer, [one for _, one in batch])
            connection.commit()
            batch.clear()
    connection.executemany(run, [one for one, _ in batch])
    connection.executemany(timer, [one for _, one in batch])
    connection.commit()
    connection.close()


async def fill_postgres(url: str, made) -> None:
    connection = await asyncpg.connect(url)
    batch = []

    async def flush() -> None:
        names = ("run", _RUN), ("timer", _TIMER)
        for number, (table, columns) in enumerate(names):
            records = [pair[number] for pair in batch]
            await connection.copy_records_to_table(table, records=records, columns=columns.split(", "))
        batch.clear()

    for pair in made:
        batch.append(pair)
        if len(batch) == _BATCH:
            await flush()
    await flush()
    await connection.execute("ANALYZE run, timer")
    await connection.close()


def measure(stores, *, waiting: int, rate: int, seconds: int) -> dict:
    late = Late()
    with (
        stores.fresh() as database,
        Cluster(database=database.url if database else None, nodes=1, workers=1) as cluster,
    ):
        steps = [
            {"type": "wait", "name": "wait", "seconds": 3600},
            {"type": "send", "name": "send", "send": {"url": late.url + "/{{ run.key }}"}},
        ]
        flow = {"triggers": [{"type": "event", "eventType": "bench"}], "steps": steps}
        automation = cluster.post("/api/v1/automation", {"name": "wakes", "flow": flow})["id"]
        workspace = _workspace(cluster, database)
        cluster.stop()
        fill_seconds = max(_LEAD_SECONDS, (waiting + rate * seconds) // 10_000 + _LEAD_SECONDS)
        start_ms = int((time.time() + fill_seconds) * 1000)
        made = rows(workspace, automation, waiting=waiting, waking=rate * seconds, rate=rate, start_ms=start_ms)
        if database is None:
            fill_sqlite(str(cluster.folders[0] / DATABASE), made)
        else:
            asyncio.run(fill_postgres(database.url, made))
        cluster.start()
        ready_late_ms = int(time.time() * 1000) - start_ms
        rss = cluster.rss_bytes()
        deadline = start_ms / 1000 + seconds + 60
        while len(late.ms) < rate * seconds and time.time() < deadline:
            time.sleep(0.5)
        most_rss = cluster.rss_bytes()
        if not late.ms:
            raise SystemExit(f"nothing woke: {(cluster.folders[0] / 'bench.log').read_text()[-3000:]}")
    found = sorted(late.ms)
    return {
        "waiting": waiting, "rate": rate, "asked": rate * seconds, "woke": len(found),
        "late_ms": {f"p{p}": found[min(len(found) - 1, len(found) * p // 100)] for p in (50, 95, 99)} | {"max": found[-1]},
        "server_was_ready_ms_after_the_first": max(0, ready_late_ms),
        "rss_mb_at_start": rss / 1e6, "rss_mb_at_end": most_rss / 1e6,
    }  # fmt: skip


def _workspace(cluster: Cluster, database) -> str:
    """Find the workspace's id where it is stored."""
    if database is None:
        connection = sqlite3.connect(cluster.folders[0] / DATABASE)
        [(found,)] = connection.execute("SELECT id FROM workspace")
        connection.close()
        return found

    async def ask() -> str:
        connection = await asyncpg.connect(database.url)
        try:
            return await connection.fetchval("SELECT id FROM workspace")
        finally:
            await connection.close()

    return asyncio.run(ask())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database")
    parser.add_argument("--waiting", type=int, default=1_000_000)
    parser.add_argument("--rate", type=int, default=1_000)
    parser.add_argument("--seconds", type=int, default=60)
    arguments = parser.parse_args()
    stores = PostgresStores(arguments.database) if arguments.database else SqliteStores()
    try:
        result = measure(stores, waiting=arguments.waiting, rate=arguments.rate, seconds=arguments.seconds)
    finally:
        stores.close()
    print(json.dumps({"store": stores.label if hasattr(stores, "label") else "PostgreSQL", **result}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
