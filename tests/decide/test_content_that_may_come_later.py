"""Connected content over the real transport while events are decided: `:retry`, and hosts that do not answer."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from deciding_world import World

from posthorn.deliver.content import ContentFetcher
from posthorn.deliver.transport import AddressPolicy, HttpTransport
from posthorn.engine.flows import Once
from posthorn.engine.records import OutgoingRequest

LOOPBACK = AddressPolicy(allow=(ip_network("127.0.0.0/8"),))


class Prices:
    """A host on loopback that answers with these statuses, one after the other; 0 leaves a request unanswered."""

    def __init__(self) -> None:
        self.statuses: Iterator[int] = iter(())
        self.asked: list[str] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readuntil(b"\r\n\r\n"):
                self.asked.append(line.split()[1].decode())
                status = next(self.statuses, 200)
                if status:
                    writer.write(b'HTTP/1.1 %d X\r\nContent-Length: 10\r\n\r\n{"p":  17}' % status)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client left
        finally:
            writer.close()

    def send(self, options: str = ":retry", path: str = "x", to: str = "https://shop.test/hook") -> dict[str, Any]:
        body = f'{{% connected_content {self.url}/{path} :save r {options} %}}{{"p": {{{{r.p}}}}}}'
        return {"url": to, "dialect": "braze", "body": body}

    def step(self, name: str, **fields: Any) -> dict[str, Any]:
        return {"type": "send", "name": name, "send": self.send(**fields)}


@pytest.fixture
async def prices() -> AsyncIterator[Prices]:
    host = Prices()
    await host.start()
    yield host
    await host.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    transport = HttpTransport(policy=LOOPBACK)
    contents = ContentFetcher(
        transport=transport,
        credential=lambda _workspace, _name: None,
        clock=world.clock,
        telemetry=world.telemetry,
        deadline_seconds=0.3,
    )
    world.loop._fetch = contents.fetch
    yield world
    await transport.close()


def bodies(world: World) -> list[str | None]:
    return [request.body for request in world.requests()]


ON = [{"type": "event", "eventType": "order.paid"}]
PLAIN = {"type": "send", "name": "plain", "send": {"url": "https://shop.test/plain", "body": "{}"}}


async def test_without_retry_a_failing_host_is_asked_once_and_its_answer_is_nothing(
    world: World, prices: Prices
) -> None:
    prices.statuses = iter([503])
    await world.automation(send=prices.send(options=""))
    await world.happen()
    await world.decide_all()
    await world.pass_time(3600)
    assert (bodies(world), prices.asked) == (['{"p": null}'], ["/x"])


async def test_with_retry_the_request_waits_and_is_sent_with_what_comes_later(world: World, prices: Prices) -> None:
    prices.statuses = iter([503, 429, 200])
    await world.automation(send=prices.send(), eligibility=Once())
    await world.happen()
    await world.decide_all()
    assert (world.outcomes(), bodies(world), world.runs()) == ([("fired", "entered")], [], [("", "active")])
    await world.pass_time(59)
    assert len(prices.asked) == 1
    await world.pass_time(2)
    assert (len(prices.asked), bodies(world)) == (2, [])
    await world.pass_time(121)
    assert (len(prices.asked), bodies(world), world.runs()) == (3, ['{"p": 17}'], [("", "completed")])
    assert world.footprints() == ["entered", "waits", "waits", "queued", "completed"]
    await world.happen()
    await world.decide_all()
    assert world.outcomes()[-1] == ("not_eligible", "fired_before")


async def test_after_five_tries_the_message_is_aborted_and_its_run_goes_on(world: World, prices: Prices) -> None:
    prices.statuses = iter([503, 500, 408, 599, 502])
    await world.flow(triggers=ON, steps=[prices.step("priced"), PLAIN])
    await world.happen()
    await world.decide_all()
    for seconds in (60, 120, 240):
        await world.pass_time(seconds + 1)
        assert (world.urls(), world.runs()) == ([], [("", "active")])
    await world.pass_time(481)
    assert (world.urls(), world.runs()) == (["https://shop.test/plain"], [("", "completed")])
    assert world.footprints() == ["entered", "waits", "waits", "waits", "waits", "aborted", "queued", "completed"]
    await world.pass_time(3600)
    assert len(prices.asked) == 5


async def test_what_is_not_there_is_no_reason_to_ask_again(world: World, prices: Prices) -> None:
    prices.statuses = iter([404])
    await world.automation(send=prices.send())
    await world.happen()
    await world.decide_all()
    assert (world.outcomes(), bodies(world)) == ([("fired", "matched")], ['{"p": null}'])


async def test_requests_of_one_step_leave_together_and_once(world: World, prices: Prices) -> None:
    prices.statuses = iter([503])
    sends = [{"name": "plain", "send": PLAIN["send"]}, {"name": "priced", "send": prices.send()}]
    await world.flow(triggers=ON, steps=[{"type": "send_all", "name": "both", "sends": sends}])
    await world.happen()
    await world.decide_all()
    assert world.urls() == []
    await world.pass_time(61)
    assert world.urls() == ["https://shop.test/plain", "https://shop.test/hook"]


async def test_a_request_that_waits_for_content_is_held_while_its_automation_is_paused(
    world: World, prices: Prices
) -> None:
    prices.statuses = iter([503, 503])
    automation = await world.automation(send=prices.send())
    await world.happen()
    await world.decide_all()
    await world.change(msgspec.structs.replace(automation, enabled=False))
    await world.pass_time(61)
    assert len(prices.asked) == 1
    await world.change(msgspec.structs.replace(automation, enabled=True))
    await world.look_at_runs(automation.id)
    assert (len(prices.asked), bodies(world)) == (2, [])
    await world.pass_time(61)
    assert bodies(world) == []  # it was the second try, so two minutes are between it and the third
    await world.pass_time(61)
    assert bodies(world) == ['{"p": 17}']


async def test_a_secret_in_a_request_that_waited_is_masked_as_ever(world: World, prices: Prices) -> None:
    prices.statuses = iter([503])
    await world.secret("HOOK", "s3cret")
    await world.automation(send=prices.send(to="https://shop.test/{{secrets.${HOOK}}}"))
    await world.happen()
    await world.decide_all()
    await world.pass_time(61)
    [row] = world.store._tables.deliveries.values()
    assert row.rendered is not None
    assert b"s3cret" not in row.rendered.shown
    assert row.rendered.sealed is not None
    real = msgspec.json.decode(world.key_ring.open(row.rendered.sealed, context=row.id), type=OutgoingRequest)
    assert real.url == "https://shop.test/s3cret"


async def test_a_host_that_hangs_holds_up_other_people_once_and_for_its_limit_at_most(
    world: World, prices: Prices
) -> None:
    prices.statuses = iter([0] * 1000)
    asking = prices.send(path="{{${user_id}}}")
    await world.automation("auto_asks", send=asking)
    await world.automation("auto_plain", send=PLAIN["send"])
    for number in range(40):
        await world.happen(user=f"u{number}")
    await world.decide_all()
    assert len(world.requests()) == 40  # the plain ones of everybody; the others wait
    assert 1 <= len(prices.asked) <= 16
    asked = len(prices.asked)
    await world.happen(user="late")
    await world.decide_all()
    assert len(world.requests()) == 41
    assert len(prices.asked) == asked  # the host is left alone, so nobody waits for it
    assert len(world.runs()) == 41


async def test_when_the_host_is_back_everybody_who_waited_gets_their_message(world: World, prices: Prices) -> None:
    prices.statuses = iter([0])
    await world.automation(send=prices.send())
    for number in range(5):
        await world.happen(user=f"u{number}")
    await world.decide_all()
    assert bodies(world) == []
    await world.pass_time(61)
    assert bodies(world) == ['{"p": 17}'] * 5
    assert {state for _, state in world.runs()} == {"completed"}
