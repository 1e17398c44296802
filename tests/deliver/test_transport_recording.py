"""The fake that other rooms test with behaves as the port says."""

import asyncio
from typing import Any

import pytest

from posthorn.deliver.transport import FailureCode, OutboundRequest, Transport
from posthorn.testing.transport import RecordingTransport, failure, response

REQUEST = OutboundRequest(target="https://example.com/hook", body=b"x")


async def test_it_records_requests_and_answers_by_script_and_then_by_rule() -> None:
    transport: Transport = RecordingTransport(answer=lambda request: response(418, body=request.body))
    transport.script(response(500), failure(FailureCode.TIMEOUT))
    outcomes = [await transport.send(REQUEST) for _ in range(3)]
    assert outcomes[0].status == 500
    assert outcomes[1].code is FailureCode.TIMEOUT
    assert (outcomes[2].status, outcomes[2].body) == (418, b"x")
    assert transport.requests == [REQUEST] * 3


async def test_it_says_200_unless_told_otherwise() -> None:
    assert (await RecordingTransport().send(REQUEST)).status == 200


async def test_held_requests_wait_until_they_are_released() -> None:
    transport = RecordingTransport()
    transport.hold()
    sending = [asyncio.create_task(transport.send(REQUEST)) for _ in range(3)]
    await transport.wait_for_requests(3)
    assert transport.in_flight == 3
    assert not any(task.done() for task in sending)
    transport.release()
    assert [outcome.status for outcome in await asyncio.gather(*sending)] == [200] * 3
    assert (transport.in_flight, transport.most_in_flight) == (0, 3)


async def test_closing_fails_what_waits_and_what_comes_later() -> None:
    transport = RecordingTransport()
    transport.hold()
    sending = asyncio.create_task(transport.send(REQUEST))
    await transport.wait_for_requests(1)
    await transport.close()
    assert (await sending).code is FailureCode.TRANSPORT_CLOSED
    assert (await transport.send(REQUEST)).code is FailureCode.TRANSPORT_CLOSED
    assert len(transport.requests) == 1


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"target": "ftp://example.com/"}, FailureCode.SCHEME_NOT_ALLOWED),
        ({"method": "TRACE"}, FailureCode.METHOD_NOT_ALLOWED),
        ({"headers": ((b"Host", b"x"),)}, FailureCode.HEADER_NOT_ALLOWED),
    ],
)
async def test_it_refuses_what_the_real_client_refuses(given: dict[str, Any], code: FailureCode) -> None:
    transport = RecordingTransport()
    refused = await transport.send(OutboundRequest(**{"target": "https://example.com/", **given}))
    assert refused.code is code
    assert transport.requests == []
