"""Profiles, segments and their members, versions, runs and timers; what comes with events and after deliveries."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_UP = [
    """ALTER TABLE event ADD COLUMN context BLOB""",
    """ALTER TABLE rendered ADD COLUMN tells BLOB""",
    """CREATE INDEX firing_profile ON firing (profile)""",
    """CREATE INDEX decision_profile ON decision (profile)""",
    """CREATE TABLE timer (
    due_ms BIGINT NOT NULL,
    id TEXT NOT NULL,
    shard SMALLINT NOT NULL,
    profile TEXT NOT NULL,
    kind TEXT NOT NULL,
    about TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (due_ms, id)
)
 WITHOUT ROWID""",
    """CREATE UNIQUE INDEX timer_id ON timer (id)""",
    """CREATE INDEX timer_profile ON timer (profile)""",
    """CREATE TABLE run (
    id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    automation TEXT NOT NULL,
    version BIGINT NOT NULL,
    profile TEXT NOT NULL,
    "key" TEXT NOT NULL,
    state TEXT NOT NULL,
    entered_ms BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL,
    wake_ms BIGINT,
    document BLOB NOT NULL,
    PRIMARY KEY (id)
)""",
    """CREATE INDEX run_active ON run (profile) WHERE state = 'active'""",
    """CREATE INDEX run_automation ON run (automation, state, id)""",
    """CREATE INDEX run_profile ON run (profile, id)""",
    """CREATE INDEX run_ended ON run (changed_ms) WHERE state <> 'active'""",
    """CREATE TABLE profile (
    "key" TEXT NOT NULL,
    workspace TEXT NOT NULL,
    user TEXT NOT NULL,
    merged TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY ("key")
)""",
    """CREATE INDEX profile_user ON profile (workspace, user) WHERE merged IS NULL""",
    """CREATE INDEX profile_merged ON profile (merged) WHERE merged IS NOT NULL""",
    """CREATE TABLE member (
    segment TEXT NOT NULL,
    profile TEXT NOT NULL,
    since_ms BIGINT NOT NULL,
    PRIMARY KEY (segment, profile)
)
 WITHOUT ROWID""",
    """CREATE INDEX member_profile ON member (profile)""",
    """CREATE TABLE automation_version (
    id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    parent TEXT NOT NULL,
    uid TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (id)
)""",
    """CREATE INDEX automation_version_place ON automation_version (workspace, parent, id)""",
    """CREATE UNIQUE INDEX automation_version_uid ON automation_version (workspace, parent, uid)
    WHERE uid IS NOT NULL""",
    """CREATE TABLE segment (
    id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    parent TEXT NOT NULL,
    uid TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (id)
)""",
    """CREATE INDEX segment_place ON segment (workspace, parent, id)""",
    """CREATE UNIQUE INDEX segment_uid ON segment (workspace, parent, uid) WHERE uid IS NOT NULL""",
]

_DOWN = [
    """DROP TABLE segment""",
    """DROP TABLE automation_version""",
    """DROP TABLE member""",
    """DROP TABLE profile""",
    """DROP TABLE run""",
    """DROP TABLE timer""",
    """DROP INDEX decision_profile""",
    """DROP INDEX firing_profile""",
    """ALTER TABLE rendered DROP COLUMN tells""",
    """ALTER TABLE event DROP COLUMN context""",
]


def upgrade() -> None:
    for statement in _UP:
        op.execute(statement)


def downgrade() -> None:
    for statement in _DOWN:
        op.execute(statement)
