"""The copy: table by table in the order of keys, each batch committed with its progress, and all of it verified."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Table

from posthorn.storage.copying.contents import COPIED, Row, key_of, name_of, without_nul
from posthorn.storage.copying.ends import CopyFailed, End
from posthorn.storage.copying.mark import COPYING
from posthorn.storage.copying.progress import Progress, begin_or_resume, encode, identify
from posthorn.storage.copying.tally import Tally

_CLUSTER = "cluster_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCopied:
    """One table after a copy that was verified."""

    table: str
    rows: int
    checksum: str  #: of both sides, see `tally`
    replaced: int  #: rows in which U+FFFD stands for U+0000


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A copy that was verified."""

    tables: tuple[TableCopied, ...]
    rows_now: int  #: rows that this run wrote; a resumed copy wrote others before
    seconds: float  #: how long this run wrote
    verify_seconds: float

    @property
    def rows_per_second(self) -> float:
        """How fast this run wrote."""
        return self.rows_now / max(self.seconds, 1e-9)


class Watcher(Protocol):
    """Is told how a copy goes on."""

    def began(self, *, rows_total: int, rows_before: int) -> None:
        """Say how much there is to copy, and how much of it an earlier run did."""
        ...

    def copied(self, table: str, rows: int) -> None:
        """Say that so many more rows are committed."""
        ...

    def verifying(self, *, rows_total: int) -> None:
        """Say that everything is written, and that this many rows are now read on both sides."""
        ...

    def verified(self, table: str, rows: int) -> None:
        """Say that so many more rows were read again."""
        ...


class Copier:
    """Copies one end into the other. Both are held by the caller, the target new or half copied from this source."""

    def __init__(self, source: End, target: End, watcher: Watcher) -> None:
        self._source = source
        self._target = target
        self._watcher = watcher

    async def run(self) -> Copied:
        """Copy what is missing, verify all of it, and free the target for use.

        Raises StartRefused when the target belongs to a copy of another source, CopyFailed when a database fails or
        the two sides differ in the end.
        """
        rows_total = {name_of(table): await self._source.count(table) for table in COPIED}
        progress = await self._begin(rows_total)
        rows_before, began = progress.rows, time.monotonic()
        self._watcher.began(rows_total=sum(rows_total.values()), rows_before=rows_before)
        for table in COPIED:
            progress = await self._copy(table, progress)
        written = time.monotonic()
        self._watcher.verifying(rows_total=progress.rows)
        tables = [await self._verify(table, progress) for table in COPIED]
        await self._source.must_be_alone()
        await self._target.finish(await self._source.last_change())
        return Copied(
            tables=tuple(tables),
            rows_now=progress.rows - rows_before,
            seconds=written - began,
            verify_seconds=time.monotonic() - written,
        )

    async def _begin(self, rows_total: dict[str, int]) -> Progress:
        last_numbers = [await self._source.last_seq(), await self._source.last_change()]
        source = identify(await self._source.meta(_CLUSTER), rows=rows_total, last_numbers=last_numbers)
        progress = begin_or_resume(await self._target.meta(COPYING), source)
        await self._target.remember(encode(progress))
        await self._target.prepare(await self._source.days())
        return progress

    async def _copy(self, table: Table, progress: Progress) -> Progress:
        so_far = progress.of(name_of(table))
        if so_far.is_done:
            return progress
        last_key, storable = key_of(table), self._storable(table)
        async with aclosing(_read_ahead(self._source.read(table, so_far.after))) as batches:
            async for rows in batches:
                kept = [storable(row) for row in rows]
                replaced = sum(new is not old for new, old in zip(kept, rows, strict=True))
                progress = progress.after_batch(
                    name_of(table), last=last_key(rows[-1]), rows=len(rows), replaced=replaced
                )
                await self._target.put(table, kept, encode(progress))
                self._watcher.copied(name_of(table), len(rows))
        progress = progress.after_table(name_of(table))
        await self._target.remember(encode(progress))
        return progress

    async def _verify(self, table: Table, progress: Progress) -> TableCopied:
        """Read both sides from end to end, whatever was read before: a row that was passed over shows too."""
        expected, found = await asyncio.gather(self._tally_source(table), self._tally_target(table))
        if expected != found:
            raise CopyFailed(
                f"the copy differs from its source in the table {name_of(table)}: {expected.rows} rows with checksum "
                f"{expected.checksum} there, {found.rows} with {found.checksum} here; do not use it: make the target "
                "new (an empty database or folder) and copy again"
            )
        return TableCopied(
            table=name_of(table),
            rows=found.rows,
            checksum=found.checksum,
            replaced=progress.of(name_of(table)).replaced,
        )

    async def _tally_source(self, table: Table) -> Tally:
        storable = self._storable(table)
        tally = Tally()
        async with aclosing(self._source.scan(table)) as batches:
            async for rows in batches:
                tally.add(map(storable, rows))
        return tally

    async def _tally_target(self, table: Table) -> Tally:
        tally = Tally()
        async with aclosing(self._target.scan(table)) as batches:
            async for rows in batches:
                tally.add(rows)
                self._watcher.verified(name_of(table), len(rows))
        return tally

    def _storable(self, table: Table) -> Callable[[Row], Row]:
        return _as_it_is if self._target.holds_nul else without_nul(table)


def _as_it_is(row: Row) -> Row:
    return row


async def _read_ahead(batches: AsyncGenerator[list[Row], None]) -> AsyncGenerator[list[Row], None]:
    """Read the next batch while the caller writes the present one."""
    async with aclosing(batches):
        upcoming = asyncio.ensure_future(anext(batches, None))
        try:
            while (rows := await upcoming) is not None:
                upcoming = asyncio.ensure_future(anext(batches, None))
                yield rows
        finally:
            upcoming.cancel()
            await asyncio.gather(upcoming, return_exceptions=True)
