"""Two nodes over one store: calls that come to both at the same moment."""

import asyncio

import msgspec
import pytest
from msgspec import structs

from posthorn.engine.directory import Directory
from posthorn.engine.records import Append, Appended, AppendResult
from posthorn.engine.resources import Endpoint, Kind, Resource, SealedSecret
from posthorn.manage.idempotency import Idempotency, KeptAnswer
from posthorn.manage.operational import Operational
from posthorn.manage.registrar import Registrar
from posthorn.manage.resealing import Resealing
from posthorn.receive.messages import KeyReused
from posthorn.telemetry import Telemetry
from posthorn.testing.clock import START_MS, ManualClock
from posthorn.testing.factories import WORKSPACE, an_endpoint
from posthorn.testing.memory import MemoryStore
from posthorn.vault import KeyRing


class Halting(MemoryStore):
    """A store at which whoever has read an endpoint waits until everybody who may has read it."""

    def __init__(self) -> None:
        super().__init__(ManualClock())
        self.turns = 20

    async def get(self, kind: Kind, workspace: str, identifier: str, *, parent: str = "") -> Resource | None:
        found = await super().get(kind, workspace, identifier, parent=parent)
        for _ in range(self.turns):
            await asyncio.sleep(0)
        return found


@pytest.fixture
def store() -> Halting:
    return Halting()


async def edit(store: MemoryStore, **change: object) -> None:
    """Change an endpoint as a node of its own."""
    registrar = Registrar(store, Directory(), ManualClock())
    async with registrar.editing:
        endpoint = await registrar.find(Endpoint, WORKSPACE, "ep_1", parent=an_endpoint().parent)
        await registrar.put(structs.replace(endpoint, **change))


async def stored(store: MemoryStore) -> Endpoint:
    found = await store.get(Kind.ENDPOINT, WORKSPACE, "ep_1", parent=an_endpoint().parent)
    assert isinstance(found, Endpoint)
    return found


async def test_two_changes_of_one_resource_at_two_nodes_both_stay(store: Halting) -> None:
    await store.insert(an_endpoint(id="ep_1"))
    await asyncio.gather(edit(store, description="edited"), edit(store, throttle_rate=5))
    endpoint = await stored(store)
    assert (endpoint.description, endpoint.throttle_rate) == ("edited", 5)


async def test_an_edit_while_an_endpoint_is_switched_off_is_kept(store: Halting) -> None:
    await store.insert(an_endpoint(id="ep_1"))
    directory = Directory()
    await directory.load(store)

    async def accept(_: Append) -> AppendResult:
        return Appended()

    operational = Operational(
        registry=store, directory=directory, accept=accept, clock=ManualClock(), telemetry=Telemetry(strict=True)
    )
    await asyncio.gather(operational.endpoint_gone("ep_1", "atmpt_1"), edit(store, description="edited"))
    endpoint = await stored(store)
    assert (endpoint.description, endpoint.disabled) == ("edited", True)


async def test_an_edit_while_a_node_reseals_is_kept(store: Halting) -> None:
    old, new = KeyRing([b"o" * 32]), KeyRing([b"n" * 32, b"o" * 32])
    secret = SealedSecret(sealed=old.seal(b"whsec_a", context="ep_1"), created_ms=START_MS)
    await store.insert(an_endpoint(id="ep_1", secrets=(secret,)))
    directory = Directory()
    await directory.load(store)
    await edit(store, description="edited")
    assert await Resealing(store, directory, new).run() == 1
    endpoint = await stored(store)
    assert endpoint.description == "edited"
    assert not new.needs_reseal(endpoint.secrets[0].sealed)


async def test_twins_at_two_nodes_do_the_work_once_and_get_one_answer(store: Halting) -> None:
    done: list[str] = []

    async def call(node: str) -> bytes:
        idempotency = Idempotency(store, ManualClock(), KeyRing([b"k" * 32]))
        async with idempotency.turn(WORKSPACE, "key"):
            kept = await idempotency.find(WORKSPACE, "key", b"call")
            if kept is not None:
                return kept.body
            await asyncio.sleep(0)
            done.append(node)
            answer = KeptAnswer(status=201, body=msgspec.json.encode({"id": node}))
            await idempotency.keep(WORKSPACE, "key", b"call", answer)
            return answer.body

    answers = await asyncio.gather(call("a"), call("b"))
    assert done == ["a"]
    assert answers == [b'{"id":"a"}'] * 2
    with pytest.raises(KeyReused):
        await Idempotency(store, ManualClock(), KeyRing([b"k" * 32])).find(WORKSPACE, "key", b"another call")
