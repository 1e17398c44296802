"""Why an automation fired for an event, or did not: what was decided and what came of it, or why nothing was."""

from typing import Any, Protocol

import msgspec
from msgspec import Struct

from posthorn import ids
from posthorn.clock import DAY_MS, Clock
from posthorn.engine.directory import Directory
from posthorn.engine.flows import OnSegment
from posthorn.engine.journal import AttemptQuery, AttemptRow, DecisionQuery, DeliveryQuery, DeliveryRow
from posthorn.engine.listening import triggers_of
from posthorn.engine.people import EventContext, ProfileChange
from posthorn.engine.ports import Journal, People
from posthorn.engine.records import Attempt, CapturedRequest, Decision, DecisionOutcome, Event, RequestOutcome
from posthorn.engine.resources import Automation, AutomationVersion
from posthorn.engine.runs import Run
from posthorn.errors import NotFound
from posthorn.manage.aftermath import Sent, last_word, told
from posthorn.manage.registrar import PageOf, Registrar, SharedRegistry
from posthorn.manage.walking import walked
from posthorn.manage.whynot import Known, Untried, WhyNot, version_at, why_not

_PAGE = 250
_context = msgspec.json.Decoder(EventContext)


class KnownPast(Journal, People, Protocol):
    """What happened, and to whom."""


class Why(Struct, frozen=True, kw_only=True):
    """The answer for one event and one automation. `fired` None: that is not known any more."""

    subject: str  #: the id that was asked about
    event: str | None  #: None for a request that no event came of
    automation: str
    automation_name: str | None
    fired: bool | None
    outcome: str
    reason: str
    detail: str
    data: Any
    decisions: tuple[Decision, ...] = ()
    runs: tuple[Run, ...] = ()
    sent: tuple[Sent, ...] = ()


class _Evidence(Struct, frozen=True, kw_only=True):
    """What is kept of an event, and what was made of it."""

    subject: str
    identifier: str | None
    event: Event | None = None
    changes: ProfileChange | None = None
    is_waiting: bool = False
    refused: WhyNot | None = None  #: a request that no event of its own came of
    decisions: tuple[Decision, ...] = ()
    deliveries: tuple[DeliveryRow, ...] = ()
    attempts: dict[str, Attempt] = {}  #: the last of each delivery

    def left_by(self, automation: str) -> tuple[Decision, ...]:
        """Return the decisions of an automation, the oldest first."""
        return tuple(decision for decision in self.decisions if decision.automation == automation)


class Whys:
    """Says why. Reads what is kept, and changes nothing."""

    def __init__(
        self, store: KnownPast, registry: SharedRegistry, directory: Directory, clock: Clock, *, retention_days: int
    ) -> None:
        self._store = store
        self._registrar = Registrar(registry, directory, clock)
        self._directory = directory
        self._clock = clock
        self._retention_ms = retention_days * DAY_MS

    async def one(self, workspace: str, subject: str, identifier: str) -> Why:
        """Answer for an event (or captured request) and an automation by id or uid, also a deleted one's id.

        Raises NotFound.
        """
        evidence = await self._evidence(workspace, subject)
        automation = await self._registrar.seek(Automation, workspace, identifier)
        if automation is not None:
            return await self._why(evidence, automation)
        if not evidence.left_by(identifier) and not _is_own_id(identifier):
            raise NotFound("there is no automation with this id or uid; ask for a deleted one by its id")
        return await self._why_of_gone(workspace, evidence, identifier)

    async def all(self, workspace: str, subject: str, page: PageOf) -> tuple[list[Why], bool]:
        """Answer for each automation, by id, deleted ones that left a decision among them. Raises NotFound."""
        evidence = await self._evidence(workspace, subject)
        rows, done = await self._registrar.page(Automation, workspace, page)
        automations = {row.id: row for row in rows}
        deleted = [name for name in await self._deleted(workspace, evidence) if _is_on(page, name)]
        names = sorted({*automations, *deleted})
        shown = names[-page.limit :] if page.backwards else names[: page.limit]
        whys = [
            await self._why(evidence, automations[name])
            if name in automations
            else await self._why_of_gone(workspace, evidence, name)
            for name in shown
        ]
        return whys, done and len(names) <= page.limit

    async def _deleted(self, workspace: str, evidence: _Evidence) -> list[str]:
        left = {decision.automation for decision in evidence.decisions}
        return [name for name in left if await self._registrar.seek(Automation, workspace, name) is None]

    async def _evidence(self, workspace: str, subject: str) -> _Evidence:
        if not subject.startswith(f"{ids.REQUEST}_"):
            return await self._evidence_of(workspace, subject, subject)
        request = await self._store.request(workspace, subject)
        if request is None:
            raise NotFound("there is no request with this id, or it is not kept any more")
        if request.outcome is RequestOutcome.ACCEPTED and request.event is not None:
            return await self._evidence_of(workspace, subject, request.event)
        return _Evidence(subject=subject, identifier=request.event, refused=_refused(request))

    async def _evidence_of(self, workspace: str, subject: str, name: str) -> _Evidence:
        event = await self._store.event(workspace, name)
        identifier = event.id if event is not None else name
        # Asked before the decisions: what is decided in between is found among them.
        is_waiting = event is not None and await self._store.is_undecided(workspace, identifier)
        asked: dict[str, Any] = {"workspace": workspace, "event": identifier, "ascending": True, "limit": _PAGE}
        decisions = [row async for row in walked(self._store.decisions, DecisionQuery(**asked), _id_of)]
        if event is None and not decisions:
            raise NotFound("there is no event with this id, or it is not kept any more")
        deliveries = [row async for row in walked(self._store.deliveries, DeliveryQuery(**asked), _id_of)]
        tries = AttemptQuery(**asked, with_content=False)
        attempts = [row.attempt async for row in walked(self._store.attempts, tries, _attempt_of)]
        return _Evidence(
            subject=subject,
            identifier=identifier,
            event=event,
            changes=_context.decode(event.context).changes if event is not None and event.context else None,
            is_waiting=is_waiting,
            decisions=tuple(decisions),
            deliveries=tuple(deliveries),
            attempts={attempt.delivery: attempt for attempt in sorted(attempts, key=lambda one: one.number)},
        )

    async def _why(self, evidence: _Evidence, automation: Automation) -> Why:
        if evidence.left_by(automation.id):
            return await self._decided(automation.workspace, evidence, automation.id, automation.name)
        if evidence.refused is not None:
            why = evidence.refused
        elif evidence.event is None:
            detail = "the event is not kept any more, and no decision of this automation about it"
            why = WhyNot(reason=Untried.EVENT_GONE, detail=detail)
        else:
            why = why_not(await self._known(evidence, evidence.event, automation))
        return _undecided(evidence, automation.id, automation.name, why)

    async def _why_of_gone(self, workspace: str, evidence: _Evidence, identifier: str) -> Why:
        if evidence.left_by(identifier):
            return await self._decided(workspace, evidence, identifier, None)
        detail = "there is no automation with this id: it was deleted, or never was here; no decision of it is kept"
        gone = evidence.refused or WhyNot(reason=Untried.AUTOMATION_GONE, detail=detail)
        return _undecided(evidence, identifier, None, gone)

    async def _known(self, evidence: _Evidence, event: Event, automation: Automation) -> Known:
        version = version_at(automation, event.received_ms)
        rules: Automation | None = automation
        if version != automation.version:
            kept = await self._registrar.seek(
                AutomationVersion, automation.workspace, str(version), parent=automation.id
            )
            rules = kept.automation if kept is not None else None
        horizon_ms = (self._clock.now_ms() - self._retention_ms) // DAY_MS * DAY_MS  # as pruning reckons
        return Known(
            event=event,
            changes=evidence.changes,
            automation=automation,
            rules=rules,
            segments=self._segments_of(rules),
            is_waiting=evidence.is_waiting,
            is_expired=event.received_ms < horizon_ms,
            decided_ms=min((decision.decided_ms for decision in evidence.decisions), default=None),
        )

    def _segments_of(self, rules: Automation | None) -> dict[str, str]:
        triggers = triggers_of(rules) if rules is not None else ()
        wanted = [trigger.segment for trigger in triggers if isinstance(trigger, OnSegment)]
        found = [self._directory.segment_by_id(name) for name in wanted]
        return {segment.id: segment.name for segment in found if segment is not None}

    async def _decided(self, workspace: str, evidence: _Evidence, automation: str, name: str | None) -> Why:
        decisions = evidence.left_by(automation)
        chosen = last_word(decisions)
        begun = dict.fromkeys(run for decision in decisions if (run := _run_of(decision)) is not None)
        runs = {one: await self._store.run(workspace, one) for one in begun}
        rows = [row for row in evidence.deliveries if row.endpoint.startswith(f"{automation}/")]
        sent = tuple(Sent(delivery=row, attempt=evidence.attempts.get(row.id)) for row in rows)
        owed = {decision.delivery for decision in decisions} - {row.id for row in rows} - {None}
        lost = [*(one for one, run in runs.items() if run is None), *sorted(filter(None, owed))]
        kept = tuple(run for run in runs.values() if run is not None)
        return Why(
            subject=evidence.subject,
            event=evidence.identifier,
            automation=automation,
            automation_name=name,
            fired=chosen.outcome is DecisionOutcome.FIRED,
            outcome=chosen.outcome.value,
            reason=chosen.reason,
            detail=told(decisions, kept, sent, lost),
            data=msgspec.Raw(chosen.data) if chosen.data else None,
            decisions=decisions,
            runs=kept,
            sent=sent,
        )


def _undecided(evidence: _Evidence, automation: str, name: str | None, why: WhyNot) -> Why:
    return Why(
        subject=evidence.subject,
        event=evidence.identifier,
        automation=automation,
        automation_name=name,
        fired=None if why.reason.outcome == "unknown" else False,
        outcome=why.reason.outcome,
        reason=why.reason.value,
        detail=why.detail,
        data=why.data,
    )


def _refused(request: CapturedRequest) -> WhyNot:
    if request.outcome is RequestOutcome.DUPLICATE:
        detail = f"the request repeated the one that became {request.event}; that was decided, and this was not again"
        return WhyNot(reason=Untried.DUPLICATE, detail=detail, data={"eventId": request.event})
    why = request.detail or request.cause or "it was refused"
    detail = f"the request was rejected, and no event came of it: {why}"
    return WhyNot(reason=Untried.REJECTED, detail=detail, data={"cause": request.cause})


def _run_of(decision: Decision) -> str | None:
    data = msgspec.json.decode(decision.data) if decision.data else None
    run = data.get("run") if isinstance(data, dict) else None
    return run if isinstance(run, str) else None


def _is_own_id(identifier: str) -> bool:
    return identifier.startswith(f"{ids.AUTOMATION}_") and ids.time_of(identifier) is not None


def _is_on(page: PageOf, name: str) -> bool:
    """Tell whether an id lies on the side of a page's iterator that was asked for."""
    if page.after is None:
        return True
    return name < page.after if page.backwards else name > page.after


def _id_of(row: Decision | DeliveryRow) -> str:
    return row.id


def _attempt_of(row: AttemptRow) -> str:
    return row.attempt.id
