-- The first schema. `seq` orders journal rows by commit: (commit time in ms) << 20 plus a counter.
-- Text is compared by its bytes, as SQLite and Python do.

CREATE SEQUENCE seq_block;

-- The journal: one partition for each UTC day, made ahead by partitions.py and dropped whole by retention.

CREATE TABLE request (
    seq bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    received_ms bigint NOT NULL,
    method text COLLATE "C" NOT NULL,
    target bytea NOT NULL,
    http_version text COLLATE "C" NOT NULL,
    head bytea NOT NULL,
    peer text COLLATE "C" NOT NULL,
    duration_us bigint NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    cause text COLLATE "C",
    detail text COLLATE "C",
    answer_status smallint NOT NULL,
    event text COLLATE "C",
    body bytea NOT NULL,
    PRIMARY KEY (seq)
) PARTITION BY RANGE (seq);
CREATE TABLE event (
    seq bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    occurred_ms bigint NOT NULL,
    received_ms bigint NOT NULL,
    "user" text COLLATE "C",
    uid text COLLATE "C",
    source text COLLATE "C",
    request text COLLATE "C",
    application text COLLATE "C",
    channels text COLLATE "C" NOT NULL,
    content_type text COLLATE "C",
    content_encoding text COLLATE "C",
    payload bytea,
    PRIMARY KEY (seq)
) PARTITION BY RANGE (seq);
CREATE TABLE attempt (
    seq bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    application text COLLATE "C",
    delivery text COLLATE "C" NOT NULL,
    event text COLLATE "C" NOT NULL,
    endpoint text COLLATE "C" NOT NULL,
    number smallint NOT NULL,
    trigger text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    started_ms bigint NOT NULL,
    next_ms bigint,
    method text COLLATE "C" NOT NULL,
    url text COLLATE "C" NOT NULL,
    request_headers bytea NOT NULL,
    response_status smallint,
    response_headers bytea,
    error text COLLATE "C",
    detail text COLLATE "C",
    dns_us bigint NOT NULL,
    connect_us bigint NOT NULL,
    tls_us bigint NOT NULL,
    wait_us bigint NOT NULL,
    total_us bigint NOT NULL,
    response_body bytea,
    PRIMARY KEY (seq)
) PARTITION BY RANGE (seq);
CREATE TABLE decision (
    seq bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    automation text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    event text COLLATE "C" NOT NULL,
    profile text COLLATE "C" NOT NULL,
    decided_ms bigint NOT NULL,
    outcome text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    detail text COLLATE "C" NOT NULL,
    data bytea NOT NULL,
    delivery text COLLATE "C",
    PRIMARY KEY (seq)
) PARTITION BY RANGE (seq);

-- (id, seq) and not id alone: with a range of time at hand the planner finds the row by both, in one partition.
CREATE INDEX request_id ON request (id, seq);
CREATE INDEX request_source ON request (source, seq);
CREATE INDEX request_repeats ON request (event) WHERE outcome = 'duplicate';
CREATE INDEX request_rejected ON request (workspace, seq) WHERE outcome = 'rejected';
CREATE INDEX event_id ON event (id, seq);
CREATE INDEX event_by_type ON event (workspace, type, seq);
CREATE INDEX event_application ON event (application, seq) WHERE application IS NOT NULL;
CREATE INDEX event_user ON event (workspace, "user", seq) WHERE "user" IS NOT NULL;
CREATE INDEX event_uid ON event (workspace, uid) WHERE uid IS NOT NULL;
CREATE INDEX attempt_id ON attempt (id, seq);
CREATE INDEX attempt_event ON attempt (event);
CREATE INDEX attempt_endpoint ON attempt (endpoint, seq);
CREATE INDEX attempt_delivery ON attempt (delivery);
CREATE INDEX attempt_exhausted ON attempt (endpoint, delivery) WHERE state = 'exhausted';
CREATE INDEX decision_id ON decision (id, seq);
CREATE INDEX decision_event ON decision (event);
CREATE INDEX decision_automation ON decision (automation, seq);

-- Where the server can, bytes too long for their row are packed with lz4: the default costs ten times the time.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
        ALTER TABLE request ALTER COLUMN head SET COMPRESSION lz4, ALTER COLUMN body SET COMPRESSION lz4;
        ALTER TABLE event ALTER COLUMN payload SET COMPRESSION lz4;
        ALTER TABLE attempt ALTER COLUMN response_body SET COMPRESSION lz4;
        ALTER TABLE decision ALTER COLUMN data SET COMPRESSION lz4;
    END IF;
END
$$;

-- The queues and what is looked up by key. Rows come and go quickly: vacuum has to keep up.

CREATE TABLE claim (
    scope text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    fingerprint bytea NOT NULL,
    answer_status smallint NOT NULL,
    answer_body bytea NOT NULL,
    event text COLLATE "C",
    expires_ms bigint NOT NULL,
    PRIMARY KEY (scope, key)
) WITH (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.01, autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 1000
);
CREATE INDEX claim_expires ON claim (expires_ms);
CREATE TABLE delivery (
    shard smallint NOT NULL,
    endpoint text COLLATE "C" NOT NULL,
    due_ms bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    event text COLLATE "C" NOT NULL,
    attempts smallint NOT NULL,
    step smallint NOT NULL,
    trigger text COLLATE "C" NOT NULL,
    PRIMARY KEY (shard, endpoint, due_ms, id)
) WITH (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.01, autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 1000
);
CREATE INDEX delivery_due ON delivery (shard, due_ms);
CREATE UNIQUE INDEX delivery_id ON delivery (id);
CREATE INDEX delivery_event ON delivery (event);
CREATE TABLE rendered (
    delivery text COLLATE "C" NOT NULL,
    shown bytea NOT NULL,
    sealed text COLLATE "C",
    PRIMARY KEY (delivery)
) WITH (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.01, autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 1000
);
CREATE TABLE cancelled (
    delivery text COLLATE "C" NOT NULL,
    event text COLLATE "C" NOT NULL,
    endpoint text COLLATE "C" NOT NULL,
    reason text COLLATE "C" NOT NULL,
    cancelled_ms bigint NOT NULL,
    PRIMARY KEY (delivery)
);
CREATE INDEX cancelled_event ON cancelled (event);
CREATE TABLE decision_work (
    due_ms bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    shard smallint NOT NULL,
    profile text COLLATE "C" NOT NULL,
    PRIMARY KEY (shard, due_ms, id)
) WITH (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.01, autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 1000
);
CREATE INDEX decision_work_id ON decision_work (id);
CREATE TABLE firing (
    automation text COLLATE "C" NOT NULL,
    profile text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    times bigint NOT NULL,
    last_ms bigint NOT NULL,
    PRIMARY KEY (automation, profile, key)
) WITH (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.01, autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 1000, fillfactor = 70
);
CREATE TABLE event_count (
    profile text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    count bigint NOT NULL,
    first_ms bigint NOT NULL,
    last_ms bigint NOT NULL,
    PRIMARY KEY (profile, type)
) WITH (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.01, autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 1000, fillfactor = 70
);
CREATE TABLE shard (
    stage text COLLATE "C" NOT NULL,
    id smallint NOT NULL,
    owner text COLLATE "C",
    epoch bigint NOT NULL,
    until_ms bigint NOT NULL,
    PRIMARY KEY (stage, id)
) WITH (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.01, autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 1000, fillfactor = 70
);
INSERT INTO shard (stage, id, epoch, until_ms)
SELECT stage, id, 0, 0 FROM unnest(ARRAY['decide', 'deliver']) AS stage, generate_series(0, 255) AS id;
CREATE TABLE node (
    id text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    version text COLLATE "C" NOT NULL,
    roles text COLLATE "C" NOT NULL,
    started_ms bigint NOT NULL,
    seen_ms bigint NOT NULL,
    until_ms bigint NOT NULL,
    PRIMARY KEY (id)
) WITH (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.01, autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 1000, fillfactor = 70
);
CREATE TABLE batch (
    id text COLLATE "C" NOT NULL,
    at_ms bigint NOT NULL,
    refused integer[] NOT NULL,
    PRIMARY KEY (id)
) WITH (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.01, autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 1000
);
CREATE TABLE change (
    number bigint GENERATED BY DEFAULT AS IDENTITY NOT NULL,
    kind text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    document bytea,
    PRIMARY KEY (number)
);
CREATE TABLE meta (
    key text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    PRIMARY KEY (key)
);
-- The oldest release's schema that can still work on this one.
INSERT INTO meta (key, value) VALUES ('schema_oldest', '0001');

-- What people configure.

CREATE TABLE workspace (
    id text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    parent text COLLATE "C" NOT NULL,
    uid text COLLATE "C",
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    document bytea NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX workspace_place ON workspace (workspace, parent, id);
CREATE UNIQUE INDEX workspace_uid ON workspace (workspace, parent, uid) WHERE uid IS NOT NULL;
CREATE TABLE api_key (
    id text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    parent text COLLATE "C" NOT NULL,
    uid text COLLATE "C",
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    document bytea NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX api_key_place ON api_key (workspace, parent, id);
CREATE UNIQUE INDEX api_key_uid ON api_key (workspace, parent, uid) WHERE uid IS NOT NULL;
CREATE TABLE source (
    id text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    parent text COLLATE "C" NOT NULL,
    uid text COLLATE "C",
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    document bytea NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX source_place ON source (workspace, parent, id);
CREATE UNIQUE INDEX source_uid ON source (workspace, parent, uid) WHERE uid IS NOT NULL;
CREATE TABLE application (
    id text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    parent text COLLATE "C" NOT NULL,
    uid text COLLATE "C",
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    document bytea NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX application_place ON application (workspace, parent, id);
CREATE UNIQUE INDEX application_uid ON application (workspace, parent, uid) WHERE uid IS NOT NULL;
CREATE TABLE endpoint (
    id text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    parent text COLLATE "C" NOT NULL,
    uid text COLLATE "C",
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    document bytea NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX endpoint_place ON endpoint (workspace, parent, id);
CREATE UNIQUE INDEX endpoint_uid ON endpoint (workspace, parent, uid) WHERE uid IS NOT NULL;
CREATE TABLE event_type (
    id text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    parent text COLLATE "C" NOT NULL,
    uid text COLLATE "C",
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    document bytea NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX event_type_place ON event_type (workspace, parent, id);
CREATE UNIQUE INDEX event_type_uid ON event_type (workspace, parent, uid) WHERE uid IS NOT NULL;
CREATE TABLE automation (
    id text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    parent text COLLATE "C" NOT NULL,
    uid text COLLATE "C",
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    document bytea NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX automation_place ON automation (workspace, parent, id);
CREATE UNIQUE INDEX automation_uid ON automation (workspace, parent, uid) WHERE uid IS NOT NULL;
CREATE TABLE secret (
    id text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    parent text COLLATE "C" NOT NULL,
    uid text COLLATE "C",
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    document bytea NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX secret_place ON secret (workspace, parent, id);
CREATE UNIQUE INDEX secret_uid ON secret (workspace, parent, uid) WHERE uid IS NOT NULL;
