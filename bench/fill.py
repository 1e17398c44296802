"""Filling a store before a measurement: journal rows and pending retries, written straight into the file."""

import asyncio
import sqlite3
import sys
import time
from pathlib import Path

from posthorn.clock import SystemClock
from posthorn.engine.shards import shard_of
from posthorn.storage.sqlite.connection import DATABASE
from posthorn.storage.sqlite.store import SqliteStore

_BATCH = 100_000
_DAY_MS = 24 * 3600 * 1000


async def _create(data: Path) -> None:
    store = await SqliteStore.open(data, SystemClock())
    await store.close()


def fill(data: Path, *, journal_rows: int, pending: int, pending_endpoint: str) -> None:
    """Write half of `journal_rows` as events and half as attempts, and `pending` deliveries due tomorrow."""
    data.mkdir(parents=True, exist_ok=True)
    if not (data / DATABASE).exists():
        asyncio.run(_create(data))
    connection = sqlite3.connect(data / DATABASE, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA cache_size = -400000")
    now = int(time.time() * 1000)
    began = now - 2 * _DAY_MS
    events = max(journal_rows // 2, pending)
    for start in range(0, events, _BATCH):
        count = min(_BATCH, events - start)
        _events(connection, start, count, began, events)
        if start < journal_rows // 2:
            _attempts(connection, start, count, began, events)
        print(f"\rfilled {start + count:,} of {events:,} events", end="", file=sys.stderr)
    for start in range(0, pending, _BATCH):
        _pending(connection, start, min(_BATCH, pending - start), now + _DAY_MS, pending_endpoint)
    print(file=sys.stderr)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()


_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT :start UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :start + :count)"


def _events(connection, start, count, began, total):
    step = max(1, 2 * _DAY_MS // (total + 1))
    connection.execute(
        f"""{_NUMBERS} INSERT INTO event (seq, id, workspace, type, occurred_ms, received_ms, application, channels,
            payload)
        SELECT ((:began + i * :step) << 20) + 1, printf('msg_0fill%022d', i), 'ws_fill', 'fill.type',
            :began + i * :step, :began + i * :step, 'app_fill' || (i % 100), '', zeroblob(350) FROM n""",
        {"start": start, "count": count, "began": began, "step": step},
    )


def _attempts(connection, start, count, began, total):
    step = max(1, 2 * _DAY_MS // (total + 1))
    connection.execute(
        f"""{_NUMBERS} INSERT INTO attempt (seq, id, workspace, application, delivery, event, endpoint, number, trigger,
            state, started_ms, method, url, request_headers, response_status, response_headers, dns_us, connect_us,
            tls_us, wait_us, total_us, response_body)
        SELECT ((:began + i * :step) << 20) + 2, printf('atmpt_0fill%022d', i), 'ws_fill', 'app_fill' || (i % 100),
            printf('dlv_0fill%022d', i), printf('msg_0fill%022d', i), 'ep_fill' || (i % 1000), 1, 'scheduled',
            'delivered', :began + i * :step, 'POST', 'http://example.org/', zeroblob(420), 200, zeroblob(60), 0, 0, 0,
            900, 1000, zeroblob(2) FROM n""",
        {"start": start, "count": count, "began": began, "step": step},
    )


def _pending(connection, start, count, due, endpoint):
    connection.execute(
        f"""{_NUMBERS} INSERT INTO delivery (shard, endpoint, due_ms, id, event, attempts, step, trigger)
        SELECT :shard, :endpoint, :due + i, printf('dlv_0pend%022d', i), printf('msg_0fill%022d', i), 1, 1, 'scheduled'
        FROM n""",
        {"start": start, "count": count, "due": due, "endpoint": endpoint, "shard": shard_of(endpoint)},
    )
