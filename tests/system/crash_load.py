"""Load that knows what it was promised: messages, events of users and inbox requests, and which were answered."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

from posthorn_process import Posthorn, inbox_path
from raw_http import Api, Client, Response
from recording_receiver import Receiver

ENDPOINTS = 3
USERS = 24
KEYS = 6
LAST_USER = "the-last-one"
_WORKERS = 6
_RETRIES = (1,) * 12


@dataclass
class Promised:
    """What was answered 2xx (or 409: stored already), each under its own number or name."""

    messages: set[int] = field(default_factory=set)
    events: set[str] = field(default_factory=set)
    requests: set[str] = field(default_factory=set)
    firings: set[tuple[str, str]] = field(default_factory=set)


class Load:
    """Sends at random, and sends again some of what was not answered, under the same identity."""

    def __init__(self, posthorn: Posthorn, random: Random) -> None:
        self._posthorn = posthorn
        self._random = random
        self._inbox_path = ""
        self._count = 0
        self.promised = Promised()
        self.unanswered = 0

    async def set_up(self, receiver: Receiver) -> None:
        async with Api(self._posthorn) as api:
            await api.post("/app", {"name": "Crash", "uid": "crash"})
            for number in range(ENDPOINTS):
                url = receiver.url(f"/endpoint/{number}")
                await api.post("/app/crash/endpoint", {"url": url, "retryScheduleSeconds": _RETRIES})
            source = await api.post("/source", {"name": "In", "eventType": "got", "dedupe": {"header": "x-key"}})
            self._inbox_path = inbox_path(source["url"])
            await api.post("/automation", _automation("got", receiver.url("/inbox"), None, {"type": "always"}))
            once = {"type": "once_per_key", "key": "{{ event.data.key }}"}
            body = '{"user": "{{ user.id }}", "key": "{{ event.data.key }}"}'
            await api.post("/automation", _automation("did", receiver.url("/firing"), body, once))

    async def run(self, until: asyncio.Event) -> None:
        """Send with several connections to each door until told to stop or the server is gone."""
        async with Api(self._posthorn) as api, Client(self._posthorn.inbox_port) as inbox:
            await asyncio.gather(*(self._work(api, inbox, until) for _ in range(_WORKERS)))

    async def _work(self, api: Api, inbox: Client, until: asyncio.Event) -> None:
        again: Callable[[Api, Client], Awaitable[None]] | None = None
        while not until.is_set():
            send = again or self._random.choice((self._message, self._event, self._request))()
            again = None
            try:
                await send(api, inbox)
            except OSError:
                self.unanswered += 1
                again = send if self._random.random() < 0.5 else None
                if until.is_set() and again is None:
                    return
                await until.wait()

    def _number(self) -> int:
        self._count += 1
        return self._count

    def _message(self) -> Callable[[Api, Client], Awaitable[None]]:
        number = self._number()

        async def send(api: Api, _: Client) -> None:
            body = {"eventType": "made", "eventId": f"m{number}", "payload": {"n": number}}
            _expect(await api.call("POST", "/app/crash/msg", body), 202, 409)
            self.promised.messages.add(number)

        return send

    def _event(self) -> Callable[[Api, Client], Awaitable[None]]:
        user, key = f"u{self._random.randrange(USERS)}", f"k{self._random.randrange(KEYS)}"
        return self._event_of(user, key)

    def _event_of(self, user: str, key: str) -> Callable[[Api, Client], Awaitable[None]]:
        identifier = f"e{self._number()}"

        async def send(api: Api, _: Client) -> None:
            body = {"type": "did", "user": user, "id": identifier, "data": {"key": key}}
            _expect(await api.call("POST", "/event", body), 202)
            self.promised.events.add(identifier)
            self.promised.firings.add((user, key))

        return send

    def _request(self) -> Callable[[Api, Client], Awaitable[None]]:
        key = f"r{self._number()}"

        async def send(_: Api, inbox: Client) -> None:
            response = await inbox.request("POST", self._inbox_path, [("x-key", key)], key.encode())
            _expect(response, 202)
            self.promised.requests.add(key)

        return send

    async def end(self) -> None:
        """Send the last event: decisions are made oldest first, so when it fired, all before it are decided."""
        async with Api(self._posthorn) as api, Client(self._posthorn.inbox_port) as inbox:
            await self._event_of(LAST_USER, "k")(api, inbox)


def _automation(event_type: str, url: str, body: str | None, eligibility: object) -> object:
    return {
        "name": event_type,
        "trigger": {"eventType": event_type},
        "eligibility": eligibility,
        "send": {"url": url, "body": body},
        "retryScheduleSeconds": _RETRIES,
    }


def _expect(response: Response, *statuses: int) -> None:
    assert response.status in statuses, (response.status, response.body)
