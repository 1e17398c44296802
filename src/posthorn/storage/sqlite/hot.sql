-- The hot statements. Each has a name and one sentence; `:rows` and `:list` are spelled out by statements.py.

-- claim_all: Take claims, also expired ones; the change count tells whether all were free.
INSERT INTO claim (scope, key, fingerprint, answer_status, answer_body, event, expires_ms)
SELECT column1, column2, column3, column4, column5, column6, column7 FROM (VALUES :rows) WHERE true
ON CONFLICT (scope, key) DO UPDATE SET
    fingerprint = excluded.fingerprint, answer_status = excluded.answer_status,
    answer_body = excluded.answer_body, event = excluded.event, expires_ms = excluded.expires_ms
WHERE claim.expires_ms <= ?

-- find_claim: Read one unexpired claim.
SELECT fingerprint, answer_status, answer_body, event, expires_ms FROM claim
WHERE scope = ? AND key = ? AND expires_ms > ?

-- insert_requests: Keep captured requests.
INSERT INTO request (seq, id, workspace, source, received_ms, method, target, http_version, head, peer, duration_us,
    outcome, cause, detail, answer_status, event, body)
VALUES :rows

-- insert_events: Keep events.
INSERT INTO event (seq, id, workspace, type, occurred_ms, received_ms, user, uid, source, request, application,
    channels, content_type, content_encoding, payload, context)
VALUES :rows

-- insert_deliveries: Queue deliveries.
INSERT INTO delivery (shard, endpoint, due_ms, id, event, attempts, step, trigger) VALUES :rows

-- insert_rendered: Keep the requests that automations rendered.
INSERT INTO rendered (delivery, shown, sealed, tells) VALUES :rows

-- insert_decision_work: Queue events for deciding.
INSERT INTO decision_work (due_ms, id, shard, profile) VALUES :rows

-- ready_window: List lanes with a delivery that became due in a window of time.
SELECT shard, endpoint, min(due_ms) FROM delivery INDEXED BY delivery_due
WHERE due_ms > ? AND due_ms <= ? GROUP BY shard, endpoint

-- ready_all: List the lanes of some shards and when each is due next, by jumping from lane to lane in the primary key.
WITH RECURSIVE lane (shard, endpoint) AS (
    SELECT id, (SELECT endpoint FROM delivery AS d WHERE d.shard = shard.id ORDER BY d.endpoint LIMIT 1) FROM shard
    WHERE stage = 'deliver' AND id IN (:list)
    UNION ALL
    SELECT shard, (SELECT endpoint FROM delivery AS d
        WHERE d.shard = lane.shard AND d.endpoint > lane.endpoint ORDER BY d.endpoint LIMIT 1)
    FROM lane WHERE endpoint IS NOT NULL
)
SELECT shard, endpoint,
    (SELECT d.due_ms FROM delivery AS d
     WHERE d.shard = lane.shard AND d.endpoint = lane.endpoint ORDER BY d.due_ms LIMIT 1)
FROM lane WHERE endpoint IS NOT NULL

-- take: Read the head of a lane.
SELECT id, due_ms, event, attempts, step, trigger FROM delivery
WHERE shard = ? AND endpoint = ? AND due_ms <= ? ORDER BY due_ms, id LIMIT ?

-- take_after: Read on in a lane behind a row.
SELECT id, due_ms, event, attempts, step, trigger FROM delivery
WHERE shard = ? AND endpoint = ? AND (due_ms, id) > (?, ?) AND due_ms <= ? ORDER BY due_ms, id LIMIT ?

-- payloads: Read the bytes of events, one row for each in the same order, nulls for one that is gone.
SELECT e.type, coalesce(e.payload, r.body, x''), e.content_type, e.content_encoding
FROM (VALUES (:list)) AS v LEFT JOIN event AS e ON e.id = v.column1
LEFT JOIN request AS r ON r.id = e.request AND e.payload IS NULL

-- rendered: Read rendered requests.
SELECT delivery, shown, sealed, tells FROM rendered WHERE delivery IN (:list)

-- live_deliveries: Tell which taken rows are unchanged under an epoch that still holds, as one JSON list of row numbers.
SELECT json_group_array(v.column1) FROM (VALUES :rows) AS v
CROSS JOIN delivery AS d ON d.shard = v.column2 AND d.endpoint = v.column3 AND d.due_ms = v.column4 AND d.id = v.column5
CROSS JOIN shard AS s ON s.stage = 'deliver' AND s.id = v.column2 AND s.epoch = v.column6

-- delete_deliveries: Take deliveries off the queue that `live_deliveries` just found unchanged.
DELETE FROM delivery WHERE id IN (:list)

-- insert_attempts: Keep attempts.
INSERT INTO attempt (seq, id, workspace, application, delivery, event, endpoint, number, trigger, state, started_ms,
    next_ms, method, url, request_headers, response_status, response_headers, error, detail, dns_us, connect_us, tls_us,
    wait_us, total_us, response_body)
VALUES :rows

-- insert_cancelled: Remember deliveries that ended without an attempt.
INSERT OR REPLACE INTO cancelled (delivery, event, endpoint, reason, cancelled_ms) VALUES :rows

-- take_decisions: Read the oldest events that wait to be decided in some shards.
SELECT w.id, w.shard, w.profile, w.due_ms, e.workspace, e.type, e.occurred_ms, e.received_ms, e.user, e.uid, e.source,
    e.request, e.application, e.channels, e.content_type, e.content_encoding, coalesce(e.payload, r.body), r.head,
    e.context
FROM decision_work AS w JOIN event AS e ON e.id = w.id LEFT JOIN request AS r ON r.id = e.request
WHERE w.shard IN (:list) AND w.due_ms >= ? AND w.due_ms <= ? ORDER BY w.due_ms, w.id LIMIT ?

-- take_timers: Read the oldest timers that are due in some shards.
SELECT due_ms, id, shard, profile, kind, about, data FROM timer
WHERE shard IN (:list) AND due_ms >= ? AND due_ms <= ? ORDER BY due_ms, id LIMIT ?

-- live_decisions: Tell which taken events still wait under an epoch that still holds, as one JSON list of row numbers.
SELECT json_group_array(v.column1) FROM (VALUES :rows) AS v
CROSS JOIN decision_work AS w ON w.due_ms = v.column2 AND w.id = v.column3 AND w.shard = v.column4
CROSS JOIN shard AS s ON s.stage = 'decide' AND s.id = v.column4 AND s.epoch = v.column5

-- live_timers: Tell the same of taken timers.
SELECT json_group_array(v.column1) FROM (VALUES :rows) AS v
CROSS JOIN timer AS w ON w.due_ms = v.column2 AND w.id = v.column3 AND w.shard = v.column4
CROSS JOIN shard AS s ON s.stage = 'decide' AND s.id = v.column4 AND s.epoch = v.column5

-- delete_decision_work: Take events off the deciding queue.
DELETE FROM decision_work WHERE id IN (:list)

-- move_decision_work: Let an event wait for another profile, at its place by due.
UPDATE decision_work SET shard = ?, profile = ? WHERE due_ms = ? AND id = ?

-- move_timer: Let a timer wait for another profile, at its place by due.
UPDATE timer SET shard = ?, profile = ? WHERE due_ms = ? AND id = ?

-- delete_timers: Take timers off the queue.
DELETE FROM timer WHERE id IN (:list)

-- put_timers: Queue timers; one with an id that waits already moves.
INSERT OR REPLACE INTO timer (due_ms, id, shard, profile, kind, about, data) VALUES :rows

-- tell_timers: Queue timers whose ids do not wait yet.
INSERT OR IGNORE INTO timer (due_ms, id, shard, profile, kind, about, data) VALUES :rows

-- put_profiles: Write profiles whole.
INSERT OR REPLACE INTO profile (key, workspace, user, merged, created_ms, updated_ms, document) VALUES :rows

-- put_members: Let people into segments.
INSERT OR REPLACE INTO member (segment, profile, since_ms) VALUES :rows

-- delete_member: Let somebody out of a segment. Pairs of both in one statement would be looked for in all rows.
DELETE FROM member WHERE segment = ? AND profile = ?

-- put_runs: Write runs.
INSERT OR REPLACE INTO run (id, workspace, automation, version, profile, key, state, entered_ms, changed_ms, wake_ms,
    document)
VALUES :rows

-- insert_decisions: Keep decisions.
INSERT INTO decision (seq, id, workspace, automation, version, event, profile, decided_ms, outcome, reason, detail, data,
    delivery)
VALUES :rows

-- put_firings: Remember firings.
INSERT OR REPLACE INTO firing (automation, profile, key, times, last_ms) VALUES :rows

-- last_seq: Read the greatest number of a journal row.
SELECT max(
    (SELECT coalesce(max(seq), 0) FROM request), (SELECT coalesce(max(seq), 0) FROM event),
    (SELECT coalesce(max(seq), 0) FROM attempt), (SELECT coalesce(max(seq), 0) FROM decision))

-- firings: Read what is remembered of eligibility keys.
SELECT f.automation, f.profile, f.key, f.times, f.last_ms FROM (VALUES :rows) AS v
CROSS JOIN firing AS f ON f.automation = v.column1 AND f.profile = v.column2 AND f.key = v.column3

-- counts: Read counters.
SELECT c.profile, c.type, c.count, c.first_ms, c.last_ms FROM (VALUES :rows) AS v
CROSS JOIN event_count AS c ON c.profile = v.column1 AND c.type = v.column2

-- profiles: Read profiles.
SELECT key, document FROM profile WHERE key IN (:list)

-- active_runs: Read the runs of profiles that wait.
SELECT id, workspace, automation, version, profile, key, state, entered_ms, changed_ms, wake_ms, document FROM run
WHERE profile IN (:list) AND state = 'active'

-- runs: Read runs.
SELECT id, workspace, automation, version, profile, key, state, entered_ms, changed_ms, wake_ms, document FROM run
WHERE id IN (:list)

-- answers: Read the last attempt of each delivery: beside max(), SQLite takes the other columns of that row.
SELECT id, workspace, application, delivery, event, endpoint, max(number), trigger, state, started_ms, next_ms, method,
    url, request_headers, response_status, response_headers, error, detail, dns_us, connect_us, tls_us, wait_us,
    total_us, response_body
FROM attempt WHERE delivery IN (:list) GROUP BY delivery

-- absorb_firings: Add a profile's firings to those of another.
INSERT INTO firing (automation, profile, key, times, last_ms)
SELECT automation, ?, key, times, last_ms FROM firing WHERE profile = ?
ON CONFLICT (automation, profile, key) DO UPDATE SET
    times = times + excluded.times, last_ms = max(last_ms, excluded.last_ms)

-- absorb_counts: Add a profile's counters to those of another.
INSERT INTO event_count (profile, type, count, first_ms, last_ms)
SELECT ?, type, count, first_ms, last_ms FROM event_count WHERE profile = ?
ON CONFLICT (profile, type) DO UPDATE SET
    count = count + excluded.count,
    first_ms = min(first_ms, excluded.first_ms), last_ms = max(last_ms, excluded.last_ms)

-- forget_firings: Delete a profile's firings.
DELETE FROM firing WHERE profile = ?

-- forget_counts: Delete a profile's counters.
DELETE FROM event_count WHERE profile = ?

-- add_counts: Add to profiles' event counters.
INSERT INTO event_count (profile, type, count, first_ms, last_ms)
SELECT column1, column2, column3, column4, column5 FROM (VALUES :rows) WHERE true
ON CONFLICT (profile, type) DO UPDATE SET
    count = count + excluded.count,
    first_ms = min(first_ms, excluded.first_ms), last_ms = max(last_ms, excluded.last_ms)
