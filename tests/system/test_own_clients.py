"""The Python client against the real server: what it sends arrives, and what is left out it is told of."""

import asyncio
from typing import Any
from uuid import uuid4

from posthorn_process import API_KEY, Posthorn
from raw_http import Api

from posthorn.client import AsyncClient, Client, Lost


async def until_known(api: Api, user: str, name: str) -> Any:
    """Wait until what the client said of a person is decided."""
    async with asyncio.timeout(20):
        while True:
            rows = (await api.get("/profile?limit=250"))["data"]
            found = [row for row in rows if row["user"] == user and name in row["attributes"]]
            if found:
                return found[0]
            await asyncio.sleep(0.05)


async def test_calls_of_the_client_become_events_and_change_the_profile(posthorn: Posthorn, api: Api) -> None:
    source = await api.post("/source", {"name": "App", "mapping": {"type": "tracking"}})
    user = f"user-{uuid4().hex}"
    lost: list[Lost] = []
    url = f"http://127.0.0.1:{posthorn.port}"

    def work() -> None:
        with Client(url, write_key=source["writeKey"], api_key=API_KEY, on_lost=lost.append) as client:
            client.identify(user, traits={"plan": "gold", "name": "Ёж"})
            client.track("flight_booked", user_id=user, properties={"to": "LIS"})
            client.publish("order.paid", {"total": 12}, user=user)
            assert client.flush()

    await asyncio.to_thread(work)
    assert lost == []
    person = await until_known(api, user, "plan")
    assert person["attributes"] == {"plan": "gold", "name": "Ёж"}
    events = await api.rows(f"/event?user={user}")
    assert sorted(event["type"] for event in events) == ["flight_booked", "identify", "order.paid"]


async def test_a_call_that_the_server_leaves_out_is_told_and_the_others_arrive(posthorn: Posthorn, api: Api) -> None:
    source = await api.post("/source", {"name": "App", "mapping": {"type": "tracking"}})
    user = f"user-{uuid4().hex}"
    lost: list[Lost] = []
    url = f"http://127.0.0.1:{posthorn.port}"
    async with AsyncClient(url, write_key=source["writeKey"], on_lost=lost.append) as client:
        client.track("x" * 300, user_id=user)  # an event type has 256 characters at most
        client.track("fits", user_id=user)
        assert await client.flush()
    assert [event["type"] for event in await api.rows(f"/event?user={user}")] == ["fits"]
    assert len(lost) == 1
