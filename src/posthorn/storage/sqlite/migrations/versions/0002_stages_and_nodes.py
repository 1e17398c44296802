"""Shards of each stage, leased apart, and the nodes that share the store."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# Leases end with the process that held them, so the table begins anew.
_UP = [
    """DROP TABLE shard""",
    """CREATE TABLE shard (
    stage TEXT NOT NULL,
    id SMALLINT NOT NULL,
    owner TEXT,
    epoch BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (stage, id)
)
 WITHOUT ROWID""",
    """CREATE TABLE node (
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    roles TEXT NOT NULL,
    started_ms BIGINT NOT NULL,
    seen_ms BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
)""",
]

_DOWN = [
    """DROP TABLE node""",
    """DROP TABLE shard""",
    """CREATE TABLE shard (
    id SMALLINT NOT NULL,
    owner TEXT,
    epoch BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
)""",
]


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
