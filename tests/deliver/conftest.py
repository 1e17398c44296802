"""Receivers on loopback and clients that are closed; transport tests run on both event loops."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from ipaddress import ip_network
from typing import Any

import pytest
import uvloop
from loopback_world import NewClient, Receivers

from posthorn.deliver.transport import AddressPolicy, HttpTransport
from posthorn.testing.clock import ManualClock

LOOPBACK_ALLOWED = AddressPolicy(allow=(ip_network("127.0.0.0/8"),))


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.name.startswith("test_transport_"):
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def receive() -> AsyncIterator[Receivers]:
    receivers = Receivers()
    yield receivers
    await receivers.close()


@pytest.fixture
async def client_with(receive: Receivers) -> AsyncIterator[NewClient]:
    """Build clients that may send to loopback; all are closed before the receivers are."""
    clients: list[HttpTransport] = []

    def build(**given: Any) -> HttpTransport:
        clients.append(HttpTransport(**{"policy": LOOPBACK_ALLOWED, **given}))
        return clients[-1]

    yield build
    for client in clients:
        await client.close()


@pytest.fixture
async def client(client_with: NewClient) -> HttpTransport:
    return client_with()
