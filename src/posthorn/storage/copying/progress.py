"""How far a copy came, as the target keeps it. Pure."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from posthorn.errors import StartRefused
from posthorn.storage.copying.contents import Key

_GONE_WRONG = "make the target new (an empty database or folder) and copy again"


class Identity(Struct, frozen=True, kw_only=True):
    """Which store is copied, and in which state."""

    cluster: str | None  #: what the store calls its cluster, None when it was never started
    state: str  #: changes when rows are added or removed


class TableProgress(Struct, frozen=True, kw_only=True):
    """How far one table is."""

    after: tuple[int | str, ...] | None = None  #: the key of the last row that was committed
    rows: int = 0
    replaced: int = 0  #: rows in which U+FFFD stands for U+0000
    is_done: bool = False


class Progress(Struct, frozen=True, kw_only=True):
    """How far a copy is. Committed together with the rows that it counts."""

    source: Identity
    tables: dict[str, TableProgress] = {}

    def of(self, table: str) -> TableProgress:
        """Return how far one table is."""
        return self.tables.get(table, TableProgress())

    def after_batch(self, table: str, *, last: Key, rows: int, replaced: int) -> "Progress":
        """Count rows that were written, of which `last` is the last one's key in the source."""
        so_far = self.of(table)
        return self._with(
            table, replace(so_far, after=last, rows=so_far.rows + rows, replaced=so_far.replaced + replaced)
        )

    def after_table(self, table: str) -> "Progress":
        """Note that a table is complete."""
        return self._with(table, replace(self.of(table), is_done=True))

    @property
    def rows(self) -> int:
        """How many rows were copied."""
        return sum(table.rows for table in self.tables.values())

    def _with(self, table: str, progress: TableProgress) -> "Progress":
        return replace(self, tables=self.tables | {table: progress})


def identify(cluster: str | None, *, rows: Mapping[str, int], last_numbers: Sequence[int]) -> Identity:
    """Describe a source by its cluster and what it holds."""
    state = blake2b(msgspec.json.encode([sorted(rows.items()), last_numbers]), digest_size=16).hexdigest()
    return Identity(cluster=cluster, state=state)


def begin_or_resume(mark: str | None, source: Identity) -> Progress:
    """Return the progress that a target's mark tells of. Raises StartRefused when that was a copy of another source."""
    if mark is None:
        return Progress(source=source)
    try:
        progress = msgspec.json.decode(mark, type=Progress)
    except msgspec.DecodeError as error:
        raise StartRefused(f"the target was begun by another release of Posthorn ({error}); {_GONE_WRONG}") from None
    if progress.source.cluster != source.cluster:
        raise StartRefused(
            f"the target is a half-done copy of another source ({_name(progress.source)}, and this one is "
            f"{_name(source)}); name that source, or {_GONE_WRONG}"
        )
    if progress.source.state != source.state:
        raise StartRefused(
            "the source is not what it was when this copy began: it was used meanwhile, or is another one; "
            f"{_GONE_WRONG}"
        )
    return progress


def encode(progress: Progress) -> str:
    """Return the text that the target keeps."""
    return msgspec.json.encode(progress).decode()


def _name(source: Identity) -> str:
    return source.cluster or "a store that was never started"
