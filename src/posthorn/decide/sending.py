"""Queueing the requests of automations as deliveries."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from posthorn import ids
from posthorn.decide.case import Case
from posthorn.decide.receipts import Counted
from posthorn.decide.rendering import RenderFailed, SecretValues, Setting, render
from posthorn.decide.requests import CompiledRequest
from posthorn.engine.lanes import automation_lane, lane_shard
from posthorn.engine.records import NewDelivery
from posthorn.engine.resources import Automation
from posthorn.engine.runs import Timer, TimerKind
from posthorn.vault import KeyRing


class Told(Struct, frozen=True, kw_only=True):
    """Who wants to hear how a request ended: the step of a run, eligibility that counts from receipt, or both."""

    run: str | None = None
    step: str = ""
    counted: Counted | None = None


class RequestEnd(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The data of a timer that tells how a request ended."""

    delivery: str
    step: str = ""
    counted: Counted | None = None


class Sender:
    """Renders requests and queues them."""

    def __init__(self, *, secrets: SecretValues, key_ring: KeyRing) -> None:
        self._secrets = secrets
        self._key_ring = key_ring

    def queue(
        self,
        case: Case,
        automation: Automation,
        request: CompiledRequest,
        facts: Mapping[str, Any],
        *,
        event: str,
        hops: int,
        told: Told | None = None,
        payload: str | None = None,
    ) -> str | RenderFailed:
        """Queue one request and return its delivery's id. `told` names who is told when it has ended.

        `payload` is sent by a request without a body of its own, where the event may be gone by then.
        """
        identifier = case.new_id(ids.DELIVERY)
        setting = Setting(
            workspace=automation.workspace,
            work=case.work.id,
            delivery=identifier,
            now_ms=case.now_ms,
            hops=hops,
            contents=case.memory.contents(case.work.id),
        )
        about = {"id": automation.id, "name": automation.name, "version": automation.version}
        rendered = render(request, {**facts, "automation": about}, self._secrets, setting)
        if isinstance(rendered, RenderFailed):
            return rendered
        lane = automation_lane(automation.id, rendered.shown.url)
        if rendered.real.body is None and payload is not None:
            rendered = rendered.with_body(payload)
        tells = _timer(case, automation, identifier, told) if told is not None else None
        case.deliveries.append(
            NewDelivery(
                id=identifier,
                shard=lane_shard(lane),
                endpoint=lane,
                due_ms=case.now_ms,
                event=event,
                rendered=rendered.sealed_for(identifier, self._key_ring, tells),
            )
        )
        return identifier


def _timer(case: Case, automation: Automation, delivery: str, told: Told) -> Timer:
    return Timer(
        id=f"{told.run or automation.id}/{delivery}",
        shard=case.work.shard,
        due_ms=case.now_ms,
        profile=case.work.profile,
        kind=TimerKind.ANSWER if told.run is not None else TimerKind.RECEIPT,
        about=told.run or automation.id,
        data=msgspec.json.encode(RequestEnd(delivery=delivery, step=told.step, counted=told.counted)),
    )
