"""Power cuts at random moments: what was promised arrives, what fires once fired once, counters are exact."""

import asyncio
import json
import os
import socket
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from crash_load import ENDPOINTS, LAST_USER, USERS, Load
from posthorn_process import Launch, Posthorn
from raw_http import Api
from recording_receiver import Behaviour, Received, Receiver, answering

from posthorn import ids
from posthorn.clock import SystemClock
from posthorn.engine.fairqueue import WIDEST_WINDOW
from posthorn.engine.journal import DeliveryQuery, EventQuery
from posthorn.engine.profiles import user_profile
from posthorn.engine.records import Append, DeliveryState, Event, NewDelivery
from posthorn.engine.resources import Kind
from posthorn.engine.shards import shard_of
from posthorn.storage.sqlite.store import SqliteStore

pytestmark = pytest.mark.crash

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "20"))
SEED = int(os.environ.get("CRASH_SEED", "0")) or Random().randrange(1, 10**9)
LANES = ENDPOINTS + 2
PENDING = 100_000
MOST_START_SECONDS = 2.0
_EVERYTHING = 1_000_000
_FAILING = answering(500)
_DRAIN_SECONDS = 90.0


class Arrivals:
    """What arrived in which life of the server, and which of it was answered 200."""

    def __init__(self) -> None:
        self.life = 0
        self.taken: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._failed: set[tuple[str, str]] = set()

    def behave(self, received: Received) -> Behaviour:
        """Fail the first attempt of some, so that retries too are under way when the power goes."""
        place = (received.path, received.webhook_id)
        if received.webhook_id.endswith(("A", "b", "5", "z")) and place not in self._failed:
            self._failed.add(place)
            return _FAILING
        self.taken[place].append(self.life)
        return Behaviour()

    def repeated(self) -> list[list[int]]:
        return [lives for lives in self.taken.values() if len(lives) > 1]


@pytest.fixture
def arrivals(receiver: Receiver) -> Arrivals:
    arrivals = Arrivals()
    for path in [*(f"/endpoint/{number}" for number in range(ENDPOINTS)), "/inbox", "/firing"]:
        receiver.behave(path, arrivals.behave)
    return arrivals


def report(text: str) -> None:
    """Write where pytest shows it when the test fails or runs with -s."""
    sys.stdout.write(f"\n{text}\n")


async def one_life(posthorn: Posthorn, load: Load, random: Random) -> None:
    """Start, send, and cut the power: mostly under load, sometimes in the middle of the start."""
    if random.random() < 0.2:
        posthorn.spawn()
        await asyncio.sleep(random.uniform(0.0, 0.8))  # the moment of a power cut is what this test varies
        await asyncio.to_thread(posthorn.kill)
        return
    await asyncio.to_thread(posthorn.start)
    dead = asyncio.Event()
    loading = asyncio.create_task(load.run(dead))
    await asyncio.sleep(random.uniform(0.02, 1.2))  # the same
    await asyncio.to_thread(posthorn.kill)
    dead.set()
    await loading


async def drained(posthorn: Posthorn, receiver: Receiver, load: Load) -> None:
    await asyncio.to_thread(posthorn.start)
    await load.end()
    await receiver.wait_for(
        lambda: any(json.loads(row.body)["user"] == LAST_USER for row in receiver.at("/firing")), _DRAIN_SECONDS
    )
    async with Api(posthorn) as api:
        await api.eventually("/delivery?state=pending&limit=1", lambda page: not page["data"], seconds=90, get="page")
    assert (await asyncio.to_thread(posthorn.stop)).code == 0


async def test_power_cuts_lose_nothing_and_double_nothing(
    launch: Launch, receiver: Receiver, arrivals: Arrivals
) -> None:
    random = Random(SEED)
    posthorn = launch()
    load = Load(posthorn, random)
    await asyncio.to_thread(posthorn.start)
    await load.set_up(receiver)
    await asyncio.to_thread(posthorn.kill)
    for _ in range(ROUNDS):
        await one_life(posthorn, load, random)
        await receiver.wait_until_deserted()
        arrivals.life += 1
    await drained(posthorn, receiver, load)
    repeated = arrivals.repeated()
    extra = sum(len(lives) - 1 for lives in repeated)
    promised = load.promised
    report(
        f"seed {SEED}, {ROUNDS} power cuts; promised {len(promised.messages)} messages, {len(promised.events)} events, "
        f"{len(promised.requests)} requests; unanswered: {load.unanswered}; "
        f"delivered: {len(arrivals.taken)}, repeated: {extra}"
    )
    store = await SqliteStore.open(posthorn.data, SystemClock())
    try:
        await check_stored(store, receiver, load)
    finally:
        await store.close()
    # A repetition is an attempt that was in flight when the power went, so it never stands in the same life.
    assert [lives for lives in repeated if len(set(lives)) != len(lives)] == []
    assert extra <= ROUNDS * LANES * WIDEST_WINDOW


async def check_stored(store: SqliteStore, receiver: Receiver, load: Load) -> None:
    """Compare promises, the journal, the counters and what arrived."""
    (workspace,) = await store.all(Kind.WORKSPACE)
    query = EventQuery(workspace=workspace.id, limit=_EVERYTHING, with_payload=True)
    events = (await store.events(query)).rows
    by_type: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        by_type[event.type].append(event)
    messages = {json.loads(event.payload or b"")["n"] for event in by_type["made"]}
    assert load.promised.messages - messages == set()
    for number in range(ENDPOINTS):
        arrived = {json.loads(row.body)["n"] for row in receiver.at(f"/endpoint/{number}")}
        assert arrived == messages
    assert load.promised.requests - {(event.payload or b"").decode() for event in by_type["got"]} == set()
    check_once_each(Counter(event.payload for event in by_type["got"]), receiver.at("/inbox"))
    assert load.promised.events - {event.uid for event in by_type["did"]} == set()
    check_firings(by_type["did"], receiver.at("/firing"), load)
    await check_counters(store, workspace.id, by_type["did"])
    pending = DeliveryQuery(workspace=workspace.id, state=DeliveryState.PENDING, limit=1)
    assert (await store.deliveries(pending)).rows == []


def check_once_each(stored: Counter[bytes | None], arrived: list[Received]) -> None:
    assert set(stored.values()) <= {1}
    ids_of: dict[bytes, set[str]] = defaultdict(set)
    for row in arrived:
        ids_of[row.body].add(row.webhook_id)
    assert set(ids_of) == set(stored)
    assert {len(found) for found in ids_of.values()} <= {1}


def check_firings(stored: list[Event], arrived: list[Received], load: Load) -> None:
    """Compare the pairs of user and key that fired: each exactly once, as distinct deliveries count."""
    fired: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in arrived:
        body = json.loads(row.body)
        fired[body["user"], body["key"]].add(row.webhook_id)
    pairs = {(event.user or "", json.loads(event.payload or b"")["key"]) for event in stored}
    assert load.promised.firings - pairs == set()
    assert set(fired) == pairs
    assert {pair: len(found) for pair, found in fired.items() if len(found) != 1} == {}


async def check_counters(store: SqliteStore, workspace: str, stored: list[Event]) -> None:
    expected = Counter(event.user for event in stored)
    assert max(Counter(event.uid for event in stored).values()) == 1
    found = {}
    for user in [*(f"u{number}" for number in range(USERS)), LAST_USER]:
        for count in await store.event_counts(user_profile(workspace, user)):
            assert count.type == "did"
            found[user] = count.count
    assert found == expected


@pytest.fixture
def refusing_port() -> Iterator[int]:
    """Hold a port on which nothing listens."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    yield held.getsockname()[1]
    held.close()


@pytest.fixture
async def piled_up(launch: Launch, refusing_port: int) -> Posthorn:
    """Make a store with 100,000 deliveries that are due, to 50 endpoints that refuse."""
    posthorn = launch()
    await asyncio.to_thread(posthorn.start)
    async with Api(posthorn) as api:
        await api.post("/app", {"name": "Pile", "uid": "pile"})
        url = f"http://127.0.0.1:{refusing_port}/"
        endpoints = [(await api.post("/app/pile/endpoint", {"url": url}))["id"] for _ in range(50)]
        application = (await api.get("/app/pile"))["id"]
    await asyncio.to_thread(posthorn.stop)
    await pile_up(posthorn.data, application, endpoints)
    return posthorn


async def pile_up(data: Path, application: str, endpoints: list[str]) -> None:
    clock = SystemClock()
    store = await SqliteStore.open(data, clock)
    (workspace,) = await store.all(Kind.WORKSPACE)
    for start in range(0, PENDING, 500):
        units = [a_message(workspace.id, application, endpoints[n % 50], clock) for n in range(start, start + 500)]
        await store.append(units)
    await store.close()


def a_message(workspace: str, application: str, endpoint: str, clock: SystemClock) -> Append:
    now_ms = clock.now_ms()
    event = Event(
        id=ids.new_id(ids.MESSAGE, now_ms),
        workspace=workspace,
        type="piled.up",
        occurred_ms=now_ms,
        received_ms=now_ms,
        application=application,
        payload=b'{"filling": "' + b"x" * 330 + b'"}',
    )
    delivery = NewDelivery(
        id=ids.new_id(ids.DELIVERY, now_ms), shard=shard_of(endpoint), endpoint=endpoint, due_ms=now_ms, event=event.id
    )
    return Append(event=event, deliveries=(delivery,))


async def test_a_start_with_a_hundred_thousand_pending_deliveries_takes_less_than_two_seconds(
    piled_up: Posthorn,
) -> None:
    taken = []
    for _ in range(2):
        taken.append(await asyncio.to_thread(piled_up.start))
        await asyncio.to_thread(piled_up.kill)
    report(f"start with {PENDING} pending deliveries: {', '.join(f'{seconds:.2f} s' for seconds in taken)}")
    assert min(taken) < MOST_START_SECONDS
