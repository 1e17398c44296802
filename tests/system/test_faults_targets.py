"""What goes wrong on the way out: addresses that are refused, receivers that fail, hang, move or are gone."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from posthorn_process import API_KEY, Launch, Posthorn, inbox_path
from raw_http import Api, Client
from recording_receiver import DROPPING, HANGING, Receiver, answering


async def an_endpoint(api: Api, uid: str, url: str, **fields: Any) -> str:
    """Make an application with one endpoint and return the endpoint's id."""
    await api.post("/app", {"name": uid, "uid": uid})
    endpoint: str = (await api.post(f"/app/{uid}/endpoint", {"url": url, **fields}))["id"]
    return endpoint


async def send(api: Api, uid: str) -> str:
    message: str = (await api.post(f"/app/{uid}/msg", {"eventType": "a.b", "payload": {"to": uid}}))["id"]
    return message


async def first_attempt(api: Api, endpoint: str, seconds: float = 20.0) -> Any:
    rows = await api.eventually(f"/attempt?endpoint={endpoint}", bool, seconds=seconds)
    return rows[-1]


def half_a_second_ago() -> datetime:
    """Return an instant that the server's polls, ten in a second, have left behind."""
    return datetime.now(UTC) - timedelta(seconds=0.5)


def seconds_between(attempt: Any) -> float:
    """Return how long after an attempt's start the next one is due."""
    started = datetime.fromisoformat(attempt["startedAt"])
    return (datetime.fromisoformat(attempt["nextAttemptAt"]) - started).total_seconds()


@pytest.fixture
async def guarded(launch: Launch) -> Api:
    """Serve without any allowed private target."""
    posthorn = launch(flags=())
    await asyncio.to_thread(posthorn.start)
    return Api(posthorn)


REFUSED = [
    ("http://127.0.0.1/", "address_not_allowed"),
    ("http://127.1/", "address_not_allowed"),
    ("http://0x7f000001/", "address_not_allowed"),
    ("http://2130706433/", "address_not_allowed"),
    ("http://0177.0.0.1/", "address_not_allowed"),
    ("http://10.1.2.3/", "address_not_allowed"),
    ("http://192.168.0.1/", "address_not_allowed"),
    ("http://169.254.169.254/latest/meta-data", "address_not_allowed"),
    ("http://0.0.0.0/", "address_not_allowed"),
    ("http://[::1]/", "address_not_allowed"),
    ("http://[::ffff:127.0.0.1]/", "address_not_allowed"),
    ("http://[::ffff:7f00:1]/", "address_not_allowed"),
    ("http://[fd00::1]/", "address_not_allowed"),
    ("http://[64:ff9b::7f00:1]/", "address_not_allowed"),
    ("http://user:password@example.com/", "url_has_credentials"),
    ("ftp://example.com/", "scheme_not_allowed"),
    ("file:///etc/passwd", "scheme_not_allowed"),
    ("http://example.com:25/", "port_not_allowed"),
    ("http://", "url_invalid"),
    ("http://exa mple.com/", "url_invalid"),
]


async def test_a_url_that_would_not_be_sent_to_is_refused_at_creation(guarded: Api) -> None:
    async with guarded as api:
        await api.post("/app", {"name": "Guarded", "uid": "guarded"})
        found = {}
        for url, _ in REFUSED:
            response = await api.call("POST", "/app/guarded/endpoint", {"url": url})
            assert response.status == 422, (url, response.body)
            (problem,) = response.json()["detail"]
            assert problem["loc"] == ["body", "url"]
            found[url] = problem["type"]
        # Spellings of numbers that only some parsers read as addresses may be refused as no host names at all.
        odd = {url for url, _ in REFUSED if found[url] == "url_invalid"}
        assert {url: code for url, code in found.items() if url not in odd} == {
            url: code for url, code in REFUSED if url not in odd
        }
        automation = {"name": "A", "trigger": {"eventType": "x"}, "send": {"url": "http://169.254.169.254/"}}
        response = await api.call("POST", "/automation", automation)
        assert (response.status, response.json()["detail"][0]["loc"]) == (422, ["body", "send", "url"])


async def test_an_address_that_is_no_longer_allowed_is_refused_when_sending(launch: Launch, receiver: Receiver) -> None:
    posthorn = launch()
    await asyncio.to_thread(posthorn.start)
    async with Api(posthorn) as api:
        endpoint = await an_endpoint(api, "stored", receiver.url("/never"))
        by_name = await an_endpoint(api, "named", f"http://localhost:{receiver.port}/never")
    await asyncio.to_thread(posthorn.stop)
    posthorn.flags = ()
    await asyncio.to_thread(posthorn.start)
    async with Api(posthorn) as api:
        await send(api, "stored")
        await send(api, "named")
        for identifier in (endpoint, by_name):
            attempt = await first_attempt(api, identifier)
            assert (attempt["error"], attempt["responseStatus"]) == ("address_not_allowed", None)
            assert "--allow-target" in attempt["detail"]
    assert receiver.received == []


async def test_a_template_cannot_lead_to_a_refused_address(guarded: Api, receiver: Receiver) -> None:
    async with guarded as api:
        send_step = {"url": "http://{{ event.data.host }}/"}
        await api.post("/automation", {"name": "A", "trigger": {"eventType": "lead"}, "send": send_step})
        await api.post("/event", {"type": "lead", "data": {"host": f"127.0.0.1:{receiver.port}"}})
        (attempt,) = await api.eventually("/attempt", bool)
        assert attempt["state"] in ("pending", "exhausted")
        assert attempt["error"] in ("address_not_allowed", "url_invalid")
    assert receiver.received == []


async def test_a_410_disables_the_endpoint_and_says_so_in_an_event(api: Api, receiver: Receiver) -> None:
    receiver.behave("/gone", answering(410))
    endpoint = await an_endpoint(api, "gone", receiver.url("/gone"))
    await send(api, "gone")
    shown = await api.eventually(f"/app/gone/endpoint/{endpoint}", lambda row: row["disabled"], get="one")
    assert shown["disabledReason"] == "gone"
    (event,) = await api.eventually("/event?type=endpoint.disabled&with_content=true", bool)
    assert event["payload"] | {"time": ""} == {
        "appId": (await api.get("/app/gone"))["id"],
        "endpointId": endpoint,
        "endpointUid": None,
        "reason": "gone",
        "attemptId": (await first_attempt(api, endpoint))["id"],
        "time": "",
    }
    (delivery,) = await api.rows(f"/delivery?endpoint={endpoint}")
    assert (delivery["state"], delivery["attempts"]) == ("exhausted", 1)
    await send(api, "gone")
    assert len(await api.rows(f"/delivery?endpoint={endpoint}")) == 1


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_in_seconds_is_waited_for(api: Api, receiver: Receiver, status: int) -> None:
    receiver.behave("/later", answering(status, "retry-after: 900\r\n"))
    endpoint = await an_endpoint(api, f"later-{status}", receiver.url("/later"))
    await send(api, f"later-{status}")
    attempt = await first_attempt(api, endpoint)
    assert attempt["responseStatus"] == status
    assert 900 <= seconds_between(attempt) < 960


async def test_retry_after_as_a_date_is_waited_for(api: Api, receiver: Receiver) -> None:
    at = datetime.now(UTC) + timedelta(hours=2)
    receiver.behave("/date", answering(503, f"retry-after: {format_datetime(at, usegmt=True)}\r\n"))
    endpoint = await an_endpoint(api, "date", receiver.url("/date"))
    await send(api, "date")
    assert 7100 <= seconds_between(await first_attempt(api, endpoint)) <= 7201


async def test_retry_after_is_waited_for_a_day_at_most_and_only_where_it_means_that(
    api: Api, receiver: Receiver
) -> None:
    receiver.behave("/forever", answering(503, "retry-after: 99999999999999999999\r\n"))
    receiver.behave("/error", answering(500, "retry-after: 900\r\n"))
    receiver.behave("/nonsense", answering(429, "retry-after: when it suits you\r\n"))
    forever = await an_endpoint(api, "forever", receiver.url("/forever"))
    error = await an_endpoint(api, "error", receiver.url("/error"))
    nonsense = await an_endpoint(api, "nonsense", receiver.url("/nonsense"))
    for uid in ("forever", "error", "nonsense"):
        await send(api, uid)
    assert 86_400 <= seconds_between(await first_attempt(api, forever)) < 86_460
    assert 4 <= seconds_between(await first_attempt(api, error)) < 60
    assert 4 <= seconds_between(await first_attempt(api, nonsense)) < 60


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_a_failure_and_never_followed(api: Api, receiver: Receiver, status: int) -> None:
    receiver.behave("/moved", answering(status, f"location: {receiver.url('/elsewhere')}\r\n"))
    endpoint = await an_endpoint(api, f"moved-{status}", receiver.url("/moved"))
    await send(api, f"moved-{status}")
    attempt = await first_attempt(api, endpoint)
    assert (attempt["responseStatus"], attempt["state"]) == (status, "pending")
    assert receiver.at("/elsewhere") == []


async def test_a_receiver_that_hangs_up_is_recorded_and_tried_again(api: Api, receiver: Receiver) -> None:
    receiver.behave("/drop", DROPPING)
    endpoint = await an_endpoint(api, "drop", receiver.url("/drop"), retryScheduleSeconds=[1, 1])
    await send(api, "drop")
    attempt = await first_attempt(api, endpoint)
    assert attempt["error"] in ("connection_reset", "connection_closed")
    rows = await api.eventually(f"/attempt?endpoint={endpoint}", lambda rows: len(rows) == 3)
    assert [row["state"] for row in rows] == ["exhausted", "pending", "pending"]
    assert [row["number"] for row in rows] == [3, 2, 1]
    assert len({row.webhook_id for row in receiver.at("/drop")}) == 1
    (delivery,) = await api.rows(f"/delivery?endpoint={endpoint}")
    assert (delivery["state"], delivery["attempts"]) == ("exhausted", 3)


async def test_a_receiver_that_never_answers_is_a_timeout(api: Api, receiver: Receiver) -> None:
    receiver.behave("/hang", HANGING)
    endpoint = await an_endpoint(api, "hang", receiver.url("/hang"), deadlineSeconds=1)
    await send(api, "hang")
    attempt = await first_attempt(api, endpoint)
    assert (attempt["error"], attempt["responseStatus"], attempt["state"]) == ("timeout", None, "pending")
    assert 990_000 <= attempt["timings"]["totalUs"] < 5_000_000  # timers count in milliseconds


async def test_a_port_where_nobody_listens_is_a_refused_connection(api: Api, receiver: Receiver) -> None:
    await receiver.close()
    endpoint = await an_endpoint(api, "refused", receiver.url("/"))
    await receiver.open()
    await send(api, "refused")
    assert (await first_attempt(api, endpoint))["error"] == "connection_refused"


async def test_a_response_is_kept_up_to_its_limit(api: Api, receiver: Receiver) -> None:
    receiver.behave("/long", answering(200, body="x" * 500_000))
    endpoint = await an_endpoint(api, "long", receiver.url("/long"))
    await send(api, "long")
    attempt = await api.get(f"/attempt/{(await first_attempt(api, endpoint))['id']}")
    assert (attempt["state"], len(attempt["responseBody"])) == ("delivered", 16 * 1024)


async def test_a_template_that_fails_is_a_failed_decision_with_line_and_column(api: Api, receiver: Receiver) -> None:
    body = 'one line\n  {{ event.data.items | join: ", " | divided_by: 0 }}'
    send_step = {"url": receiver.url("/template"), "body": body, "headers": {"content-type": "text/plain"}}
    automation = {"name": "Broken", "trigger": {"eventType": "template.fails"}, "send": send_step}
    created = await api.call("POST", "/automation", automation)
    assert created.status == 201, created.body
    await api.post("/event", {"type": "template.fails", "data": {"items": [1, 2]}})
    identifier = created.json()["id"]
    (decision,) = await api.eventually(f"/decision?automation={identifier}", bool)
    assert (decision["outcome"], decision["reason"]) == ("failed", "template_failed")
    assert (decision["data"]["part"], decision["data"]["line"]) == ("body", 2)
    assert decision["data"]["column"] > 1
    assert "line 2, column" in decision["detail"]
    assert receiver.at("/template") == []


async def test_an_automation_passes_its_hops_on(api: Api, inbox: Client, receiver: Receiver) -> None:
    source = await api.post("/source", {"name": "Hops", "eventType": "hops"})
    await api.post(
        "/automation", {"name": "H", "trigger": {"eventType": "hops"}, "send": {"url": receiver.url("/hops")}}
    )
    path = inbox_path(source["url"])
    for hops in ("0", "3"):
        await inbox.request("POST", path, [("posthorn-hops", hops)], b"{}")
    rows = await receiver.wait_for_count("/hops", 2)
    assert sorted(row.header("posthorn-hops") or "" for row in rows) == ["1", "4"]
    for nonsense in ("5", "99999999999", "-1", "many"):
        refused = await inbox.request("POST", path, [("posthorn-hops", nonsense)], b"{}")
        assert (refused.status, refused.json()["code"]) == (508, "loop_detected")


async def test_a_loop_through_the_api_of_events_ends_by_itself(api: Api, receiver: Receiver) -> None:
    await api.post("/secret", {"name": "OWN_KEY", "value": API_KEY})
    again = {
        "url": f"http://127.0.0.1:{api.posthorn.port}/api/v1/event",
        "headers": {"Authorization": "Bearer {{ secrets.OWN_KEY }}", "Content-Type": "application/json"},
        "body": '{"type": "looping", "user": "u", "data": {}}',
    }
    steps = [
        {"type": "send", "name": "tell", "send": {"url": receiver.url("/looping"), "body": "{}"}},
        {"type": "send", "name": "again", "send": again},
    ]
    flow = {"triggers": [{"type": "event", "eventType": "looping"}], "steps": steps}
    await api.post("/automation", {"name": "Loop", "flow": flow})
    await api.post("/event", {"type": "looping", "user": "u", "data": {}})
    await api.eventually("/attempt", lambda rows: any(row["responseStatus"] == 508 for row in rows))
    rows = await receiver.wait_for_count("/looping", 5)
    assert sorted(row.header("posthorn-hops") or "" for row in rows) == ["1", "2", "3", "4", "5"]


async def test_a_deleted_endpoint_cancels_what_it_was_owed(api: Api, receiver: Receiver) -> None:
    receiver.behave("/fails", answering(500))
    endpoint = await an_endpoint(api, "deleted", receiver.url("/fails"), retryScheduleSeconds=[1, 1])
    await send(api, "deleted")
    await first_attempt(api, endpoint)
    assert (await api.call("DELETE", f"/app/deleted/endpoint/{endpoint}")).status == 204
    (delivery,) = await api.eventually(
        f"/delivery?endpoint={endpoint}", lambda rows: rows and rows[0]["state"] == "cancelled"
    )
    assert delivery["reason"] == "endpoint_deleted"


async def test_pending_deliveries_of_an_endpoint_go_out_once_it_is_enabled_again(api: Api, receiver: Receiver) -> None:
    receiver.behave("/paused", answering(500))
    endpoint = await an_endpoint(api, "paused", receiver.url("/paused"), retryScheduleSeconds=[2, 2])
    await send(api, "paused")
    await first_attempt(api, endpoint)
    await api.patch(f"/app/paused/endpoint/{endpoint}", {"disabled": True})
    receiver.behave("/paused", answering(200))
    pending = f"/delivery?endpoint={endpoint}"
    await api.eventually(pending, lambda rows: datetime.fromisoformat(rows[0]["nextAttemptAt"]) < half_a_second_ago())
    assert len(receiver.at("/paused")) == 1
    await api.patch(f"/app/paused/endpoint/{endpoint}", {"disabled": False})
    await receiver.wait_for_count("/paused", 2, seconds=5)
    assert json.loads(receiver.at("/paused")[1].body) == {"to": "paused"}


async def test_the_server_of_this_module_has_met_nothing_unexpected(posthorn: Posthorn) -> None:
    assert "Traceback" not in posthorn.errors
    assert "error.unexpected" not in posthorn.errors
