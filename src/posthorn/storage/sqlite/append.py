"""Append: claims, requests, events, fan-out and decision work of a batch, in one transaction."""

from collections.abc import Sequence

from posthorn.engine.records import (
    AlreadyClaimed,
    Append,
    Appended,
    AppendResult,
    CapturedRequest,
    Claim,
    Event,
    NewDelivery,
    RequestOutcome,
    Trigger,
)
from posthorn.engine.shards import shard_of
from posthorn.storage.people_rows import told
from posthorn.storage.sqlite.statements import chunks, for_rows, statement
from posthorn.storage.sqlite.writer import Transaction

_APPENDED = Appended()


def append_units(transaction: Transaction, units: Sequence[Append]) -> list[AppendResult]:
    """Write the units whose claims are free; of the others keep the captured request as a duplicate."""
    results = _take_claims(transaction, units)
    requests: list[CapturedRequest] = []
    accepted: list[Append] = []
    for unit, result in zip(units, results, strict=True):
        if isinstance(result, AlreadyClaimed):
            if unit.request is not None:
                requests.append(_as_duplicate(unit.request, result))
            continue
        accepted.append(unit)
        if unit.request is not None:
            requests.append(unit.request)
    _insert_requests(transaction, requests)
    insert_events(transaction, [unit.event for unit in accepted if unit.event is not None])
    insert_deliveries(transaction, [delivery for unit in accepted for delivery in unit.deliveries])
    waiting = [(unit.event, unit.profile) for unit in accepted if unit.event is not None and unit.profile is not None]
    insert_decision_work(transaction, waiting)
    return results


def _take_claims(transaction: Transaction, units: Sequence[Append]) -> list[AppendResult]:
    claims = [claim for unit in units for claim in unit.claims]
    if not claims:
        return [_APPENDED] * len(units)
    transaction.execute("SAVEPOINT claims")
    if _claim_all(transaction, claims):
        transaction.execute("RELEASE claims")
        return [_APPENDED] * len(units)
    transaction.execute("ROLLBACK TO claims")
    transaction.execute("RELEASE claims")
    return [_claim_unit(transaction, unit) for unit in units]


def _claim_all(transaction: Transaction, claims: Sequence[Claim]) -> bool:
    taken = 0
    for chunk in chunks(claims):
        parameters = [field for claim in chunk for field in _claim_row(claim)]
        cursor = transaction.execute(for_rows("claim_all", 7, len(chunk)), [*parameters, transaction.now_ms()])
        taken += cursor.rowcount
    return taken == len(claims)


def _claim_unit(transaction: Transaction, unit: Append) -> AppendResult:
    now_ms = transaction.now_ms()
    for claim in unit.claims:
        row = transaction.execute(statement("find_claim"), (claim.scope, claim.key, now_ms)).fetchone()
        if row is not None:
            fingerprint, status, body, event, _ = row
            return AlreadyClaimed(
                scope=claim.scope,
                same_request=fingerprint == claim.fingerprint,
                answer_status=status,
                answer_body=body,
                event=event,
            )
    for claim in unit.claims:
        transaction.execute(for_rows("claim_all", 7, 1), [*_claim_row(claim), now_ms])
    return _APPENDED


def _claim_row(claim: Claim) -> tuple[object, ...]:
    return (
        claim.scope,
        claim.key,
        claim.fingerprint,
        claim.answer_status,
        claim.answer_body,
        claim.event,
        claim.expires_ms,
    )


def _as_duplicate(request: CapturedRequest, first: AlreadyClaimed) -> CapturedRequest:
    return CapturedRequest(
        id=request.id,
        workspace=request.workspace,
        source=request.source,
        received_ms=request.received_ms,
        method=request.method,
        target=request.target,
        http_version=request.http_version,
        head=request.head,
        body=request.body,
        peer=request.peer,
        duration_us=request.duration_us,
        outcome=RequestOutcome.DUPLICATE,
        cause=request.cause,
        detail=request.detail,
        answer_status=first.answer_status,
        event=first.event,
    )


def _insert_requests(transaction: Transaction, requests: Sequence[CapturedRequest]) -> None:
    seq = transaction.next_seq(len(requests))
    for chunk in chunks(requests):
        parameters: list[object] = []
        for r in chunk:
            parameters += (
                seq, r.id, r.workspace, r.source, r.received_ms, r.method, r.target, r.http_version, r.head, r.peer,
                r.duration_us, r.outcome, r.cause, r.detail, r.answer_status, r.event, r.body,
            )  # fmt: skip
            seq += 1
        transaction.execute(for_rows("insert_requests", 17, len(chunk)), parameters)


def insert_events(transaction: Transaction, events: Sequence[Event]) -> None:
    """Keep events."""
    seq = transaction.next_seq(len(events))
    for chunk in chunks(events):
        parameters: list[object] = []
        for e in chunk:
            parameters += (
                seq, e.id, e.workspace, e.type, e.occurred_ms, e.received_ms, e.user, e.uid, e.source, e.request,
                e.application, ",".join(e.channels), e.content_type, e.content_encoding, e.payload, e.context,
            )  # fmt: skip
            seq += 1
        transaction.execute(for_rows("insert_events", 16, len(chunk)), parameters)


def insert_deliveries(transaction: Transaction, deliveries: Sequence[NewDelivery]) -> None:
    """Queue new deliveries and keep what was rendered for them."""
    for chunk in chunks(deliveries):
        parameters: list[object] = []
        for d in chunk:
            parameters += (d.shard, d.endpoint, d.due_ms, d.id, d.event, 0, 0, Trigger.SCHEDULED)
        transaction.execute(for_rows("insert_deliveries", 8, len(chunk)), parameters)
    rendered = [
        (d.id, d.rendered.shown, d.rendered.sealed, told(d.rendered.tells))
        for d in deliveries
        if d.rendered is not None
    ]
    transaction.put("insert_rendered", 4, rendered)


def insert_decision_work(transaction: Transaction, waiting: Sequence[tuple[Event, str]]) -> None:
    """Queue events for deciding, each for a profile."""
    rows = [(event.received_ms, event.id, shard_of(profile), profile) for event, profile in waiting]
    transaction.put("insert_decision_work", 4, rows)
