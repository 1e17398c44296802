"""HTTP/1.1 as senders really speak it, and as attackers do: one request is one request, or it is refused."""

import asyncio

import pytest
from posthorn_process import inbox_path
from raw_http import Api, Client, Connection


async def spoken(port: int, data: bytes) -> bytes:
    """Send bytes and return all that comes back until the server hangs up, or half a second of silence."""
    connection = await Connection.open(port)
    connection.writer.write(data)
    received = b""
    try:
        while piece := await asyncio.wait_for(connection.reader.read(65_536), 0.5):
            received += piece
    except TimeoutError:
        pass  # a kept-alive connection stays open: what was to come has come
    finally:
        await connection.close()
    return received


@pytest.fixture
async def source(api: Api) -> tuple[str, str]:
    made = await api.post("/source", {"name": "Wire"})
    return made["id"], inbox_path(made["url"])


async def bodies(api: Api, source: str) -> list[bytes]:
    rows = await api.rows(f"/request?source={source}&order=ascending")
    return [(await api.call("GET", f"/request/{row['id']}/body")).body for row in rows]


async def test_pipelined_requests_are_answered_in_order_and_all_kept(
    api: Api, inbox: Client, source: tuple[str, str]
) -> None:
    identifier, path = source
    one = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n".encode()
    answered = await spoken(inbox._port, one + b"1" + one + b"2" + one + b"3")
    assert answered.count(b"HTTP/1.1 202 ") == 3
    assert await bodies(api, identifier) == [b"1", b"2", b"3"]


async def test_a_sender_that_waits_for_continue_is_told_to(api: Api, inbox: Client, source: tuple[str, str]) -> None:
    identifier, path = source
    connection = await Connection.open(inbox._port)
    connection.write_head("POST", path, [("content-length", "4"), ("expect", "100-continue")])
    assert (await connection.reader.readline()).startswith(b"HTTP/1.1 100 ")
    await connection.reader.readline()
    connection.writer.write(b"body")
    assert (await connection.response()).status == 202
    await connection.close()
    assert await bodies(api, identifier) == [b"body"]


async def test_http_1_0_is_answered_and_hung_up_on(api: Api, inbox: Client, source: tuple[str, str]) -> None:
    identifier, path = source
    answered = await spoken(inbox._port, f"POST {path} HTTP/1.0\r\ncontent-length: 2\r\n\r\nhi".encode())
    assert b" 202 " in answered.split(b"\r\n", 1)[0]
    assert await bodies(api, identifier) == [b"hi"]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
async def test_every_method_is_captured(api: Api, inbox: Client, source: tuple[str, str], method: str) -> None:
    identifier, path = source
    answered = await spoken(inbox._port, f"{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    assert answered.startswith(b"HTTP/1.1 202 ")
    (row,) = await api.rows(f"/request?source={identifier}")
    assert row["method"] == method


@pytest.mark.parametrize(
    "head",
    [
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        "POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
        "POST {path} HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
        "POST {path} HTTP/1.1\r\nhost: x\r\nna me: x\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "GET\r\n\r\n",
    ],
)
async def test_what_is_no_single_request_is_refused_and_becomes_no_event(
    api: Api, inbox: Client, source: tuple[str, str], head: str
) -> None:
    identifier, path = source
    answered = await spoken(inbox._port, head.format(path=path).encode("latin-1"))
    assert not answered.startswith(b"HTTP/1.1 2"), answered
    assert await api.rows(f"/event?source={identifier}") == []
    assert (await inbox.request("POST", path, body=b"next")).status == 202


async def test_a_head_without_end_is_refused(inbox: Client, source: tuple[str, str]) -> None:
    _, path = source
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\n".encode()
    for filling in (b"x-long: " + b"y" * 70_000 + b"\r\n", b"x-many: 1\r\n" * 300):
        answered = await spoken(inbox._port, head + filling + b"\r\n")
        assert answered.startswith(b"HTTP/1.1 431 "), answered[:200]


async def test_an_answer_is_as_the_source_wants_it(api: Api, inbox: Client) -> None:
    answer = {"status": 200, "headers": {"X-Mine": "yes", "content-type": "text/plain"}, "body": "Привет"}
    made = await api.post("/source", {"name": "Answers", "answer": answer})
    response = await inbox.request("POST", inbox_path(made["url"]), body=b"{}")
    assert (response.status, response.body) == (200, "Привет".encode())
    assert (response.header("x-mine"), response.header("content-type")) == ("yes", "text/plain")
