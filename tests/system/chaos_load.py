"""Load on several nodes that goes on through faults: each thing is sent, under one identity, until it is answered."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from posthorn_process import Posthorn, inbox_path
from raw_http import Api, Client, Response
from recording_receiver import Receiver

APPS = 4
ENDPOINTS = 2  #: in each application
USERS = 24
_KEYS = 4
_SENDERS = 12
_PAUSE_SECONDS = 0.05
_AVOID_SECONDS = 2.0
_ANSWER_SECONDS = 3.0
_GIVE_UP_SECONDS = 90.0
_RETRIES = (1,) * 45


@dataclass(frozen=True, kw_only=True)
class Thing:
    """Something to send. Numbers rise in the order in which things are first sent."""

    number: int
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    to_inbox: bool = False


@dataclass(frozen=True, kw_only=True)
class Firing:
    """A user and a key for which an automation has to fire once."""

    user: str
    key: str


@dataclass
class Promised:
    """What was answered 202, by number: the ids that the answers named."""

    messages: dict[int, set[str]] = field(default_factory=dict)
    events: dict[int, set[str]] = field(default_factory=dict)
    requests: dict[int, set[str]] = field(default_factory=dict)
    apps: dict[int, int] = field(default_factory=dict)
    firings: dict[int, Firing] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.messages) + len(self.events) + len(self.requests)

    @property
    def decisions(self) -> int:
        """How often an automation has to decide."""
        return len(self.events) + len(self.requests)


class Load:
    """Clients that spread their calls over the nodes, and call another one when a node does not answer or says 503.

    For a moment they then leave that node alone, as a load balancer does.
    """

    def __init__(self, nodes: Sequence[Posthorn], random: Random) -> None:
        self.promised = Promised()
        self.last_number = 0
        self.unanswered = 0
        self.refused = 0
        self.unexpected: list[tuple[int, bytes]] = []
        self._nodes = nodes
        self._random = random
        self._inbox_path = ""
        self._phase = 0
        self._clients: dict[tuple[str, int], Client] = {}
        self._avoided: dict[str, float] = {}

    async def set_up(self, receiver: Receiver) -> None:
        """Make the applications, endpoints, automations and the source, at the first node."""
        async with Api(self._nodes[0]) as api:
            for app in range(APPS):
                await api.post("/app", {"name": f"Chaos {app}", "uid": f"chaos{app}"})
                for endpoint in range(ENDPOINTS):
                    url = receiver.url(endpoint_path(app, endpoint))
                    await api.post(f"/app/chaos{app}/endpoint", {"url": url, "retryScheduleSeconds": _RETRIES})
            source = await api.post("/source", {"name": "In", "eventType": "got", "dedupe": {"header": "x-key"}})
            self._inbox_path = inbox_path(source["url"])
            await api.post("/automation", _automation("got", receiver.url("/inbox"), None, {"type": "always"}))
            once = {"type": "once_per_key", "key": "{{ event.data.key }}"}
            body = '{"user": "{{ user.id }}", "key": "{{ event.data.key }}", "n": {{ event.data.n }}}'
            await api.post("/automation", _automation("did", receiver.url("/firing"), body, once))
            await api.post("/app", {"name": "Last", "uid": "last"})
        for node in self._nodes:
            async with Api(node) as api:
                # A node that is named an application which it does not know yet catches up with all that was written.
                await api.post("/app/last/msg", {"eventType": "known", "payload": {"n": 0}})

    def new_phase(self) -> int:
        """Use new keys from now on, so that there is something to fire for every user; return the last number."""
        self._phase += 1
        return self.last_number

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send all the while; at the end everything that was begun is answered."""
        until = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for _ in range(_SENDERS):
                group.create_task(self._work(until))
            try:
                yield
            finally:
                until.set()
        for client in self._clients.values():
            await client.close()
        self._clients.clear()

    async def _work(self, until: asyncio.Event) -> None:
        while not until.is_set():
            await self._send(self._random.choice((self._message, self._event, self._request))())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(until.wait(), _PAUSE_SECONDS)

    async def _send(self, thing: Thing) -> None:
        """Send until it is answered. A lost answer and a 503 are the same to a client: it asks again."""
        async with asyncio.timeout(_GIVE_UP_SECONDS):
            while True:
                node = self._pick()
                try:
                    async with asyncio.timeout(_ANSWER_SECONDS):
                        response = await self._call(node, thing)
                except OSError:  # TimeoutError is one
                    self.unanswered += 1
                else:
                    if response.status != 503:
                        self._record(thing, response)
                        return
                    self.refused += 1
                self._avoided[node.data.name] = time.monotonic() + _AVOID_SECONDS
                await asyncio.sleep(_PAUSE_SECONDS)

    def _pick(self) -> Posthorn:
        now = time.monotonic()
        liked = [node for node in self._nodes if self._avoided.get(node.data.name, 0.0) < now]
        return self._random.choice(liked or self._nodes)

    async def _call(self, node: Posthorn, thing: Thing) -> Response:
        port = node.inbox_port if thing.to_inbox else node.port
        client = self._clients.get((node.host, port))
        if client is None:
            made = Client(port, host=node.host) if thing.to_inbox else Api(node)
            client = self._clients.setdefault((node.host, port), made)
        return await client.request("POST", thing.path, thing.headers, thing.body)

    def _record(self, thing: Thing, response: Response) -> None:
        if response.status != 202:
            self.unexpected.append((response.status, response.body))
            return
        kept = self._kept_for(thing)
        kept.setdefault(thing.number, set()).add("" if thing.to_inbox else response.json()["id"])

    def _kept_for(self, thing: Thing) -> dict[int, set[str]]:
        if thing.to_inbox:
            return self.promised.requests
        return self.promised.events if thing.number in self.promised.firings else self.promised.messages

    def _number(self) -> int:
        self.last_number += 1
        return self.last_number

    def _message(self) -> Thing:
        number, app = self._number(), self._random.randrange(APPS)
        self.promised.apps[number] = app
        body = f'{{"eventType": "made", "eventId": "m{number}", "payload": {{"n": {number}}}}}'.encode()
        return Thing(number=number, path=f"/api/v1/app/chaos{app}/msg", headers=_json(f"m{number}"), body=body)

    def _event(self) -> Thing:
        number = self._number()
        firing = Firing(user=f"u{self._random.randrange(USERS)}", key=f"k{self._phase}.{self._random.randrange(_KEYS)}")
        self.promised.firings[number] = firing
        body = (
            f'{{"type": "did", "user": "{firing.user}", "id": "e{number}", '
            f'"data": {{"key": "{firing.key}", "n": {number}}}}}'
        )
        return Thing(number=number, path="/api/v1/event", headers=_json(f"e{number}"), body=body.encode())

    def _request(self) -> Thing:
        number = self._number()
        headers = (("x-key", f"r{number}"),)
        return Thing(number=number, path=self._inbox_path, headers=headers, body=b'{"n": %d}' % number, to_inbox=True)


def endpoint_path(app: int, endpoint: int) -> str:
    return f"/app/{app}/{endpoint}"


def _json(key: str) -> tuple[tuple[str, str], ...]:
    return (("content-type", "application/json"), ("idempotency-key", key))


def _automation(event_type: str, url: str, body: str | None, eligibility: object) -> object:
    return {
        "name": event_type,
        "trigger": {"eventType": event_type},
        "eligibility": eligibility,
        "send": {"url": url, "body": body},
        "retryScheduleSeconds": _RETRIES,
    }
