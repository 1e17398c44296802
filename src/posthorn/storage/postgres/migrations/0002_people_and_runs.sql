-- Profiles, segments and their members, versions, runs and timers; what comes with events and after deliveries.

ALTER TABLE event ADD COLUMN context bytea;
ALTER TABLE rendered ADD COLUMN tells bytea;
CREATE INDEX firing_profile ON firing (profile);
-- Only the days to come have this index: making it for the days that are there would keep decisions waiting.
CREATE INDEX decision_profile ON ONLY decision (profile, seq);

CREATE TABLE timer (
    due_ms bigint NOT NULL,
    id text COLLATE "C" NOT NULL,
    shard smallint NOT NULL,
    profile text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    about text COLLATE "C" NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (shard, due_ms, id)
) WITH (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.01, autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 1000
);
CREATE UNIQUE INDEX timer_id ON timer (id);
CREATE INDEX timer_due ON timer (due_ms);
CREATE TABLE run (
    id text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    automation text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    profile text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    state text COLLATE "C" NOT NULL,
    entered_ms bigint NOT NULL,
    changed_ms bigint NOT NULL,
    wake_ms bigint,
    document bytea NOT NULL,
    PRIMARY KEY (id)
) WITH (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.01, autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 1000
);
CREATE INDEX run_active ON run (profile) WHERE state = 'active';
CREATE INDEX run_automation ON run (automation, state, id);
CREATE INDEX run_profile ON run (profile, id);
CREATE INDEX run_ended ON run (changed_ms) WHERE state <> 'active';
CREATE TABLE profile (
    key text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    "user" text COLLATE "C" NOT NULL,
    merged text COLLATE "C",
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    document bytea NOT NULL,
    PRIMARY KEY (key)
) WITH (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.01, autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 1000, fillfactor = 70
);
CREATE INDEX profile_user ON profile (workspace, "user") WHERE merged IS NULL;
CREATE INDEX profile_merged ON profile (merged) WHERE merged IS NOT NULL;
CREATE TABLE member (
    segment text COLLATE "C" NOT NULL,
    profile text COLLATE "C" NOT NULL,
    since_ms bigint NOT NULL,
    PRIMARY KEY (segment, profile)
) WITH (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0,
    autovacuum_vacuum_insert_scale_factor = 0.01, autovacuum_vacuum_insert_threshold = 10000,
    autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 1000
);
CREATE INDEX member_profile ON member (profile);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
        ALTER TABLE event ALTER COLUMN context SET COMPRESSION lz4;
        ALTER TABLE run ALTER COLUMN document SET COMPRESSION lz4;
        ALTER TABLE profile ALTER COLUMN document SET COMPRESSION lz4;
    END IF;
END
$$;

CREATE TABLE automation_version (
    id text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    parent text COLLATE "C" NOT NULL,
    uid text COLLATE "C",
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    document bytea NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX automation_version_place ON automation_version (workspace, parent, id);
CREATE UNIQUE INDEX automation_version_uid ON automation_version (workspace, parent, uid) WHERE uid IS NOT NULL;
CREATE TABLE segment (
    id text COLLATE "C" NOT NULL,
    workspace text COLLATE "C" NOT NULL,
    parent text COLLATE "C" NOT NULL,
    uid text COLLATE "C",
    created_ms bigint NOT NULL,
    updated_ms bigint NOT NULL,
    document bytea NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX segment_place ON segment (workspace, parent, id);
CREATE UNIQUE INDEX segment_uid ON segment (workspace, parent, uid) WHERE uid IS NOT NULL;
