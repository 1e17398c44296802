-- The hot statements. Each has a name and one sentence; statements.py reads them.
-- Lists come in as arrays, one for each column. `place` draws where in the journal the rows of a statement stand: its
-- instant in ms, a block of 1,024 numbers, and within the block the rows count up.

-- append: Commit units whose claims are free; of the others keep the request as a duplicate and answer what took them.
WITH place AS MATERIALIZED (
    SELECT block, ($2::bigint << 20) + (block << 10) AS seq FROM (SELECT nextval('seq_block') & 1023 AS block) AS drawn
),
wanted AS MATERIALIZED (
    SELECT * FROM unnest($3::int[], $4::text[], $5::text[], $6::bytea[], $7::smallint[], $8::bytea[], $9::text[],
            $10::bigint[])
        WITH ORDINALITY AS w (unit, scope, key, fingerprint, answer_status, answer_body, event, expires_ms, nth)
),
taken AS MATERIALIZED (
    SELECT DISTINCT ON (w.unit) w.unit, w.scope, c.fingerprint = w.fingerprint AS is_same, c.answer_status,
        c.answer_body, c.event
    FROM wanted AS w JOIN claim AS c ON c.scope = w.scope AND c.key = w.key AND c.expires_ms > $2
    ORDER BY w.unit, w.nth
),
claimed AS (
    -- In the order of the key, so that two nodes with the same claims wait for each other in one direction only.
    INSERT INTO claim AS c (scope, key, fingerprint, answer_status, answer_body, event, expires_ms)
    SELECT scope, key, fingerprint, answer_status, answer_body, event, expires_ms FROM wanted
    WHERE unit NOT IN (SELECT unit FROM taken) ORDER BY scope, key
    ON CONFLICT (scope, key) DO UPDATE SET
        fingerprint = excluded.fingerprint, answer_status = excluded.answer_status,
        answer_body = excluded.answer_body, event = excluded.event, expires_ms = excluded.expires_ms
    WHERE c.expires_ms <= $2
    RETURNING 1
),
requests AS (
    INSERT INTO request (seq, id, workspace, source, received_ms, method, target, http_version, head, peer,
        duration_us, outcome, cause, detail, answer_status, event, body)
    SELECT p.seq + r.nth - 1, r.id, r.workspace, r.source, r.received_ms, r.method, r.target, r.http_version, r.head,
        r.peer, r.duration_us, CASE WHEN t.unit IS NULL THEN r.outcome ELSE 'duplicate' END, r.cause, r.detail,
        coalesce(t.answer_status, r.answer_status), CASE WHEN t.unit IS NULL THEN r.event ELSE t.event END, r.body
    FROM unnest($11::int[], $12::text[], $13::text[], $14::text[], $15::bigint[], $16::text[], $17::bytea[],
            $18::text[], $19::bytea[], $20::text[], $21::bigint[], $22::text[], $23::text[], $24::text[],
            $25::smallint[], $26::text[], $27::bytea[])
        WITH ORDINALITY AS r (unit, id, workspace, source, received_ms, method, target, http_version, head, peer,
            duration_us, outcome, cause, detail, answer_status, event, body, nth)
    CROSS JOIN place AS p LEFT JOIN taken AS t ON t.unit = r.unit
),
events AS (
    INSERT INTO event (seq, id, workspace, type, occurred_ms, received_ms, "user", uid, source, request, application,
        channels, content_type, content_encoding, payload)
    SELECT p.seq + cardinality($11::int[]) + e.nth - 1, e.id, e.workspace, e.type, e.occurred_ms, e.received_ms,
        e."user", e.uid, e.source, e.request, e.application, e.channels, e.content_type, e.content_encoding, e.payload
    FROM unnest($28::int[], $29::text[], $30::text[], $31::text[], $32::bigint[], $33::bigint[], $34::text[],
            $35::text[], $36::text[], $37::text[], $38::text[], $39::text[], $40::text[], $41::text[], $42::bytea[])
        WITH ORDINALITY AS e (unit, id, workspace, type, occurred_ms, received_ms, "user", uid, source, request,
            application, channels, content_type, content_encoding, payload, nth)
    CROSS JOIN place AS p WHERE e.unit NOT IN (SELECT unit FROM taken)
),
deliveries AS (
    INSERT INTO delivery (shard, endpoint, due_ms, id, event, attempts, step, trigger)
    SELECT shard, endpoint, due_ms, id, event, 0, 0, 'scheduled'
    FROM unnest($43::int[], $44::smallint[], $45::text[], $46::bigint[], $47::text[], $48::text[])
        AS d (unit, shard, endpoint, due_ms, id, event)
    WHERE unit NOT IN (SELECT unit FROM taken)
),
rendered AS (
    INSERT INTO rendered (delivery, shown, sealed)
    SELECT delivery, shown, sealed FROM unnest($49::int[], $50::text[], $51::bytea[], $52::text[])
        AS r (unit, delivery, shown, sealed)
    WHERE unit NOT IN (SELECT unit FROM taken)
),
undecided AS (
    INSERT INTO decision_work (shard, due_ms, id, profile)
    SELECT shard, due_ms, id, profile FROM unnest($53::int[], $54::smallint[], $55::bigint[], $56::text[], $57::text[])
        AS w (unit, shard, due_ms, id, profile)
    WHERE unit NOT IN (SELECT unit FROM taken)
),
batch AS (
    INSERT INTO batch (id, at_ms, refused) SELECT $1, $2, ARRAY(SELECT unit FROM taken) WHERE $1::text IS NOT NULL
)
SELECT p.block, t.unit, t.scope, t.is_same, t.answer_status, t.answer_body, t.event,
    -- When another node took a claim between our look and our insert, this divides by zero and nothing is written.
    1 / CASE WHEN (SELECT count(*) FROM wanted WHERE unit NOT IN (SELECT unit FROM taken))
        = (SELECT count(*) FROM claimed) THEN 1 ELSE 0 END AS guard
FROM place AS p LEFT JOIN taken AS t ON true

-- begin_batch: Begin a batch that may have been committed before, waiting for whoever is about to; tell what it refused.
INSERT INTO batch (id, at_ms, refused) VALUES ($1, $2, '{}')
ON CONFLICT (id) DO UPDATE SET at_ms = excluded.at_ms RETURNING xmax <> 0 AS was_there, refused

-- finish_batch: Remember what a batch of several statements refused.
UPDATE batch SET refused = $2 WHERE id = $1

-- find_claims: Read what took the first taken claim of each unit, also when it has expired meanwhile.
SELECT DISTINCT ON (w.unit) w.unit, w.scope, c.fingerprint = w.fingerprint AS is_same, c.answer_status, c.answer_body,
    c.event
FROM unnest($1::int[], $2::text[], $3::text[], $4::bytea[])
    WITH ORDINALITY AS w (unit, scope, key, fingerprint, nth)
JOIN claim AS c ON c.scope = w.scope AND c.key = w.key ORDER BY w.unit, w.nth

-- find_claim: Read one unexpired claim.
SELECT fingerprint, answer_status, answer_body, event, expires_ms FROM claim
WHERE scope = $1 AND key = $2 AND expires_ms > $3

-- ready_window: List lanes with a delivery that became due in a window of time.
SELECT shard, endpoint, min(due_ms) FROM delivery
WHERE shard = ANY ($1::smallint[]) AND due_ms > $2 AND due_ms <= $3 GROUP BY shard, endpoint

-- ready_all: List lanes with a due delivery by jumping from lane to lane in the primary key.
WITH RECURSIVE lane (shard, endpoint, due_ms) AS (
    SELECT s.id, head.endpoint, head.due_ms FROM unnest($1::smallint[]) AS s (id)
    CROSS JOIN LATERAL (
        SELECT d.endpoint, d.due_ms FROM delivery AS d WHERE d.shard = s.id ORDER BY d.endpoint, d.due_ms LIMIT 1
    ) AS head
    UNION ALL
    SELECT lane.shard, head.endpoint, head.due_ms FROM lane
    CROSS JOIN LATERAL (
        SELECT d.endpoint, d.due_ms FROM delivery AS d
        WHERE d.shard = lane.shard AND d.endpoint > lane.endpoint ORDER BY d.endpoint, d.due_ms LIMIT 1
    ) AS head
)
SELECT shard, endpoint, due_ms FROM lane WHERE due_ms <= $2

-- take: Read the head of several lanes, each behind a row of its own.
SELECT r.nth, d.id, d.due_ms, d.event, d.attempts, d.step, d.trigger
FROM unnest($1::smallint[], $2::text[], $3::bigint[], $4::text[], $5::int[])
    WITH ORDINALITY AS r (shard, endpoint, after_ms, after_id, room, nth)
CROSS JOIN LATERAL (
    SELECT * FROM delivery AS d
    WHERE d.shard = r.shard AND d.endpoint = r.endpoint AND (d.due_ms, d.id) > (r.after_ms, r.after_id)
        AND d.due_ms <= $6
    ORDER BY d.due_ms, d.id LIMIT r.room
) AS d

-- payloads: Read the bytes of events in the given order, from their own row or from the captured request, up to a size.
SELECT id, type, body, content_type, content_encoding FROM (
    SELECT e.id, e.type, coalesce(e.payload, r.body, '') AS body, e.content_type, e.content_encoding,
        sum(octet_length(coalesce(e.payload, r.body, ''))) OVER (ORDER BY w.nth ROWS UNBOUNDED PRECEDING)
            - octet_length(coalesce(e.payload, r.body, '')) AS before
    FROM unnest($1::text[]) WITH ORDINALITY AS w (id, nth)
    CROSS JOIN LATERAL (SELECT * FROM event AS e WHERE e.id = w.id AND e.seq >= $2 AND e.seq < $3 LIMIT 1) AS e
    LEFT JOIN LATERAL (
        SELECT body FROM request AS r
        WHERE e.payload IS NULL AND r.id = e.request AND r.seq >= $2 AND r.seq < $3 LIMIT 1
    ) AS r ON true
) AS found WHERE before < $4

-- rendered: Read rendered requests.
SELECT delivery, shown, sealed FROM rendered WHERE delivery = ANY ($1::text[])

-- settle: Apply outcomes to deliveries that are unchanged under an epoch that holds; tell which were not.
WITH place AS MATERIALIZED (
    SELECT block, ($2::bigint << 20) + (block << 10) AS seq FROM (SELECT nextval('seq_block') & 1023 AS block) AS drawn
),
wish AS MATERIALIZED (
    SELECT * FROM unnest($3::int[], $4::smallint[], $5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::bigint[],
            $10::smallint[], $11::smallint[], $12::text[], $13::text[], $14::text[])
        AS w (n, shard, endpoint, due_ms, id, epoch, next_ms, step, attempts, trigger, event, cancelled)
),
held AS MATERIALIZED (
    SELECT id, epoch FROM shard WHERE stage = 'deliver' AND id = ANY (ARRAY(SELECT DISTINCT shard FROM wish))
),
live AS MATERIALIZED (
    SELECT w.* FROM wish AS w JOIN held AS s ON s.id = w.shard AND s.epoch = w.epoch
),
gone AS (
    DELETE FROM delivery AS d USING live AS w
    WHERE w.next_ms IS NULL
        AND d.shard = w.shard AND d.endpoint = w.endpoint AND d.due_ms = w.due_ms AND d.id = w.id
    RETURNING w.n
),
moved AS (
    UPDATE delivery AS d SET due_ms = w.next_ms, step = w.step, attempts = w.attempts, trigger = w.trigger
    FROM live AS w
    WHERE w.next_ms IS NOT NULL
        AND d.shard = w.shard AND d.endpoint = w.endpoint AND d.due_ms = w.due_ms AND d.id = w.id
    RETURNING w.n
),
undone AS MATERIALIZED (
    SELECT n FROM wish EXCEPT ALL (SELECT n FROM gone UNION ALL SELECT n FROM moved)
),
attempts AS (
    INSERT INTO attempt (seq, id, workspace, application, delivery, event, endpoint, number, trigger, state,
        started_ms, next_ms, method, url, request_headers, response_status, response_headers, error, detail, dns_us,
        connect_us, tls_us, wait_us, total_us, response_body)
    SELECT p.seq + a.nth - 1, a.id, a.workspace, a.application, a.delivery, a.event, a.endpoint, a.number, a.trigger,
        a.state, a.started_ms, a.next_ms, a.method, a.url, a.request_headers, a.response_status, a.response_headers,
        a.error, a.detail, a.dns_us, a.connect_us, a.tls_us, a.wait_us, a.total_us, a.response_body
    FROM unnest($15::int[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::text[],
            $22::smallint[], $23::text[], $24::text[], $25::bigint[], $26::bigint[], $27::text[], $28::text[],
            $29::bytea[], $30::smallint[], $31::bytea[], $32::text[], $33::text[], $34::bigint[], $35::bigint[],
            $36::bigint[], $37::bigint[], $38::bigint[], $39::bytea[])
        WITH ORDINALITY AS a (n, id, workspace, application, delivery, event, endpoint, number, trigger, state,
            started_ms, next_ms, method, url, request_headers, response_status, response_headers, error, detail,
            dns_us, connect_us, tls_us, wait_us, total_us, response_body, nth)
    CROSS JOIN place AS p WHERE a.n NOT IN (SELECT n FROM undone)
),
cancelled AS (
    INSERT INTO cancelled (delivery, event, endpoint, reason, cancelled_ms)
    SELECT id, event, endpoint, cancelled, $2 FROM wish
    WHERE cancelled IS NOT NULL AND n NOT IN (SELECT n FROM undone) ORDER BY id
    ON CONFLICT (delivery) DO UPDATE SET event = excluded.event, endpoint = excluded.endpoint,
        reason = excluded.reason, cancelled_ms = excluded.cancelled_ms
),
batch AS (
    INSERT INTO batch (id, at_ms, refused) SELECT $1, $2, ARRAY(SELECT n FROM undone) WHERE $1::text IS NOT NULL
)
SELECT block, ARRAY(SELECT n FROM undone) AS refused FROM place

-- dequeue: Take one delivery off the queue and tell how far it came.
DELETE FROM delivery WHERE id = $1 RETURNING event, endpoint, attempts, step

-- attempts_made: Count the attempts of a delivery that is on the queue no more.
SELECT coalesce(max(number), 0) FROM attempt WHERE delivery = $1

-- requeue: Queue one delivery by hand, and forget that it was cancelled.
WITH back AS (DELETE FROM cancelled WHERE delivery = $4)
INSERT INTO delivery (shard, endpoint, due_ms, id, event, attempts, step, trigger)
VALUES ($1, $2, $3, $4, $5, $6, $7, 'manual')

-- put_rendered: Keep a rendered request in place of the one before.
INSERT INTO rendered (delivery, shown, sealed) VALUES ($1, $2, $3)
ON CONFLICT (delivery) DO UPDATE SET shown = excluded.shown, sealed = excluded.sealed

-- remember_cancelled: Remember a delivery that ended without an attempt.
INSERT INTO cancelled (delivery, event, endpoint, reason, cancelled_ms) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (delivery) DO UPDATE SET event = excluded.event, endpoint = excluded.endpoint, reason = excluded.reason,
    cancelled_ms = excluded.cancelled_ms

-- take_decisions: Read the heads of the deciding queues of shards, the oldest first.
SELECT w.id, w.shard, w.profile, w.due_ms FROM unnest($1::smallint[]) AS s (id)
CROSS JOIN LATERAL (
    SELECT * FROM decision_work AS w WHERE w.shard = s.id AND w.due_ms <= $2 AND w.due_ms >= $4
    ORDER BY w.due_ms, w.id LIMIT $3
) AS w ORDER BY w.due_ms, w.id LIMIT $3

-- decided_events: Read events in the given order with their bytes and the head of their request, up to a size.
SELECT id, workspace, type, occurred_ms, received_ms, "user", uid, source, request, application, channels, content_type,
    content_encoding, body, head
FROM (
    SELECT e.id, e.workspace, e.type, e.occurred_ms, e.received_ms, e."user", e.uid, e.source, e.request, e.application,
        e.channels, e.content_type, e.content_encoding, coalesce(e.payload, r.body) AS body, r.head,
        sum(coalesce(octet_length(coalesce(e.payload, r.body)), 0)) OVER (ORDER BY w.nth ROWS UNBOUNDED PRECEDING)
            - coalesce(octet_length(coalesce(e.payload, r.body)), 0) AS before
    FROM unnest($1::text[]) WITH ORDINALITY AS w (id, nth)
    CROSS JOIN LATERAL (SELECT * FROM event AS e WHERE e.id = w.id AND e.seq >= $2 AND e.seq < $3 LIMIT 1) AS e
    LEFT JOIN LATERAL (
        SELECT body, head FROM request AS r WHERE r.id = e.request AND r.seq >= $2 AND r.seq < $3 LIMIT 1
    ) AS r ON true
) AS found WHERE before < $4

-- settle_decisions: Commit all that events' decisions change, under epochs that nobody can raise before we commit.
WITH place AS MATERIALIZED (
    SELECT block, ($2::bigint << 20) + (block << 10) AS seq FROM (SELECT nextval('seq_block') & 1023 AS block) AS drawn
),
wish AS MATERIALIZED (
    SELECT * FROM unnest($3::int[], $4::smallint[], $5::bigint[], $6::text[], $7::bigint[])
        AS w (n, shard, due_ms, id, epoch)
),
held AS MATERIALIZED (
    -- In the order of leases.sql: who renews or takes over waits for us, or we for them, but never both.
    SELECT id, epoch FROM shard WHERE stage = 'decide' AND id = ANY ($4) ORDER BY id FOR SHARE
),
gone AS (
    DELETE FROM decision_work AS d USING wish AS w, held AS s
    WHERE s.id = w.shard AND s.epoch = w.epoch AND d.shard = w.shard AND d.due_ms = w.due_ms AND d.id = w.id
    RETURNING w.n
),
undone AS MATERIALIZED (SELECT n FROM wish EXCEPT ALL SELECT n FROM gone),
decisions AS (
    INSERT INTO decision (seq, id, workspace, automation, version, event, profile, decided_ms, outcome, reason, detail,
        data, delivery)
    SELECT p.seq + d.nth - 1, d.id, d.workspace, d.automation, d.version, d.event, d.profile, d.decided_ms, d.outcome,
        d.reason, d.detail, d.data, d.delivery
    FROM unnest($8::int[], $9::text[], $10::text[], $11::text[], $12::bigint[], $13::text[], $14::text[],
            $15::bigint[], $16::text[], $17::text[], $18::text[], $19::bytea[], $20::text[])
        WITH ORDINALITY AS d (n, id, workspace, automation, version, event, profile, decided_ms, outcome, reason,
            detail, data, delivery, nth)
    CROSS JOIN place AS p WHERE d.n NOT IN (SELECT n FROM undone)
),
deliveries AS (
    INSERT INTO delivery (shard, endpoint, due_ms, id, event, attempts, step, trigger)
    SELECT shard, endpoint, due_ms, id, event, 0, 0, 'scheduled'
    FROM unnest($21::int[], $22::smallint[], $23::text[], $24::bigint[], $25::text[], $26::text[])
        AS d (n, shard, endpoint, due_ms, id, event)
    WHERE n NOT IN (SELECT n FROM undone)
),
rendered AS (
    INSERT INTO rendered (delivery, shown, sealed)
    SELECT delivery, shown, sealed FROM unnest($27::int[], $28::text[], $29::bytea[], $30::text[])
        AS r (n, delivery, shown, sealed)
    WHERE n NOT IN (SELECT n FROM undone)
),
firings AS (
    INSERT INTO firing AS f (automation, profile, key, times, last_ms)
    SELECT DISTINCT ON (automation, profile, key) automation, profile, key, times, last_ms
    FROM unnest($31::int[], $32::text[], $33::text[], $34::text[], $35::bigint[], $36::bigint[])
        WITH ORDINALITY AS f (n, automation, profile, key, times, last_ms, nth)
    WHERE n NOT IN (SELECT n FROM undone) ORDER BY automation, profile, key, nth DESC
    ON CONFLICT (automation, profile, key) DO UPDATE SET times = excluded.times, last_ms = excluded.last_ms
),
counts AS (
    INSERT INTO event_count AS c (profile, type, count, first_ms, last_ms)
    SELECT profile, type, count(*), min(at_ms), max(at_ms)
    FROM unnest($37::int[], $38::text[], $39::text[], $40::bigint[]) AS e (n, profile, type, at_ms)
    WHERE n NOT IN (SELECT n FROM undone) GROUP BY profile, type ORDER BY profile, type
    ON CONFLICT (profile, type) DO UPDATE SET count = c.count + excluded.count,
        first_ms = least(c.first_ms, excluded.first_ms), last_ms = greatest(c.last_ms, excluded.last_ms)
),
batch AS (
    INSERT INTO batch (id, at_ms, refused) SELECT $1, $2, ARRAY(SELECT n FROM undone) WHERE $1::text IS NOT NULL
)
SELECT block, ARRAY(SELECT n FROM undone) AS refused FROM place

-- firings: Read what is remembered of eligibility keys.
SELECT f.automation, f.profile, f.key, f.times, f.last_ms
FROM unnest($1::text[], $2::text[], $3::text[]) AS w (automation, profile, key)
JOIN firing AS f ON f.automation = w.automation AND f.profile = w.profile AND f.key = w.key

-- event_counts: Read a profile's counters, by type.
SELECT type, count, first_ms, last_ms FROM event_count WHERE profile = $1 ORDER BY type

-- lease: Extend what a node holds of a stage, and take over some of what nobody holds.
WITH mine AS MATERIALIZED (
    SELECT id FROM shard WHERE stage = $1 AND owner = $2 ORDER BY id FOR NO KEY UPDATE
),
free AS MATERIALIZED (
    SELECT id FROM shard WHERE stage = $1 AND (owner IS NULL OR until_ms <= $3 AND owner <> $2) ORDER BY id LIMIT $5
    FOR NO KEY UPDATE SKIP LOCKED
),
extended AS (
    UPDATE shard AS s SET until_ms = $4 FROM mine WHERE s.stage = $1 AND s.id = mine.id RETURNING s.id, s.epoch
),
won AS (
    UPDATE shard AS s SET owner = $2, epoch = s.epoch + 1, until_ms = $4 FROM free
    WHERE s.stage = $1 AND s.id = free.id RETURNING s.id, s.epoch
)
SELECT id, epoch FROM extended UNION ALL SELECT id, epoch FROM won ORDER BY id

-- release: Give up shards of a node, all of a stage when none are named.
WITH mine AS MATERIALIZED (
    SELECT id FROM shard WHERE stage = $1 AND owner = $2 AND ($3::smallint[] IS NULL OR id = ANY ($3))
    ORDER BY id FOR NO KEY UPDATE
)
UPDATE shard AS s SET owner = NULL, until_ms = 0 FROM mine WHERE s.stage = $1 AND s.id = mine.id

-- announce: Record that a node lives, forget those unseen for long, and list those that are alive.
WITH own AS (
    INSERT INTO node (id, name, version, roles, started_ms, seen_ms, until_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, version = excluded.version, roles = excluded.roles,
        started_ms = excluded.started_ms, seen_ms = excluded.seen_ms, until_ms = excluded.until_ms
    RETURNING *
),
lost AS (DELETE FROM node WHERE seen_ms <= $8 AND id <> $1)
SELECT * FROM own WHERE until_ms > $6
UNION ALL
SELECT * FROM node WHERE id <> $1 AND until_ms > $6 AND seen_ms > $8
ORDER BY id

-- withdraw: Forget a node.
DELETE FROM node WHERE id = $1

-- nodes: Describe the nodes that are alive: how many shards each owns, and the oldest work in them.
SELECT n.*,
    count(s.id) FILTER (WHERE s.stage = 'decide') AS deciding,
    count(s.id) FILTER (WHERE s.stage = 'deliver') AS delivering,
    min(CASE WHEN s.stage = 'decide' THEN
        (SELECT w.due_ms FROM decision_work AS w WHERE w.shard = s.id ORDER BY w.due_ms LIMIT 1) END) AS decide_ms,
    min(CASE WHEN s.stage = 'deliver' THEN
        (SELECT d.due_ms FROM delivery AS d WHERE d.shard = s.id ORDER BY d.due_ms LIMIT 1) END) AS deliver_ms
FROM node AS n LEFT JOIN shard AS s ON s.owner = n.id AND s.until_ms > $1
WHERE n.until_ms > $1 GROUP BY n.id ORDER BY n.id

-- forget_claims: Delete claims that have expired.
DELETE FROM claim WHERE (scope, key) IN
    (SELECT scope, key FROM claim WHERE expires_ms <= $1 ORDER BY expires_ms LIMIT $2 FOR UPDATE SKIP LOCKED)

-- forget_batches: Delete batches that nobody asks for any more.
DELETE FROM batch WHERE id < $1

-- partitions: List the journal's partitions by table, attached or on their way out.
SELECT parent.relname, part.relname,
    CASE WHEN i.inhrelid IS NULL THEN 'detached' WHEN i.inhdetachpending THEN 'detaching' ELSE 'attached' END
FROM pg_class AS parent
JOIN pg_class AS part ON part.relnamespace = parent.relnamespace AND part.relkind = 'r'
    AND part.relname ~ ('^' || parent.relname || '_d\d+$')
LEFT JOIN pg_inherits AS i ON i.inhrelid = part.oid
WHERE parent.oid IN ('request'::regclass, 'event'::regclass, 'attempt'::regclass, 'decision'::regclass)

-- prune_attempts: Delete old attempts, but not those of pending deliveries.
DELETE FROM attempt WHERE seq IN (SELECT a.seq FROM attempt AS a WHERE a.seq < $2 AND a.started_ms < $1
    AND NOT EXISTS (SELECT FROM delivery AS d WHERE d.id = a.delivery) ORDER BY a.seq LIMIT $3)

-- prune_decisions: Delete old decisions, but not those whose delivery is pending.
DELETE FROM decision WHERE seq IN (SELECT c.seq FROM decision AS c WHERE c.seq < $2 AND c.decided_ms < $1
    AND NOT EXISTS (SELECT FROM delivery AS d WHERE d.id = c.delivery) ORDER BY c.seq LIMIT $3)

-- prune_events: Delete old events that nothing waits for.
DELETE FROM event WHERE seq IN (SELECT e.seq FROM event AS e WHERE e.seq < $2 AND e.received_ms < $1
    AND NOT EXISTS (SELECT FROM delivery AS d WHERE d.event = e.id)
    AND NOT EXISTS (SELECT FROM decision_work AS w WHERE w.id = e.id) ORDER BY e.seq LIMIT $3)

-- prune_requests: Delete old requests whose event is gone. A request and its event are numbered in one block.
DELETE FROM request WHERE seq IN (SELECT r.seq FROM request AS r WHERE r.seq < $2 AND r.received_ms < $1
    AND NOT EXISTS (SELECT FROM event AS e WHERE e.id = r.event AND e.request = r.id
        AND e.seq > r.seq AND e.seq < r.seq + 1024) ORDER BY r.seq LIMIT $3)

-- prune_rendered: Delete rendered requests of deliveries that ended.
DELETE FROM rendered WHERE delivery IN (SELECT r.delivery FROM rendered AS r WHERE r.delivery < $1
    AND NOT EXISTS (SELECT FROM delivery AS d WHERE d.id = r.delivery) ORDER BY r.delivery LIMIT $2)

-- prune_cancelled: Delete what is remembered of cancelled deliveries.
DELETE FROM cancelled WHERE delivery IN (SELECT delivery FROM cancelled
    WHERE delivery < $1 AND cancelled_ms < $2 ORDER BY delivery LIMIT $3)
