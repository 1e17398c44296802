"""The mark of a copy: nobody starts on a store that is being copied, or that was left half copied.

The stores ask here when they are opened, so this module imports none of them.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from posthorn.errors import StartRefused

COPYING = "copying"
"""Where the target's `meta` keeps how far a copy came. It goes away when the copy has been verified."""

COPY_LOCK = 0x706F7374_636F7079
"""PostgreSQL's advisory lock on both ends of a copy ("postcopy"). It ends with the process that copies."""

_UNDER_WAY = "a copy from or into {shown} is under way; start when it has ended"
_HALF_DONE = (
    "{shown} is the target of a copy that did not end; run the same `posthorn database copy` again, "
    "which goes on where it was, or start on the store that was copied"
)
_MARK = "SELECT value FROM meta WHERE key = 'copying'"


def refuse_half_copied(mark: str | None, shown: str) -> None:
    """Raise StartRefused when a store's `meta` has the mark of a copy. `shown` says which store, without secrets."""
    if mark is not None:
        raise StartRefused(_HALF_DONE.format(shown=shown))


def refuse_half_copied_file(path: Path) -> None:
    """Do so for a SQLite file, whatever it is: new, not ours, of another schema. Those are for others to judge."""
    if not path.exists():
        return
    with closing(sqlite3.connect(path)) as connection:
        try:
            row = connection.execute(_MARK).fetchone()
        except sqlite3.DatabaseError:
            return
    refuse_half_copied(row[0] if row else None, f"the data folder {path.parent}")


async def refuse_copy(connection: Any, shown: str) -> None:
    """Raise StartRefused when a database is being copied or is half copied. Works on a database without our tables.

    Nothing is written. Whoever starts must have a session named "posthorn" from here on: a copy looks for those.
    """
    if not await connection.fetchval("SELECT pg_try_advisory_lock_shared($1)", COPY_LOCK):
        raise StartRefused(_UNDER_WAY.format(shown=shown))
    await connection.execute("SELECT pg_advisory_unlock_shared($1)", COPY_LOCK)
    if await connection.fetchval("SELECT to_regclass('meta') IS NOT NULL"):
        refuse_half_copied(await connection.fetchval(_MARK), shown)
