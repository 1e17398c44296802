"""Filling a PostgreSQL database before a measurement: a journal of 30 days and pending retries, straight into tables."""

import asyncio
import sys
import time

from bench.stores import connected
from posthorn.clock import DAY_MS
from posthorn.engine.shards import shard_of
from posthorn.ids import EPOCH_MS
from posthorn.storage.postgres.partitions import Days

_BATCH = 100_000
_JOURNAL_DAYS = 30  # as many as a server keeps by default
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# The first seven characters of an id that belongs to an instant, as in `posthorn.ids`: lookups by id go by its time.
_BLOCK = f"ceil((((at_ms - {EPOCH_MS}) / 1000 * 256 + at_ms % 1000 / 4)::float8) * {2**120 / 62**20!r})::bigint"
_HEAD = " || ".join(f"substr('{_ALPHABET}', (block / {62**place} % 62)::int + 1, 1)" for place in range(6, -1, -1))
# OFFSET 0 keeps the planner from computing each step once for every use.
_ROWS = f"""(SELECT i, at_ms, {_HEAD} AS head FROM
    (SELECT i, at_ms, {_BLOCK} AS block FROM
        (SELECT i, $3::bigint + i * $4::bigint AS at_ms FROM generate_series($1::bigint, $2::bigint) AS i) AS instants
    OFFSET 0) AS blocks
OFFSET 0) AS rows"""
_TAIL = "lpad(i::text, 20, '0')"

_EVENTS = f"""INSERT INTO event (seq, id, workspace, type, occurred_ms, received_ms, application, channels, payload)
SELECT (at_ms << 20) + 1, 'msg_' || head || {_TAIL}, 'ws_fill', 'fill.type', at_ms, at_ms, 'app_fill' || (i % 100), '',
    decode(repeat('78', 350), 'hex') FROM {_ROWS}"""
_ATTEMPTS = f"""INSERT INTO attempt (seq, id, workspace, application, delivery, event, endpoint, number, trigger, state,
    started_ms, method, url, request_headers, response_status, response_headers, dns_us, connect_us, tls_us, wait_us,
    total_us, response_body)
SELECT (at_ms << 20) + 2, 'atmpt_' || head || {_TAIL}, 'ws_fill', 'app_fill' || (i % 100), 'dlv_' || head || {_TAIL},
    'msg_' || head || {_TAIL}, 'ep_fill' || (i % 1000), 1, 'scheduled', 'delivered', at_ms, 'POST',
    'http://example.org/', decode(repeat('78', 420), 'hex'), 200, decode(repeat('78', 60), 'hex'), 0, 0, 0, 900, 1000,
    decode('6f6b', 'hex') FROM {_ROWS}"""
_PENDING = f"""INSERT INTO delivery (shard, endpoint, due_ms, id, event, attempts, step, trigger)
SELECT $5::smallint, $6::text, $7::bigint + i * $8::bigint / 1000, 'dlv_' || head || '1' || lpad(i::text, 19, '0'), 'msg_' || head || {_TAIL}, 1, 1,
    'scheduled' FROM {_ROWS}"""


def fill(url: str, *, journal_rows: int, pending: int, pending_endpoint: str) -> None:
    """Write half of `journal_rows` as events and half as attempts, and `pending` deliveries due in one to three days.

    The tables are there already. Afterwards statistics are fresh.
    """
    began = time.monotonic()
    asyncio.run(_fill(url, journal_rows // 2, pending, pending_endpoint))
    print(f"filled {journal_rows:,} rows and {pending:,} pending in {time.monotonic() - began:.0f} s", file=sys.stderr)


async def _fill(url: str, half: int, pending: int, endpoint: str) -> None:
    now_ms = int(time.time() * 1000)
    first_ms = (now_ms // DAY_MS - _JOURNAL_DAYS + 1) * DAY_MS
    await _make_partitions(url, first_ms, now_ms)
    events = max(half, pending)
    step = max(1, (now_ms - first_ms) // (events + 1))
    # Two connections: a machine has that many cores, and the two tables do not touch.
    await asyncio.gather(_insert(url, _EVENTS, events, first_ms, step), _insert(url, _ATTEMPTS, half, first_ms, step))
    apart_us = 2 * DAY_MS * 1000 // max(1, pending)
    await _insert(url, _PENDING, pending, first_ms, step, shard_of(endpoint), endpoint, now_ms + DAY_MS, apart_us)
    async with connected(url) as connection:
        await connection.execute("VACUUM (ANALYZE)")


async def _make_partitions(url: str, first_ms: int, last_ms: int) -> None:
    async with connected(url) as connection, connection.transaction():
        for at_ms in range(first_ms, last_ms + 1, DAY_MS):
            await Days().prepare(connection, at_ms)


async def _insert(url: str, statement: str, count: int, first_ms: int, step: int, *more: object) -> None:
    async with connected(url) as connection:
        await connection.execute("SET synchronous_commit = off")
        for start in range(0, count, _BATCH):
            await connection.execute(statement, start, min(start + _BATCH, count) - 1, first_ms, step, *more)
