"""The tables, for both databases. Migrations must add up to exactly this; a test proves it.

`seq` orders journal rows by commit: `(commit time in ms) << 20` plus a counter, so it is the time index as well.
The queues (`delivery`, `decision_work`, `timer`) are narrow: payloads stay in `event` and `request`, stored once.

PostgreSQL keeps the journal tables in a partition for each UTC day, so nothing but `seq` is unique over all of them.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)

from posthorn.engine.resources import Kind

metadata = MetaData()

_SEQ = BigInteger().with_variant(Integer(), "sqlite")  # SQLite's rowid alias must be spelled INTEGER


def _required(name: str, kind: type[Text] | type[BigInteger] | type[SmallInteger] | type[LargeBinary]) -> Column:  # type: ignore[type-arg]
    return Column(name, kind(), nullable=False)


def _seq() -> Column:  # type: ignore[type-arg]
    return Column("seq", _SEQ, primary_key=True, autoincrement=False)


def _identity(table: str) -> tuple[Index, Index]:
    """Index ids: unique where the table is in one piece."""
    return (
        Index(f"{table}_id", "id", unique=True).ddl_if(dialect="sqlite"),
        Index(f"{table}_id", "id").ddl_if(dialect="postgresql"),
    )


def _in_order(name: str, *columns: str, then: str = "seq", where: str | None = None) -> tuple[Index, Index]:
    """Index columns so that equal rows come in the order of commits, which they always do in SQLite."""
    condition = text(where) if where is not None else None
    return (
        Index(name, *columns, sqlite_where=condition).ddl_if(dialect="sqlite"),
        Index(name, *columns, then, postgresql_where=condition).ddl_if(dialect="postgresql"),
    )


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


claim = Table(
    "claim",
    metadata,
    _required("scope", Text),
    _required("key", Text),
    _required("fingerprint", LargeBinary),
    _required("answer_status", SmallInteger),
    _required("answer_body", LargeBinary),
    Column("event", Text),
    _required("expires_ms", BigInteger),
    PrimaryKeyConstraint("scope", "key"),
    Index("claim_expires", "expires_ms"),
    sqlite_with_rowid=False,
)

request = Table(
    "request",
    metadata,
    _seq(),
    _required("id", Text),
    _required("workspace", Text),
    _required("source", Text),
    _required("received_ms", BigInteger),
    _required("method", Text),
    _required("target", LargeBinary),
    _required("http_version", Text),
    _required("head", LargeBinary),
    _required("peer", Text),
    _required("duration_us", BigInteger),
    _required("outcome", Text),
    Column("cause", Text),
    Column("detail", Text),
    _required("answer_status", SmallInteger),
    Column("event", Text),
    _required("body", LargeBinary),
    *_identity("request"),
    *_in_order("request_source", "source"),
    _partial("request_repeats", "event", where="outcome = 'duplicate'"),
    *_in_order("request_rejected", "workspace", where="outcome = 'rejected'"),
)

event = Table(
    "event",
    metadata,
    _seq(),
    _required("id", Text),
    _required("workspace", Text),
    _required("type", Text),
    _required("occurred_ms", BigInteger),
    _required("received_ms", BigInteger),
    Column("user", Text),
    Column("uid", Text),
    Column("source", Text),
    Column("request", Text),
    Column("application", Text),
    _required("channels", Text),
    Column("content_type", Text),
    Column("content_encoding", Text),
    Column("payload", LargeBinary),
    Column("context", LargeBinary),
    *_identity("event"),
    *_in_order("event_by_type", "workspace", "type"),
    *_in_order("event_application", "application", where="application IS NOT NULL"),
    *_in_order("event_user", "workspace", "user", where='"user" IS NOT NULL'),
    _partial("event_uid", "workspace", "uid", where="uid IS NOT NULL"),
)

delivery = Table(
    "delivery",
    metadata,
    _required("shard", SmallInteger),
    _required("endpoint", Text),
    _required("due_ms", BigInteger),
    _required("id", Text),
    _required("event", Text),
    _required("attempts", SmallInteger),
    _required("step", SmallInteger),
    _required("trigger", Text),
    PrimaryKeyConstraint("shard", "endpoint", "due_ms", "id"),
    Index("delivery_due", "due_ms"),
    Index("delivery_id", "id", unique=True),
    Index("delivery_event", "event"),
    sqlite_with_rowid=False,
)

rendered = Table(
    "rendered",
    metadata,
    Column("delivery", Text, primary_key=True, nullable=False),
    _required("shown", LargeBinary),
    Column("sealed", Text),
    Column("tells", LargeBinary),
)

cancelled = Table(
    "cancelled",
    metadata,
    Column("delivery", Text, primary_key=True, nullable=False),
    _required("event", Text),
    _required("endpoint", Text),
    _required("reason", Text),
    _required("cancelled_ms", BigInteger),
    Index("cancelled_event", "event"),
)

attempt = Table(
    "attempt",
    metadata,
    _seq(),
    _required("id", Text),
    _required("workspace", Text),
    Column("application", Text),
    _required("delivery", Text),
    _required("event", Text),
    _required("endpoint", Text),
    _required("number", SmallInteger),
    _required("trigger", Text),
    _required("state", Text),
    _required("started_ms", BigInteger),
    Column("next_ms", BigInteger),
    _required("method", Text),
    _required("url", Text),
    _required("request_headers", LargeBinary),
    Column("response_status", SmallInteger),
    Column("response_headers", LargeBinary),
    Column("error", Text),
    Column("detail", Text),
    _required("dns_us", BigInteger),
    _required("connect_us", BigInteger),
    _required("tls_us", BigInteger),
    _required("wait_us", BigInteger),
    _required("total_us", BigInteger),
    Column("response_body", LargeBinary),
    *_identity("attempt"),
    Index("attempt_event", "event"),
    *_in_order("attempt_endpoint", "endpoint"),
    Index("attempt_delivery", "delivery"),
    *_in_order("attempt_exhausted", "endpoint", then="delivery", where="state = 'exhausted'"),
)

decision_work = Table(
    "decision_work",
    metadata,
    _required("due_ms", BigInteger),
    _required("id", Text),
    _required("shard", SmallInteger),
    _required("profile", Text),
    PrimaryKeyConstraint("due_ms", "id"),
    Index("decision_work_id", "id"),
    sqlite_with_rowid=False,
)

timer = Table(
    "timer",
    metadata,
    _required("due_ms", BigInteger),
    _required("id", Text),
    _required("shard", SmallInteger),
    _required("profile", Text),
    _required("kind", Text),
    _required("about", Text),
    _required("data", LargeBinary),
    PrimaryKeyConstraint("due_ms", "id"),
    Index("timer_id", "id", unique=True),
    Index("timer_profile", "profile").ddl_if(dialect="sqlite"),
    Index("timer_due", "due_ms").ddl_if(dialect="postgresql"),  # where the primary key begins with the shard
    sqlite_with_rowid=False,
)

run = Table(
    "run",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    _required("workspace", Text),
    _required("automation", Text),
    _required("version", BigInteger),
    _required("profile", Text),
    _required("key", Text),
    _required("state", Text),
    _required("entered_ms", BigInteger),
    _required("changed_ms", BigInteger),
    Column("wake_ms", BigInteger),
    _required("document", LargeBinary),
    _partial("run_active", "profile", where="state = 'active'"),
    Index("run_automation", "automation", "state", "id"),
    Index("run_profile", "profile", "id"),
    _partial("run_ended", "changed_ms", where="state <> 'active'"),
)

profile = Table(
    "profile",
    metadata,
    Column("key", Text, primary_key=True, nullable=False),
    _required("workspace", Text),
    _required("user", Text),
    Column("merged", Text),
    _required("created_ms", BigInteger),
    _required("updated_ms", BigInteger),
    _required("document", LargeBinary),
    _partial("profile_user", "workspace", "user", where="merged IS NULL"),
    _partial("profile_merged", "merged", where="merged IS NOT NULL"),
)

member = Table(
    "member",
    metadata,
    _required("segment", Text),
    _required("profile", Text),
    _required("since_ms", BigInteger),
    PrimaryKeyConstraint("segment", "profile"),
    Index("member_profile", "profile"),
    sqlite_with_rowid=False,
)

firing = Table(
    "firing",
    metadata,
    _required("automation", Text),
    _required("profile", Text),
    _required("key", Text),
    _required("times", BigInteger),
    _required("last_ms", BigInteger),
    PrimaryKeyConstraint("automation", "profile", "key"),
    Index("firing_profile", "profile"),
    sqlite_with_rowid=False,
)

event_count = Table(
    "event_count",
    metadata,
    _required("profile", Text),
    _required("type", Text),
    _required("count", BigInteger),
    _required("first_ms", BigInteger),
    _required("last_ms", BigInteger),
    PrimaryKeyConstraint("profile", "type"),
    sqlite_with_rowid=False,
)

decision = Table(
    "decision",
    metadata,
    _seq(),
    _required("id", Text),
    _required("workspace", Text),
    _required("automation", Text),
    _required("version", BigInteger),
    _required("event", Text),
    _required("profile", Text),
    _required("decided_ms", BigInteger),
    _required("outcome", Text),
    _required("reason", Text),
    _required("detail", Text),
    _required("data", LargeBinary),
    Column("delivery", Text),
    *_identity("decision"),
    Index("decision_event", "event"),
    *_in_order("decision_automation", "automation"),
    *_in_order("decision_profile", "profile"),
)

shard = Table(
    "shard",
    metadata,
    _required("stage", Text),
    _required("id", SmallInteger),
    Column("owner", Text),
    _required("epoch", BigInteger),
    _required("until_ms", BigInteger),
    PrimaryKeyConstraint("stage", "id"),
    sqlite_with_rowid=False,
)

node = Table(
    "node",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    _required("name", Text),
    _required("version", Text),
    _required("roles", Text),
    _required("started_ms", BigInteger),
    _required("seen_ms", BigInteger),
    _required("until_ms", BigInteger),
)

change = Table(
    "change",
    metadata,
    Column("number", _SEQ, primary_key=True, autoincrement=True),
    _required("kind", Text),
    _required("id", Text),
    Column("document", LargeBinary),
    sqlite_autoincrement=True,
)

meta = Table("meta", metadata, Column("key", Text, primary_key=True, nullable=False), _required("value", Text))


def _resource_table(kind: Kind) -> Table:
    return Table(
        kind.value,
        metadata,
        Column("id", Text, primary_key=True, nullable=False),
        _required("workspace", Text),
        _required("parent", Text),
        Column("uid", Text),
        _required("created_ms", BigInteger),
        _required("updated_ms", BigInteger),
        _required("document", LargeBinary),
        Index(f"{kind.value}_place", "workspace", "parent", "id"),
        _partial(f"{kind.value}_uid", "workspace", "parent", "uid", where="uid IS NOT NULL", unique=True),
    )


resources: dict[Kind, Table] = {kind: _resource_table(kind) for kind in Kind}
