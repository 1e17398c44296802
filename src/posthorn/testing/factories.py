"""Records and resources with sensible defaults. Factories take any field as a keyword.

Ids carry the instant of their record, so that records of later instants sort later (4 ms apart or more).
"""

from collections.abc import Sequence
from typing import Any

from posthorn import ids
from posthorn.engine import flows, resources
from posthorn.engine.cluster import Node, Role
from posthorn.engine.lanes import lane_shard
from posthorn.engine.people import Device, Profile
from posthorn.engine.profiles import user_profile
from posthorn.engine.records import (
    Append,
    Attempt,
    CapturedRequest,
    Claim,
    Decision,
    DecisionOutcome,
    DecisionWork,
    DeliveryState,
    DeliveryWork,
    Event,
    NewDelivery,
    RenderedRequest,
    RequestOutcome,
)
from posthorn.engine.runs import Run, RunState, Timer, TimerKind
from posthorn.engine.shards import shard_of
from posthorn.testing.clock import START_MS

WORKSPACE = ids.first_id(ids.WORKSPACE, START_MS)
OTHER_WORKSPACE = ids.first_id(ids.WORKSPACE, START_MS + 1000)
APPLICATION = ids.first_id(ids.APPLICATION, START_MS)
ENDPOINT = ids.first_id(ids.ENDPOINT, START_MS)
OTHER_ENDPOINT = ids.first_id(ids.ENDPOINT, START_MS + 1000)
SOURCE = ids.first_id(ids.SOURCE, START_MS)
AUTOMATION = ids.first_id(ids.AUTOMATION, START_MS)


def a_request(**overrides: Any) -> CapturedRequest:
    """Make a captured request that was accepted."""
    received_ms = overrides.get("received_ms", START_MS)
    fields: dict[str, Any] = {
        "id": ids.new_id(ids.REQUEST, received_ms),
        "workspace": WORKSPACE,
        "source": SOURCE,
        "received_ms": received_ms,
        "method": "POST",
        "target": b"/in/token",
        "http_version": "1.1",
        "head": b"Host: example.test\r\nContent-Type: application/json\r\n",
        "body": b'{"total": 12}',
        "peer": "192.0.2.1",
        "duration_us": 1200,
        "outcome": RequestOutcome.ACCEPTED,
        "answer_status": 202,
    }
    return CapturedRequest(**(fields | overrides))


def an_event(**overrides: Any) -> Event:
    """Make an event that carries its own payload."""
    received_ms = overrides.get("received_ms", START_MS)
    fields: dict[str, Any] = {
        "id": ids.new_id(ids.EVENT, received_ms),
        "workspace": WORKSPACE,
        "type": "order.paid",
        "occurred_ms": received_ms,
        "received_ms": received_ms,
        "payload": b'{"total": 12}',
    }
    return Event(**(fields | overrides))


def a_message(**overrides: Any) -> Event:
    """Make an event sent to an application."""
    received_ms = overrides.get("received_ms", START_MS)
    fields: dict[str, Any] = {"id": ids.new_id(ids.MESSAGE, received_ms), "application": APPLICATION}
    return an_event(**(fields | overrides))


def a_delivery(event: Event, **overrides: Any) -> NewDelivery:
    """Make a delivery of an event, due when the event was received."""
    due_ms = overrides.get("due_ms", event.received_ms)
    endpoint = overrides.get("endpoint", ENDPOINT)
    fields: dict[str, Any] = {
        "id": ids.new_id(ids.DELIVERY, event.received_ms),
        "shard": lane_shard(endpoint),
        "endpoint": endpoint,
        "due_ms": due_ms,
        "event": event.id,
    }
    return NewDelivery(**(fields | overrides))


def a_claim(**overrides: Any) -> Claim:
    """Make a claim that holds for a day."""
    fields: dict[str, Any] = {
        "scope": f"key:{WORKSPACE}",
        "key": "once",
        "fingerprint": b"fingerprint",
        "answer_status": 202,
        "answer_body": b'{"id": "first"}',
        "event": None,
        "expires_ms": START_MS + 24 * 3_600_000,
    }
    return Claim(**(fields | overrides))


def a_unit(event: Event | None = None, *, endpoints: Sequence[str] = (ENDPOINT,), **overrides: Any) -> Append:
    """Make a unit of intake: an event with one delivery for each of the endpoints."""
    event = an_event() if event is None else event
    fields: dict[str, Any] = {
        "event": event,
        "deliveries": tuple(a_delivery(event, endpoint=endpoint) for endpoint in endpoints),
    }
    return Append(**(fields | overrides))


def an_inbox_unit(*, received_ms: int = START_MS, body: bytes = b'{"total": 12}', **overrides: Any) -> Append:
    """Make a unit of intake whose captured request keeps the event's payload, with decision work."""
    identifier = ids.new_id(ids.EVENT, received_ms)
    request = a_request(received_ms=received_ms, body=body, event=identifier)
    event = an_event(id=identifier, received_ms=received_ms, payload=None, request=request.id, source=request.source)
    fields: dict[str, Any] = {"request": request, "event": event, "profile": f"{WORKSPACE}/event/{event.id}"}
    return Append(**(fields | overrides))


def a_rendered_request(**overrides: Any) -> RenderedRequest:
    """Make a rendered request with a masked secret."""
    fields: dict[str, Any] = {
        "shown": b'{"method":"POST","url":"https://example.test/","headers":[["Authorization","***"]],"body":null}',
        "sealed": "v1.sealed",
    }
    return RenderedRequest(**(fields | overrides))


def an_attempt(work: DeliveryWork, **overrides: Any) -> Attempt:
    """Make the attempt that delivers this work."""
    started_ms = overrides.get("started_ms", work.due_ms)
    fields: dict[str, Any] = {
        "id": ids.new_id(ids.ATTEMPT, started_ms),
        "workspace": WORKSPACE,
        "application": None,
        "delivery": work.id,
        "event": work.event,
        "endpoint": work.endpoint,
        "number": work.attempts + 1,
        "trigger": work.trigger,
        "state": DeliveryState.DELIVERED,
        "started_ms": started_ms,
        "next_ms": None,
        "method": "POST",
        "url": "https://example.test/hook",
        "request_headers": b'[["content-type","application/json"]]',
        "response_status": 200,
        "response_headers": b'[["content-type","text/plain"]]',
        "response_body": b"ok",
        "error": None,
        "detail": None,
        "dns_us": 10,
        "connect_us": 20,
        "tls_us": 30,
        "wait_us": 40,
        "total_us": 100,
    }
    return Attempt(**(fields | overrides))


def a_failed_attempt(work: DeliveryWork, *, next_ms: int | None = None, **overrides: Any) -> Attempt:
    """Make an attempt answered 500: pending until `next_ms`, or exhausted without one."""
    fields: dict[str, Any] = {
        "state": DeliveryState.EXHAUSTED if next_ms is None else DeliveryState.PENDING,
        "next_ms": next_ms,
        "response_status": 500,
        "response_body": b"oh no",
    }
    return an_attempt(work, **(fields | overrides))


def a_decision(work: DecisionWork, **overrides: Any) -> Decision:
    """Make the decision that fired for this work."""
    decided_ms = overrides.get("decided_ms", work.due_ms)
    fields: dict[str, Any] = {
        "id": ids.new_id(ids.DECISION, decided_ms),
        "workspace": work.event.workspace,
        "automation": AUTOMATION,
        "version": 1,
        "event": work.event.id,
        "profile": work.profile,
        "decided_ms": decided_ms,
        "outcome": DecisionOutcome.FIRED,
        "reason": "fired",
        "detail": "It matched and is eligible.",
        "data": b"{}",
    }
    return Decision(**(fields | overrides))


def a_profile(user: str = "ann", **overrides: Any) -> Profile:
    """Make a person's profile with something of everything."""
    workspace = overrides.get("workspace", WORKSPACE)
    fields: dict[str, Any] = {
        "key": user_profile(workspace, user),
        "workspace": workspace,
        "user": user,
        "created_ms": START_MS,
        "updated_ms": START_MS,
        "attributes": {"name": "Zoë", "address": {"lines": ["a", 1, 2.5, None, True]}},
        "subscriptions": {"email": "opted_in"},
        "time_zone": "Europe/Moscow",
        "locale": "zh-Hans-CN",
        "devices": (Device(id="phone", platform="ios"),),
        "windows": {"w1": [START_MS, START_MS + 1]},
        "segments": {"seg_1": START_MS},
        "messages": {"any": [START_MS]},
    }
    return Profile(**(fields | overrides))


def a_run(**overrides: Any) -> Run:
    """Make a run that waits."""
    entered_ms = overrides.get("entered_ms", START_MS)
    fields: dict[str, Any] = {
        "id": ids.new_id("run", entered_ms),
        "workspace": WORKSPACE,
        "automation": AUTOMATION,
        "version": 1,
        "profile": user_profile(WORKSPACE, "ann"),
        "key": "",
        "state": RunState.ACTIVE,
        "entered_ms": entered_ms,
        "changed_ms": entered_ms,
        "wake_ms": None,
        "document": b'{"path":[]}',
    }
    return Run(**(fields | overrides))


def a_timer(**overrides: Any) -> Timer:
    """Make a timer that wakes a run."""
    due_ms = overrides.get("due_ms", START_MS)
    profile = overrides.get("profile", user_profile(WORKSPACE, "ann"))
    fields: dict[str, Any] = {
        "id": ids.new_id("timer", due_ms),
        "shard": shard_of(profile),
        "due_ms": due_ms,
        "profile": profile,
        "kind": TimerKind.RUN,
        "about": ids.first_id("run", START_MS),
        "data": b"\x00{}",
    }
    return Timer(**(fields | overrides))


def a_node(**overrides: Any) -> Node:
    """Make a node that was seen just now and counts as alive for seven seconds."""
    seen_ms = overrides.get("seen_ms", START_MS)
    fields: dict[str, Any] = {
        "id": ids.first_id(ids.NODE, START_MS),
        "name": "host:4711",
        "version": "1.0",
        "roles": tuple(Role),
        "started_ms": START_MS,
        "seen_ms": seen_ms,
        "until_ms": seen_ms + 7000,
    }
    return Node(**(fields | overrides))


def _resource(prefix: str, overrides: dict[str, Any]) -> dict[str, Any]:
    created_ms = overrides.get("created_ms", START_MS)
    identifier = overrides.get("id", ids.new_id(prefix, created_ms))
    return {
        "id": identifier,
        "workspace": identifier if prefix == ids.WORKSPACE else WORKSPACE,
        "created_ms": created_ms,
        "updated_ms": created_ms,
    }


def a_sealed_secret(**overrides: Any) -> resources.SealedSecret:
    """Make a sealed secret. The text is no real seal: tests that open it must give one."""
    fields: dict[str, Any] = {"sealed": "v1.sealed", "created_ms": START_MS}
    return resources.SealedSecret(**(fields | overrides))


def a_workspace(**overrides: Any) -> resources.Workspace:
    """Make a workspace."""
    fields: dict[str, Any] = {"name": "default", "uid": "default"}
    return resources.Workspace(**(_resource(ids.WORKSPACE, overrides) | fields | overrides))


def an_api_key(**overrides: Any) -> resources.ApiKey:
    """Make an API key with a digest of its own."""
    fields = _resource(ids.API_KEY, overrides)
    fields |= {"name": "a key", "digest": f"digest of {fields['id']}", "ending": "abcd"}
    return resources.ApiKey(**(fields | overrides))


def a_source(**overrides: Any) -> resources.Source:
    """Make a source that verifies nothing."""
    fields = _resource(ids.SOURCE, overrides)
    fields |= {
        "name": "a source",
        "token_sealed": "v1.sealed",
        "token_digest": f"digest of {fields['id']}",
    }
    return resources.Source(**(fields | overrides))


def an_application(**overrides: Any) -> resources.Application:
    """Make an application."""
    fields: dict[str, Any] = {"name": "an application"}
    return resources.Application(**(_resource(ids.APPLICATION, overrides) | fields | overrides))


def an_endpoint(**overrides: Any) -> resources.Endpoint:
    """Make an endpoint of the default application that receives everything."""
    fields: dict[str, Any] = {
        "parent": APPLICATION,
        "url": "https://example.test/hook",
        "secrets": (a_sealed_secret(),),
    }
    return resources.Endpoint(**(_resource(ids.ENDPOINT, overrides) | fields | overrides))


def an_event_type(**overrides: Any) -> resources.EventType:
    """Make an event type."""
    fields: dict[str, Any] = {"uid": "order.paid"}
    return resources.EventType(**(_resource(ids.EVENT_TYPE, overrides) | fields | overrides))


def an_automation(**overrides: Any) -> resources.Automation:
    """Make an automation that sends every `order.paid` on, unchanged."""
    fields: dict[str, Any] = {
        "name": "an automation",
        "trigger": flows.EventTrigger(event_type="order.paid"),
        "send": flows.SendStep(url="https://example.test/automated"),
    }
    return resources.Automation(**(_resource(ids.AUTOMATION, overrides) | fields | overrides))


def an_automation_version(**overrides: Any) -> resources.AutomationVersion:
    """Make the published first version of an automation."""
    automation = overrides.get("automation", an_automation())
    fields: dict[str, Any] = {"parent": automation.id, "uid": str(automation.version), "automation": automation}
    return resources.AutomationVersion(**(_resource("autoversion", overrides) | fields | overrides))


def a_segment(**overrides: Any) -> resources.Segment:
    """Make a segment of people with a plan."""
    conditions = {"field": "profile.attributes.plan", "op": "eq", "value": "gold"}
    fields: dict[str, Any] = {"name": "a segment", "conditions": conditions}
    return resources.Segment(**(_resource("seg", overrides) | fields | overrides))


def a_secret(**overrides: Any) -> resources.Secret:
    """Make a workspace's secret."""
    fields: dict[str, Any] = {"uid": "token", "sealed": "v1.sealed"}
    return resources.Secret(**(_resource(ids.SECRET, overrides) | fields | overrides))
