"""The first schema."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_TABLES = [
    "api_key",
    "application",
    "attempt",
    "automation",
    "cancelled",
    "change",
    "claim",
    "decision",
    "decision_work",
    "delivery",
    "endpoint",
    "event",
    "event_count",
    "event_type",
    "firing",
    "meta",
    "rendered",
    "request",
    "secret",
    "shard",
    "source",
    "workspace",
]

_STATEMENTS = [
    """CREATE TABLE api_key (
    id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    parent TEXT NOT NULL,
    uid TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (id)
)""",
    """CREATE INDEX api_key_place ON api_key (workspace, parent, id)""",
    """CREATE UNIQUE INDEX api_key_uid ON api_key (workspace, parent, uid) WHERE uid IS NOT NULL""",
    """CREATE TABLE application (
    id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    parent TEXT NOT NULL,
    uid TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (id)
)""",
    """CREATE INDEX application_place ON application (workspace, parent, id)""",
    """CREATE UNIQUE INDEX application_uid ON application (workspace, parent, uid) WHERE uid IS NOT NULL""",
    """CREATE TABLE attempt (
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    application TEXT,
    delivery TEXT NOT NULL,
    event TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    number SMALLINT NOT NULL,
    "trigger" TEXT NOT NULL,
    state TEXT NOT NULL,
    started_ms BIGINT NOT NULL,
    next_ms BIGINT,
    method TEXT NOT NULL,
    url TEXT NOT NULL,
    request_headers BLOB NOT NULL,
    response_status SMALLINT,
    response_headers BLOB,
    error TEXT,
    detail TEXT,
    dns_us BIGINT NOT NULL,
    connect_us BIGINT NOT NULL,
    tls_us BIGINT NOT NULL,
    wait_us BIGINT NOT NULL,
    total_us BIGINT NOT NULL,
    response_body BLOB,
    PRIMARY KEY (seq)
)""",
    """CREATE INDEX attempt_delivery ON attempt (delivery)""",
    """CREATE INDEX attempt_endpoint ON attempt (endpoint)""",
    """CREATE INDEX attempt_event ON attempt (event)""",
    """CREATE INDEX attempt_exhausted ON attempt (endpoint) WHERE state = 'exhausted'""",
    """CREATE UNIQUE INDEX attempt_id ON attempt (id)""",
    """CREATE TABLE automation (
    id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    parent TEXT NOT NULL,
    uid TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (id)
)""",
    """CREATE INDEX automation_place ON automation (workspace, parent, id)""",
    """CREATE UNIQUE INDEX automation_uid ON automation (workspace, parent, uid) WHERE uid IS NOT NULL""",
    """CREATE TABLE cancelled (
    delivery TEXT NOT NULL,
    event TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    reason TEXT NOT NULL,
    cancelled_ms BIGINT NOT NULL,
    PRIMARY KEY (delivery)
)""",
    """CREATE INDEX cancelled_event ON cancelled (event)""",
    """CREATE TABLE change (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    document BLOB
)""",
    """CREATE TABLE claim (
    scope TEXT NOT NULL,
    "key" TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    answer_status SMALLINT NOT NULL,
    answer_body BLOB NOT NULL,
    event TEXT,
    expires_ms BIGINT NOT NULL,
    PRIMARY KEY (scope, "key")
)
 WITHOUT ROWID""",
    """CREATE INDEX claim_expires ON claim (expires_ms)""",
    """CREATE TABLE decision (
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    automation TEXT NOT NULL,
    version BIGINT NOT NULL,
    event TEXT NOT NULL,
    profile TEXT NOT NULL,
    decided_ms BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    data BLOB NOT NULL,
    delivery TEXT,
    PRIMARY KEY (seq)
)""",
    """CREATE INDEX decision_automation ON decision (automation)""",
    """CREATE INDEX decision_event ON decision (event)""",
    """CREATE UNIQUE INDEX decision_id ON decision (id)""",
    """CREATE TABLE decision_work (
    due_ms BIGINT NOT NULL,
    id TEXT NOT NULL,
    shard SMALLINT NOT NULL,
    profile TEXT NOT NULL,
    PRIMARY KEY (due_ms, id)
)
 WITHOUT ROWID""",
    """CREATE INDEX decision_work_id ON decision_work (id)""",
    """CREATE TABLE delivery (
    shard SMALLINT NOT NULL,
    endpoint TEXT NOT NULL,
    due_ms BIGINT NOT NULL,
    id TEXT NOT NULL,
    event TEXT NOT NULL,
    attempts SMALLINT NOT NULL,
    step SMALLINT NOT NULL,
    "trigger" TEXT NOT NULL,
    PRIMARY KEY (shard, endpoint, due_ms, id)
)
 WITHOUT ROWID""",
    """CREATE INDEX delivery_due ON delivery (due_ms)""",
    """CREATE INDEX delivery_event ON delivery (event)""",
    """CREATE UNIQUE INDEX delivery_id ON delivery (id)""",
    """CREATE TABLE endpoint (
    id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    parent TEXT NOT NULL,
    uid TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (id)
)""",
    """CREATE INDEX endpoint_place ON endpoint (workspace, parent, id)""",
    """CREATE UNIQUE INDEX endpoint_uid ON endpoint (workspace, parent, uid) WHERE uid IS NOT NULL""",
    """CREATE TABLE event (
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    type TEXT NOT NULL,
    occurred_ms BIGINT NOT NULL,
    received_ms BIGINT NOT NULL,
    user TEXT,
    uid TEXT,
    source TEXT,
    request TEXT,
    application TEXT,
    channels TEXT NOT NULL,
    content_type TEXT,
    content_encoding TEXT,
    payload BLOB,
    PRIMARY KEY (seq)
)""",
    """CREATE INDEX event_application ON event (application) WHERE application IS NOT NULL""",
    """CREATE INDEX event_by_type ON event (workspace, type)""",
    """CREATE UNIQUE INDEX event_id ON event (id)""",
    """CREATE INDEX event_uid ON event (workspace, uid) WHERE uid IS NOT NULL""",
    """CREATE INDEX event_user ON event (workspace, user) WHERE user IS NOT NULL""",
    """CREATE TABLE event_count (
    profile TEXT NOT NULL,
    type TEXT NOT NULL,
    count BIGINT NOT NULL,
    first_ms BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    PRIMARY KEY (profile, type)
)
 WITHOUT ROWID""",
    """CREATE TABLE event_type (
    id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    parent TEXT NOT NULL,
    uid TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (id)
)""",
    """CREATE INDEX event_type_place ON event_type (workspace, parent, id)""",
    """CREATE UNIQUE INDEX event_type_uid ON event_type (workspace, parent, uid) WHERE uid IS NOT NULL""",
    """CREATE TABLE firing (
    automation TEXT NOT NULL,
    profile TEXT NOT NULL,
    "key" TEXT NOT NULL,
    times BIGINT NOT NULL,
    last_ms BIGINT NOT NULL,
    PRIMARY KEY (automation, profile, "key")
)
 WITHOUT ROWID""",
    """CREATE TABLE meta (
    "key" TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY ("key")
)""",
    """CREATE TABLE rendered (
    delivery TEXT NOT NULL,
    shown BLOB NOT NULL,
    sealed TEXT,
    PRIMARY KEY (delivery)
)""",
    """CREATE TABLE request (
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    source TEXT NOT NULL,
    received_ms BIGINT NOT NULL,
    method TEXT NOT NULL,
    target BLOB NOT NULL,
    http_version TEXT NOT NULL,
    head BLOB NOT NULL,
    peer TEXT NOT NULL,
    duration_us BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    cause TEXT,
    detail TEXT,
    answer_status SMALLINT NOT NULL,
    event TEXT,
    body BLOB NOT NULL,
    PRIMARY KEY (seq)
)""",
    """CREATE UNIQUE INDEX request_id ON request (id)""",
    """CREATE INDEX request_rejected ON request (workspace) WHERE outcome = 'rejected'""",
    """CREATE INDEX request_repeats ON request (event) WHERE outcome = 'duplicate'""",
    """CREATE INDEX request_source ON request (source)""",
    """CREATE TABLE secret (
    id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    parent TEXT NOT NULL,
    uid TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (id)
)""",
    """CREATE INDEX secret_place ON secret (workspace, parent, id)""",
    """CREATE UNIQUE INDEX secret_uid ON secret (workspace, parent, uid) WHERE uid IS NOT NULL""",
    """CREATE TABLE shard (
    id SMALLINT NOT NULL,
    owner TEXT,
    epoch BIGINT NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (id)
)""",
    """CREATE TABLE source (
    id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    parent TEXT NOT NULL,
    uid TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (id)
)""",
    """CREATE INDEX source_place ON source (workspace, parent, id)""",
    """CREATE UNIQUE INDEX source_uid ON source (workspace, parent, uid) WHERE uid IS NOT NULL""",
    """CREATE TABLE workspace (
    id TEXT NOT NULL,
    workspace TEXT NOT NULL,
    parent TEXT NOT NULL,
    uid TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (id)
)""",
    """CREATE INDEX workspace_place ON workspace (workspace, parent, id)""",
    """CREATE UNIQUE INDEX workspace_uid ON workspace (workspace, parent, uid) WHERE uid IS NOT NULL""",
]


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_table(table)
