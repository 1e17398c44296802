"""Content that templates ask for, over the real transport from receivers on loopback."""

import asyncio

from loopback_world import NewClient, Peer, Receivers, always

from posthorn.deliver.content import ContentFetcher
from posthorn.deliver.transport import AddressPolicy, HttpTransport
from posthorn.telemetry import Telemetry
from posthorn.templating import MAX_CONTENT_BYTES, ContentRequest, ContentResponse
from posthorn.testing.clock import ManualClock

LIMIT_SECONDS = 0.3


def answered(status: int, body: bytes = b"", head: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), head, body)


def fetcher(transport: HttpTransport, *, limit: float = 5.0, clock: ManualClock | None = None) -> ContentFetcher:
    return ContentFetcher(
        transport=transport,
        credential=lambda _, name: {"token": "T0"}.get(name),
        clock=clock or ManualClock(),
        telemetry=Telemetry(strict=True),
        deadline_seconds=limit,
    )


def get(url: str, **fields: object) -> ContentRequest:
    return ContentRequest(**({"method": "GET", "url": url} | fields))  # type: ignore[arg-type]


def is_none(answer: ContentResponse) -> bool:
    return (answer.status, answer.body, answer.is_transient) == (0, "", True)


async def test_an_answer_comes_with_its_status_and_the_request_has_its_credential(
    receive: Receivers, client: HttpTransport
) -> None:
    receiver = await receive(always(answered(201, b'{"n": 1}')))
    asked = get(receiver.url(), method="POST", body="a=1", auth_credentials="token", headers=(("X-A", "b"),))
    assert await fetcher(client).fetch("ws", asked) == ContentResponse(status=201, body='{"n": 1}')
    [request] = receiver.requests
    assert request.body == b"a=1"
    assert b"authorization: bearer t0\r\n" in request.head.lower()
    assert b"x-a: b\r\n" in request.head.lower()


async def test_a_private_address_is_not_asked_unless_the_operator_allows_it(
    receive: Receivers, client_with: NewClient
) -> None:
    receiver = await receive(always(answered(200, b"inner")))
    careful = fetcher(client_with(policy=AddressPolicy()))
    assert is_none(await careful.fetch("ws", get(receiver.url())))
    assert is_none(await careful.fetch("ws", get(receiver.url(host="localhost"))))
    assert receiver.connections == 0
    assert (await fetcher(client_with()).fetch("ws", get(receiver.url()))).body == "inner"


async def test_a_redirect_is_not_followed(receive: Receivers, client: HttpTransport) -> None:
    inner = await receive(always(answered(200, b"inner")))
    moved = await receive(always(answered(302, b"moved", b"Location: %s\r\n" % inner.url().encode())))
    answer = await fetcher(client).fetch("ws", get(moved.url()))
    assert (answer.status, answer.succeeded, answer.is_transient) == (302, False, False)
    assert inner.connections == 0


async def test_an_answer_that_comes_too_late_is_none(receive: Receivers, client: HttpTransport) -> None:
    gone = asyncio.Event()

    async def late(peer: Peer) -> None:
        await peer.request()
        await peer.gone()
        gone.set()

    receiver = await receive(late)
    assert is_none(await fetcher(client, limit=LIMIT_SECONDS).fetch("ws", get(receiver.url())))
    await asyncio.wait_for(gone.wait(), 10)
    assert len(receiver.requests) == 1


async def test_an_answer_whose_body_drips_past_the_limit_is_none(receive: Receivers, client: HttpTransport) -> None:
    async def drip(peer: Peer) -> None:
        await peer.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")
        await peer.gone()

    receiver = await receive(drip)
    assert is_none(await fetcher(client, limit=LIMIT_SECONDS).fetch("ws", get(receiver.url())))


async def test_an_answer_of_a_mebibyte_is_read_and_a_longer_one_is_none(
    receive: Receivers, client: HttpTransport
) -> None:
    whole = await receive(always(answered(200, b"x" * MAX_CONTENT_BYTES)))
    longer = await receive(always(answered(200, b"x" * (MAX_CONTENT_BYTES + 1))))
    assert len((await fetcher(client).fetch("ws", get(whole.url()))).body) == MAX_CONTENT_BYTES
    assert is_none(await fetcher(client).fetch("ws", get(longer.url())))


async def test_a_kept_answer_that_may_pass_is_not_good_enough_for_who_asks_with_retry(
    receive: Receivers, client: HttpTransport
) -> None:
    receiver = await receive(always(answered(503, b"later")))
    contents = fetcher(client)
    answers = [await contents.fetch("ws", get(receiver.url(), cache_seconds=300)) for _ in range(2)]
    assert [(answer.status, answer.is_transient) for answer in answers] == [(503, True)] * 2
    assert len(receiver.requests) == 1
    await contents.fetch("ws", get(receiver.url(), cache_seconds=300, retry=True))
    assert len(receiver.requests) == 2


async def test_a_host_that_hangs_is_left_alone_and_asked_again_later(
    receive: Receivers, client: HttpTransport, clock: ManualClock
) -> None:
    async def hang(peer: Peer) -> None:
        await peer.request()
        if peer.number == 1:
            await peer.gone()
        else:
            await peer.send(answered(200, b"back"))

    receiver = await receive(hang)
    contents = fetcher(client, limit=LIMIT_SECONDS, clock=clock)
    assert is_none(await contents.fetch("ws", get(receiver.url("/1"))))
    assert is_none(await contents.fetch("ws", get(receiver.url("/2"))))
    assert receiver.connections == 1
    clock.advance(31)
    assert (await contents.fetch("ws", get(receiver.url("/2")))).body == "back"
