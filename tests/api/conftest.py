from collections.abc import AsyncIterator

import httpx
import pytest
from served import World, build_world, serving
from svix.api import SvixAsync, SvixOptions


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with serving(await build_world()) as served:
        yield served


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.client() as client:
        yield client


@pytest.fixture
async def svix(world: World) -> AsyncIterator[SvixAsync]:
    sdk = SvixAsync(world.token, SvixOptions(server_url=f"{world.url}/", retry_schedule=[]))
    async with sdk._httpx_client:
        yield sdk
