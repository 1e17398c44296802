"""/api/v1/event/{id}/why: fired or not, and exactly why, for any event and automation."""

import msgspec
from litestar import get
from litestar.params import JSONBody
from msgspec import Raw

from posthorn.api.journal_rows import DecisionOut, DeliveryOut, decision_out, delivery_out
from posthorn.api.person_rows import RunOut, run_out
from posthorn.api.query import PageQuery, read_query, reads
from posthorn.api.rendering import ListOut, Out, list_out
from posthorn.api.services import ApiRequest, PathId, at_desk
from posthorn.clock import iso_text
from posthorn.engine.records import Attempt
from posthorn.errors import Invalid
from posthorn.manage.aftermath import Sent
from posthorn.manage.registrar import PageOf
from posthorn.manage.why import Why


class WhyQuery(PageQuery, frozen=True, kw_only=True):
    """One automation, by id or uid; without it a page of all, by id."""

    automation: str | None = None


class LastAttemptOut(Out, frozen=True, kw_only=True):
    """The last attempt of a delivery. `error` is set when no answer came."""

    id: str
    number: int
    started_at: str
    response_status: int | None
    error: str | None
    detail: str | None


class SentOut(DeliveryOut, frozen=True, kw_only=True):
    """A delivery as it stands, with its last attempt."""

    last_attempt: LastAttemptOut | None


class WhyOut(Out, frozen=True, kw_only=True):
    """Why. `fired` null: that is not known any more.

    `decisions` are all that are kept, the oldest first; `outcome`, `reason` and `data` are those of the last one that
    fired, else of the last. `runs` and `deliveries` are what came of them, as they stand now.
    """

    event_id: str | None
    automation_id: str
    automation_name: str | None
    fired: bool | None
    outcome: str
    reason: str
    detail: str
    data: JSONBody[Raw | None]
    decisions: list[DecisionOut]
    runs: list[RunOut]
    deliveries: list[SentOut]


def why_out(why: Why) -> WhyOut:
    """Render an answer."""
    return WhyOut(
        event_id=why.event,
        automation_id=why.automation,
        automation_name=why.automation_name,
        fired=why.fired,
        outcome=why.outcome,
        reason=why.reason,
        detail=why.detail,
        data=Raw(msgspec.json.encode(why.data)),
        decisions=[decision_out(decision) for decision in why.decisions],
        runs=[run_out(run, why.automation_name) for run in why.runs],
        deliveries=[_sent_out(sent) for sent in why.sent],
    )


def _sent_out(sent: Sent) -> SentOut:
    last = _attempt_out(sent.attempt) if sent.attempt is not None else None
    delivery = delivery_out(sent.delivery)
    return SentOut(**msgspec.structs.asdict(delivery), last_attempt=last)


def _attempt_out(attempt: Attempt) -> LastAttemptOut:
    return LastAttemptOut(
        id=attempt.id,
        number=attempt.number,
        started_at=iso_text(attempt.started_ms),
        response_status=attempt.response_status,
        error=attempt.error,
        detail=attempt.detail,
    )


@get("/event/{event_id:str}/why", operation_class=reads(WhyQuery))
async def explain_event(request: ApiRequest, event_id: PathId) -> WhyOut | ListOut[WhyOut]:
    """Say whether an automation fired for an event (or captured request), and why; without one, for each of them."""
    services, workspace = at_desk(request)
    query = read_query(request, WhyQuery)
    if query.automation is not None:
        if query.iterator is not None:
            raise Invalid.at("query", "iterator", msg="one automation is one answer; leave this or automation out")
        return why_out(await services.whys.one(workspace, event_id, query.automation))
    page = PageOf(after=query.after_id, backwards=query.is_backwards, limit=query.limit)
    rows, done = await services.whys.all(workspace, event_id, page)
    return list_out(rows, why_out, lambda row: row.automation, done=done)


ROUTES = [explain_event]
