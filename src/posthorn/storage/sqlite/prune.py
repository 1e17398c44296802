"""Retention: old journal rows go in small batches, never those that pending work still needs."""

from posthorn.clock import HOUR_MS
from posthorn.storage.sequence import seq_at
from posthorn.storage.sqlite.writer import Transaction

# A decision that let a person in, and a run, stay with the attempts of their event, which nothing else finds by person.
_PRUNE = (
    """DELETE FROM attempt WHERE seq IN (SELECT seq FROM attempt WHERE seq < :edge AND started_ms < :before
        AND NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.id = attempt.delivery) ORDER BY seq LIMIT :most)""",
    """DELETE FROM decision WHERE seq IN (SELECT seq FROM decision WHERE seq < :edge AND decided_ms < :before
        AND NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.id = decision.delivery)
        AND NOT (outcome = 'fired' AND instr(profile, '/user/') > 0
            AND EXISTS (SELECT 1 FROM attempt AS a WHERE a.event = decision.event)) ORDER BY seq LIMIT :most)""",
    """DELETE FROM event WHERE seq IN (SELECT seq FROM event WHERE seq < :edge AND received_ms < :before
        AND NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.event = event.id)
        AND NOT EXISTS (SELECT 1 FROM decision_work AS w WHERE w.id = event.id) ORDER BY seq LIMIT :most)""",
    """DELETE FROM request WHERE seq IN (SELECT seq FROM request WHERE seq < :edge AND received_ms < :before
        AND NOT EXISTS (SELECT 1 FROM event AS e WHERE e.id = request.event AND e.request = request.id)
        ORDER BY seq LIMIT :most)""",
    """DELETE FROM rendered WHERE delivery IN (SELECT delivery FROM rendered AS r WHERE r.delivery < :first_delivery
        AND NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.id = r.delivery) ORDER BY delivery LIMIT :most)""",
    """DELETE FROM cancelled WHERE delivery IN
        (SELECT delivery FROM cancelled
         WHERE delivery < :first_delivery AND cancelled_ms < :before ORDER BY delivery LIMIT :most)""",
    # The event is what `engine.runs.entering_event` reads. A document is kept as a blob, and may be anything.
    """DELETE FROM run WHERE id IN (SELECT id FROM (
            SELECT id, changed_ms, CASE WHEN json_valid(CAST(document AS TEXT))
                THEN json_extract(CAST(document AS TEXT), '$.happening.id') END AS event
            FROM run WHERE state <> 'active' AND changed_ms < :before) AS r
        WHERE NOT EXISTS (SELECT 1 FROM delivery AS d WHERE d.event = r.event)
        AND NOT EXISTS (SELECT 1 FROM attempt AS a WHERE a.event = r.event) ORDER BY changed_ms LIMIT :most)""",
)

_SLACK_MS = HOUR_MS


def prune(transaction: Transaction, *, before_ms: int, first_delivery: str, most: int) -> int:
    """Delete up to `most` rows older than `before_ms`."""
    gone = 0
    for statement in _PRUNE:
        parameters = {
            "before": before_ms,
            # Rows are committed a little after they happen; the slack only widens what the index has to look at.
            "edge": seq_at(before_ms + _SLACK_MS),
            "first_delivery": first_delivery,
            "most": most - gone,
        }
        gone += transaction.execute(statement, parameters).rowcount
        if gone >= most:
            break
    return gone


def forget_claims(transaction: Transaction, *, now_ms: int, most: int) -> int:
    """Delete up to `most` expired claims."""
    return transaction.execute(
        "DELETE FROM claim WHERE (scope, key) IN"
        " (SELECT scope, key FROM claim WHERE expires_ms <= ? ORDER BY expires_ms LIMIT ?)",
        (now_ms, most),
    ).rowcount
