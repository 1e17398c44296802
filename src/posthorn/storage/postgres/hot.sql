-- The hot statements. Each has a name and one sentence; statements.py reads them.
-- Lines behind `--|` belong to a statement's whole form, which is run when there is something for them to do.
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
        channels, content_type, content_encoding, payload, context)
    SELECT p.seq + cardinality($11::int[]) + e.nth - 1, e.id, e.workspace, e.type, e.occurred_ms, e.received_ms,
        e."user", e.uid, e.source, e.request, e.application, e.channels, e.content_type, e.content_encoding, e.payload,
        e.context
    FROM unnest($28::int[], $29::text[], $30::text[], $31::text[], $32::bigint[], $33::bigint[], $34::text[],
            $35::text[], $36::text[], $37::text[], $38::text[], $39::text[], $40::text[], $41::text[], $42::bytea[],
            $43::bytea[])
        WITH ORDINALITY AS e (unit, id, workspace, type, occurred_ms, received_ms, "user", uid, source, request,
            application, channels, content_type, content_encoding, payload, context, nth)
    CROSS JOIN place AS p WHERE e.unit NOT IN (SELECT unit FROM taken)
),
deliveries AS (
    INSERT INTO delivery (shard, endpoint, due_ms, id, event, attempts, step, trigger)
    SELECT shard, endpoint, due_ms, id, event, 0, 0, 'scheduled'
    FROM unnest($44::int[], $45::smallint[], $46::text[], $47::bigint[], $48::text[], $49::text[])
        AS d (unit, shard, endpoint, due_ms, id, event)
    WHERE unit NOT IN (SELECT unit FROM taken)
),
rendered AS (
    INSERT INTO rendered (delivery, shown, sealed, tells)
    SELECT delivery, shown, sealed, tells FROM unnest($50::int[], $51::text[], $52::bytea[], $53::text[], $54::bytea[])
        AS r (unit, delivery, shown, sealed, tells)
    WHERE unit NOT IN (SELECT unit FROM taken)
),
undecided AS (
    INSERT INTO decision_work (shard, due_ms, id, profile)
    SELECT shard, due_ms, id, profile FROM unnest($55::int[], $56::smallint[], $57::bigint[], $58::text[], $59::text[])
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
-- The bounds of seq choose partitions, and nothing else. Where both are plain comparisons the planner takes a range for
-- so narrow that in a day without statistics it may walk all of it by seq, instead of finding the id.
SELECT id, type, body, content_type, content_encoding FROM (
    SELECT e.id, e.type, coalesce(e.payload, r.body, '') AS body, e.content_type, e.content_encoding,
        sum(octet_length(coalesce(e.payload, r.body, ''))) OVER (ORDER BY w.nth ROWS UNBOUNDED PRECEDING)
            - octet_length(coalesce(e.payload, r.body, '')) AS before
    FROM unnest($1::text[]) WITH ORDINALITY AS w (id, nth)
    CROSS JOIN LATERAL (
        SELECT * FROM event AS e WHERE e.id = w.id AND e.seq >= $2 AND e.seq < ANY (ARRAY[$3::bigint]) LIMIT 1
    ) AS e
    LEFT JOIN LATERAL (
        SELECT body FROM request AS r
        WHERE e.payload IS NULL AND r.id = e.request AND r.seq >= $2 AND r.seq < ANY (ARRAY[$3::bigint]) LIMIT 1
    ) AS r ON true
) AS found WHERE before < $4

-- rendered: Read rendered requests.
SELECT delivery, shown, sealed, tells FROM rendered WHERE delivery = ANY ($1::text[])

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
--| told AS (
--|     INSERT INTO timer (due_ms, id, shard, profile, kind, about, data)
--|     SELECT $2, id, shard, profile, kind, about, data
--|     FROM unnest($40::int[], $41::text[], $42::smallint[], $43::text[], $44::text[], $45::text[], $46::bytea[])
--|         AS t (n, id, shard, profile, kind, about, data)
--|     WHERE n NOT IN (SELECT n FROM undone) ORDER BY id
--|     ON CONFLICT (id) DO NOTHING
--| ),
batch AS (
    INSERT INTO batch (id, at_ms, refused) SELECT $1, $2, ARRAY(SELECT n FROM undone) WHERE $1::text IS NOT NULL
)
SELECT block, ARRAY(SELECT n FROM undone) AS refused FROM place

-- keep_event: Tell whether an event is there, and let nobody delete it until we commit.
SELECT 1 FROM event WHERE id = $1 AND seq >= $2 FOR KEY SHARE

-- dequeue: Take one delivery off the queue and tell how far it came.
DELETE FROM delivery WHERE id = $1 RETURNING event, endpoint, attempts, step

-- attempts_made: Count the attempts of a delivery that is on the queue no more.
SELECT coalesce(max(number), 0) FROM attempt WHERE delivery = $1

-- requeue: Queue one delivery by hand, and forget that it was cancelled.
WITH back AS (DELETE FROM cancelled WHERE delivery = $4)
INSERT INTO delivery (shard, endpoint, due_ms, id, event, attempts, step, trigger)
VALUES ($1, $2, $3, $4, $5, $6, $7, 'manual')

-- put_rendered: Keep a rendered request in place of the one before.
INSERT INTO rendered (delivery, shown, sealed, tells) VALUES ($1, $2, $3, $4)
ON CONFLICT (delivery) DO UPDATE SET shown = excluded.shown, sealed = excluded.sealed,
    tells = excluded.tells

-- remember_cancelled: Remember a delivery that ended without an attempt.
INSERT INTO cancelled (delivery, event, endpoint, reason, cancelled_ms) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (delivery) DO UPDATE SET event = excluded.event, endpoint = excluded.endpoint, reason = excluded.reason,
    cancelled_ms = excluded.cancelled_ms

-- tell: Queue a timer unless one with its id waits.
INSERT INTO timer (due_ms, id, shard, profile, kind, about, data) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (id) DO NOTHING

-- take_decisions: Read the heads of the deciding queues of shards, events and timers, the oldest first.
SELECT w.due_ms, w.id, w.shard, w.profile, w.kind, w.about, w.data FROM unnest($1::smallint[]) AS s (id)
CROSS JOIN LATERAL (
    (SELECT due_ms, id, shard, profile, NULL::text AS kind, NULL::text AS about, NULL::bytea AS data
    FROM decision_work AS w WHERE w.shard = s.id AND w.due_ms <= $2 AND w.due_ms >= $4
    ORDER BY w.due_ms, w.id LIMIT $3)
    UNION ALL
    (SELECT due_ms, id, shard, profile, kind, about, data
    FROM timer AS t WHERE t.shard = s.id AND t.due_ms <= $2 AND t.due_ms >= $4
        -- Asked once for all shards: most of the time no timer is due, and then none is looked at shard by shard.
        AND (SELECT EXISTS (SELECT FROM timer AS any_timer WHERE any_timer.due_ms <= $2 AND any_timer.due_ms >= $4))
    ORDER BY t.due_ms, t.id LIMIT $3)
) AS w ORDER BY w.due_ms, w.id LIMIT $3

-- decided_events: Read events in the given order with their bytes and the head of their request, up to a size.
SELECT id, workspace, type, occurred_ms, received_ms, "user", uid, source, request, application, channels, content_type,
    content_encoding, body, head, context
FROM (
    SELECT e.id, e.workspace, e.type, e.occurred_ms, e.received_ms, e."user", e.uid, e.source, e.request, e.application,
        e.channels, e.content_type, e.content_encoding, coalesce(e.payload, r.body) AS body, r.head, e.context,
        sum(coalesce(octet_length(coalesce(e.payload, r.body)), 0)) OVER (ORDER BY w.nth ROWS UNBOUNDED PRECEDING)
            - coalesce(octet_length(coalesce(e.payload, r.body)), 0) AS before
    FROM unnest($1::text[]) WITH ORDINALITY AS w (id, nth)
    CROSS JOIN LATERAL (
        SELECT * FROM event AS e WHERE e.id = w.id AND e.seq >= $2 AND e.seq < ANY (ARRAY[$3::bigint]) LIMIT 1
    ) AS e
    LEFT JOIN LATERAL (
        SELECT body, head FROM request AS r
        WHERE r.id = e.request AND r.seq >= $2 AND r.seq < ANY (ARRAY[$3::bigint]) LIMIT 1
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
    SELECT id, epoch FROM shard WHERE stage = 'decide' AND id = ANY ($42::smallint[]) ORDER BY id FOR SHARE
),
gone AS (
    DELETE FROM decision_work AS d USING wish AS w, held AS s
    WHERE s.id = w.shard AND s.epoch = w.epoch AND d.shard = w.shard AND d.due_ms = w.due_ms AND d.id = w.id
    RETURNING w.n
),
--| other AS MATERIALIZED (
--|     SELECT o.* FROM unnest($43::int[], $44::bool[], $45::smallint[], $46::bigint[], $47::text[], $48::bigint[],
--|             $49::smallint[], $50::bigint[], $51::text[], $52::text[], $53::text[], $54::bytea[])
--|         AS o (n, is_timer, shard, due_ms, id, epoch, next_shard, next_ms, profile, kind, about, data)
--|     JOIN held AS s ON s.id = o.shard AND s.epoch = o.epoch
--| ),
--| moved_events AS (
--|     UPDATE decision_work AS d SET shard = o.next_shard, profile = o.profile FROM other AS o
--|     WHERE NOT o.is_timer AND d.shard = o.shard AND d.due_ms = o.due_ms AND d.id = o.id
--|     RETURNING o.n
--| ),
--| gone_timers AS (
--|     DELETE FROM timer AS t USING other AS o
--|     WHERE o.is_timer AND o.next_shard IS NULL AND t.shard = o.shard AND t.due_ms = o.due_ms AND t.id = o.id
--|     RETURNING o.n
--| ),
--| moved_timers AS (
--|     UPDATE timer AS t SET shard = o.next_shard, due_ms = o.next_ms, profile = o.profile,
--|         kind = coalesce(o.kind, t.kind), about = coalesce(o.about, t.about), data = coalesce(o.data, t.data)
--|     FROM other AS o
--|     WHERE o.is_timer AND o.next_shard IS NOT NULL AND t.shard = o.shard AND t.due_ms = o.due_ms AND t.id = o.id
--|     RETURNING o.n
--| ),
undone AS MATERIALIZED (
    SELECT n FROM wish
--|     UNION ALL SELECT n FROM unnest($43::int[]) AS o (n)
    EXCEPT ALL SELECT n FROM gone
--|     EXCEPT ALL SELECT n FROM moved_events EXCEPT ALL SELECT n FROM gone_timers EXCEPT ALL SELECT n FROM moved_timers
),
decisions AS (
    INSERT INTO decision (seq, id, workspace, automation, version, event, profile, decided_ms, outcome, reason, detail,
        data, delivery)
    SELECT p.seq + d.nth - 1
--|         + cardinality($55::int[])
        , d.id, d.workspace, d.automation, d.version, d.event, d.profile, d.decided_ms, d.outcome,
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
    INSERT INTO rendered (delivery, shown, sealed, tells)
    SELECT delivery, shown, sealed, tells FROM unnest($27::int[], $28::text[], $29::bytea[], $30::text[], $31::bytea[])
        AS r (n, delivery, shown, sealed, tells)
    WHERE n NOT IN (SELECT n FROM undone)
),
firings AS (
    INSERT INTO firing AS f (automation, profile, key, times, last_ms)
    SELECT DISTINCT ON (automation, profile, key) automation, profile, key, times, last_ms
    FROM unnest($32::int[], $33::text[], $34::text[], $35::text[], $36::bigint[], $37::bigint[])
        WITH ORDINALITY AS f (n, automation, profile, key, times, last_ms, nth)
    WHERE n NOT IN (SELECT n FROM undone) ORDER BY automation, profile, key, nth DESC
    ON CONFLICT (automation, profile, key) DO UPDATE SET times = excluded.times, last_ms = excluded.last_ms
),
counts AS (
    INSERT INTO event_count AS c (profile, type, count, first_ms, last_ms)
    SELECT profile, type, count(*), min(at_ms), max(at_ms)
    FROM unnest($38::int[], $39::text[], $40::text[], $41::bigint[]) AS e (n, profile, type, at_ms)
    WHERE n NOT IN (SELECT n FROM undone) GROUP BY profile, type ORDER BY profile, type
    ON CONFLICT (profile, type) DO UPDATE SET count = c.count + excluded.count,
        first_ms = least(c.first_ms, excluded.first_ms), last_ms = greatest(c.last_ms, excluded.last_ms)
),
--| events AS (
--|     INSERT INTO event (seq, id, workspace, type, occurred_ms, received_ms, "user", uid, source, request,
--|         application, channels, content_type, content_encoding, payload, context)
--|     SELECT p.seq + e.nth - 1, e.id, e.workspace, e.type, e.occurred_ms, e.received_ms, e."user", e.uid, e.source,
--|         e.request, e.application, e.channels, e.content_type, e.content_encoding, e.payload, e.context
--|     FROM unnest($55::int[], $56::text[], $57::text[], $58::text[], $59::bigint[], $60::bigint[], $61::text[],
--|             $62::text[], $63::text[], $64::text[], $65::text[], $66::text[], $67::text[], $68::text[], $69::bytea[],
--|             $70::bytea[])
--|         WITH ORDINALITY AS e (n, id, workspace, type, occurred_ms, received_ms, "user", uid, source, request,
--|             application, channels, content_type, content_encoding, payload, context, nth)
--|     CROSS JOIN place AS p WHERE e.n NOT IN (SELECT n FROM undone)
--| ),
--| undecided AS (
--|     INSERT INTO decision_work (shard, due_ms, id, profile)
--|     SELECT shard, due_ms, id, profile
--|     FROM unnest($71::int[], $72::smallint[], $73::bigint[], $74::text[], $75::text[])
--|         AS w (n, shard, due_ms, id, profile)
--|     WHERE n NOT IN (SELECT n FROM undone)
--| ),
--| profiles AS (
--|     INSERT INTO profile (key, workspace, "user", merged, created_ms, updated_ms, document)
--|     SELECT DISTINCT ON (key) key, workspace, "user", merged, created_ms, updated_ms, document
--|     FROM unnest($76::int[], $77::text[], $78::text[], $79::text[], $80::text[], $81::bigint[], $82::bigint[],
--|             $83::bytea[])
--|         WITH ORDINALITY AS p (n, key, workspace, "user", merged, created_ms, updated_ms, document, nth)
--|     WHERE n NOT IN (SELECT n FROM undone) ORDER BY key, nth DESC
--|     ON CONFLICT (key) DO UPDATE SET workspace = excluded.workspace, "user" = excluded."user",
--|         merged = excluded.merged, created_ms = excluded.created_ms, updated_ms = excluded.updated_ms,
--|         document = excluded.document
--| ),
--| membership AS MATERIALIZED (
--|     SELECT DISTINCT ON (segment, profile) segment, profile, is_in, since_ms
--|     FROM unnest($84::int[], $85::text[], $86::text[], $87::bool[], $88::bigint[])
--|         WITH ORDINALITY AS m (n, segment, profile, is_in, since_ms, nth)
--|     WHERE n NOT IN (SELECT n FROM undone) ORDER BY segment, profile, nth DESC
--| ),
--| left_out AS (
--|     DELETE FROM member AS m USING membership AS w
--|     WHERE NOT w.is_in AND m.segment = w.segment AND m.profile = w.profile
--| ),
--| let_in AS (
--|     INSERT INTO member (segment, profile, since_ms)
--|     SELECT segment, profile, since_ms FROM membership WHERE is_in ORDER BY segment, profile
--|     ON CONFLICT (segment, profile) DO UPDATE SET since_ms = excluded.since_ms
--| ),
--| runs AS (
--|     INSERT INTO run (id, workspace, automation, version, profile, key, state, entered_ms, changed_ms, wake_ms,
--|         document)
--|     SELECT DISTINCT ON (id) id, workspace, automation, version, profile, key, state, entered_ms, changed_ms,
--|         wake_ms, document
--|     FROM unnest($89::int[], $90::text[], $91::text[], $92::text[], $93::bigint[], $94::text[], $95::text[],
--|             $96::text[], $97::bigint[], $98::bigint[], $99::bigint[], $100::bytea[])
--|         WITH ORDINALITY AS r (n, id, workspace, automation, version, profile, key, state, entered_ms, changed_ms,
--|             wake_ms, document, nth)
--|     WHERE n NOT IN (SELECT n FROM undone) ORDER BY id, nth DESC
--|     ON CONFLICT (id) DO UPDATE SET workspace = excluded.workspace, automation = excluded.automation,
--|         version = excluded.version, profile = excluded.profile, key = excluded.key, state = excluded.state,
--|         entered_ms = excluded.entered_ms, changed_ms = excluded.changed_ms, wake_ms = excluded.wake_ms,
--|         document = excluded.document
--| ),
--| timers AS MATERIALIZED (
--|     -- One without a kind is to be taken off the queue.
--|     SELECT DISTINCT ON (id) due_ms, id, shard, profile, kind, about, data
--|     FROM unnest($101::int[], $102::bigint[], $103::text[], $104::smallint[], $105::text[], $106::text[],
--|             $107::text[], $108::bytea[])
--|         WITH ORDINALITY AS t (n, due_ms, id, shard, profile, kind, about, data, nth)
--|     WHERE n NOT IN (SELECT n FROM undone) ORDER BY id, nth DESC
--| ),
--| unwanted AS (
--|     DELETE FROM timer AS t USING timers AS w WHERE w.kind IS NULL AND t.id = w.id
--| ),
--| queued AS (
--|     INSERT INTO timer (due_ms, id, shard, profile, kind, about, data)
--|     SELECT due_ms, id, shard, profile, kind, about, data FROM timers WHERE kind IS NOT NULL ORDER BY id
--|     ON CONFLICT (id) DO UPDATE SET due_ms = excluded.due_ms, shard = excluded.shard, profile = excluded.profile,
--|         kind = excluded.kind, about = excluded.about, data = excluded.data
--| ),
batch AS (
    INSERT INTO batch (id, at_ms, refused) SELECT $1, $2, ARRAY(SELECT n FROM undone) WHERE $1::text IS NOT NULL
)
SELECT block, ARRAY(SELECT n FROM undone) AS refused FROM place

-- absorb_firings: Add a profile's firings to those of another.
WITH old AS (DELETE FROM firing WHERE profile = $2 RETURNING automation, key, times, last_ms)
INSERT INTO firing AS f (automation, profile, key, times, last_ms)
SELECT automation, $1, key, times, last_ms FROM old
ON CONFLICT (automation, profile, key) DO UPDATE SET times = f.times + excluded.times,
    last_ms = greatest(f.last_ms, excluded.last_ms)

-- absorb_counts: Add a profile's counters to those of another.
WITH old AS (DELETE FROM event_count WHERE profile = $2 RETURNING type, count, first_ms, last_ms)
INSERT INTO event_count AS c (profile, type, count, first_ms, last_ms)
SELECT $1, type, count, first_ms, last_ms FROM old
ON CONFLICT (profile, type) DO UPDATE SET count = c.count + excluded.count,
    first_ms = least(c.first_ms, excluded.first_ms), last_ms = greatest(c.last_ms, excluded.last_ms)

-- firings: Read what is remembered of eligibility keys.
SELECT f.automation, f.profile, f.key, f.times, f.last_ms
FROM unnest($1::text[], $2::text[], $3::text[]) AS w (automation, profile, key)
JOIN firing AS f ON f.automation = w.automation AND f.profile = w.profile AND f.key = w.key

-- counts: Read counters.
SELECT c.profile, c.type, c.count, c.first_ms, c.last_ms
FROM unnest($1::text[], $2::text[]) AS w (profile, type)
JOIN event_count AS c ON c.profile = w.profile AND c.type = w.type

-- profiles: Read profiles.
SELECT key, document FROM profile WHERE key = ANY ($1::text[])

-- active_runs: Read the runs of profiles that wait.
SELECT id, workspace, automation, version, profile, key, state, entered_ms, changed_ms, wake_ms, document FROM run
WHERE profile = ANY ($1::text[]) AND state = 'active'

-- runs: Read runs.
SELECT id, workspace, automation, version, profile, key, state, entered_ms, changed_ms, wake_ms, document FROM run
WHERE id = ANY ($1::text[])

-- answers: Read the last attempt of each delivery, none of which is older than a place in the journal.
SELECT a.id, a.workspace, a.application, a.delivery, a.event, a.endpoint, a.number, a.trigger, a.state, a.started_ms,
    a.next_ms, a.method, a.url, a.request_headers, a.response_status, a.response_headers, a.error, a.detail, a.dns_us,
    a.connect_us, a.tls_us, a.wait_us, a.total_us, a.response_body
FROM unnest($1::text[]) AS w (id)
CROSS JOIN LATERAL (
    SELECT * FROM attempt AS a WHERE a.delivery = w.id AND a.seq >= $2 ORDER BY a.number DESC LIMIT 1
) AS a

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
        least((SELECT w.due_ms FROM decision_work AS w WHERE w.shard = s.id ORDER BY w.due_ms LIMIT 1),
            (SELECT t.due_ms FROM timer AS t WHERE t.shard = s.id ORDER BY t.due_ms LIMIT 1)) END) AS decide_ms,
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

-- prune_decisions: Delete old decisions, but not those whose delivery is pending, nor those that let a person in while
-- there are attempts of the event. An attempt is made after its decision; clocks of nodes differ by ten minutes at most.
DELETE FROM decision WHERE seq IN (SELECT c.seq FROM decision AS c WHERE c.seq < $2 AND c.decided_ms < $1
    AND NOT EXISTS (SELECT FROM delivery AS d WHERE d.id = c.delivery)
    AND NOT (c.outcome = 'fired' AND strpos(c.profile, '/user/') > 0 AND EXISTS (
        SELECT FROM attempt AS a WHERE a.event = c.event AND a.seq > c.seq - (600000::bigint << 20)))
    ORDER BY c.seq LIMIT $3)

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

-- prune_runs: Delete runs that ended, but not while a delivery of their event is pending or an attempt of it is kept.
-- The event is what a document begins with; as JSON it could not be read, for that may have U+0000 in it.
DELETE FROM run WHERE id IN (SELECT r.id FROM run AS r
    CROSS JOIN LATERAL (SELECT substring(encode(substring(r.document FROM 1 FOR 100), 'escape')
        FROM '^\{"happening":\{"id":"([^"\\]+)"') AS event) AS entering
    WHERE r.state <> 'active' AND r.changed_ms < $1
    AND NOT EXISTS (SELECT FROM delivery AS d WHERE d.event = entering.event)
    AND NOT EXISTS (SELECT FROM attempt AS a
        WHERE a.event = entering.event AND a.seq > (r.entered_ms - 600000) << 20)
    ORDER BY r.changed_ms LIMIT $2)
