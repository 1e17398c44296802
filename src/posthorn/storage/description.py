"""What a store says of itself to an operator: schema, nodes, days, rows and size. Shapes only."""

from datetime import UTC, datetime

from msgspec import Struct

from posthorn.clock import DAY_MS
from posthorn.engine.cluster import Node


class SchemaStanding(Struct, frozen=True, kw_only=True, rename="camel"):
    """The schema of a store, and what this release makes of it."""

    revision: str | None  #: None: it has none of ours yet
    known: str  #: the newest that this release knows
    oldest: str | None  #: releases that know less than this one must not run on the store
    migrating: str | None  #: the revision of a migration that was begun and not finished
    contracts: tuple[str, ...] = ()  #: revisions whose old parts wait to be taken away


class JournalDays(Struct, frozen=True, kw_only=True, rename="camel"):
    """The UTC days of one journal table, as YYYY-MM-DD."""

    table: str
    partitions: int  #: 0 where the table is in one piece
    oldest: str | None
    newest: str | None


class StoreDescription(Struct, frozen=True, kw_only=True, rename="camel"):
    """One store at one moment."""

    kind: str  #: "sqlite" or "postgresql"
    place: str  #: the folder, or host, port and database
    server_version: str
    schema: SchemaStanding
    is_copying: bool  #: it is the target of a copy that did not end
    in_use_by: str | None  #: the process that holds the folder; None on PostgreSQL, which has nodes instead
    nodes: tuple[Node, ...] = ()
    days: tuple[JournalDays, ...] = ()
    rows: dict[str, int] = {}
    rows_are_estimates: bool = False
    size_bytes: int = 0


def day_text(day: int) -> str:
    """Write a UTC day, counted from 1970, as YYYY-MM-DD."""
    return f"{datetime.fromtimestamp(day * DAY_MS / 1000, UTC):%Y-%m-%d}"
