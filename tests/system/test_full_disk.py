"""A full disk: nothing is accepted that cannot be kept, nothing is half written, and space is all it needs."""

import asyncio
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from limited_disk import FileSizeDisk, LimitedDisk, make_limited_disk
from posthorn_process import Launch, Posthorn, inbox_path
from raw_http import Api, Client, Response, eventually
from recording_receiver import Behaviour, Receiver

FILLING = "x" * 60_000
Disk = Callable[[Path], LimitedDisk]


@pytest.fixture(params=[make_limited_disk, FileSizeDisk], ids=["tmpfs", "file size"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> LimitedDisk:
    made: LimitedDisk = request.param(tmp_path / "data")
    return made


@pytest.fixture
async def cramped(launch: Launch, disk: LimitedDisk) -> Posthorn:
    """Serve from a small disk."""
    posthorn = launch()
    await asyncio.to_thread(posthorn.start, preexec=disk.wrapper)
    return posthorn


async def refused(ask: Callable[[], Any]) -> Response:
    """Call until the disk is full for it: what still fits into a file's last page is accepted."""
    response: Response = await eventually(ask, lambda response: response.status != 202)
    return response


async def test_a_full_disk_is_a_503_and_freed_space_is_all_it_needs(
    cramped: Posthorn, disk: LimitedDisk, receiver: Receiver, tmp_path: Path
) -> None:
    answer = asyncio.Event()
    receiver.behave("/held", Behaviour(once=answer))
    async with Api(cramped) as api, Client(cramped.inbox_port) as inbox:
        await api.post("/app", {"name": "Full", "uid": "full"})
        await api.post("/app/full/endpoint", {"url": receiver.url("/held")})
        source = inbox_path((await api.post("/source", {"name": "In"}))["url"])
        held = (await api.post("/app/full/msg", {"eventType": "held", "payload": {}}))["id"]
        await receiver.wait_for_count("/held", 1)

        disk.fill(cramped.pid)
        numbers = iter(range(1000))
        accepted: set[int] = set()

        async def an_event() -> Response:
            number = next(numbers)
            response = await api.call("POST", "/event", {"type": "full", "data": {"n": number, "x": FILLING}})
            if response.status == 202:
                accepted.add(number)
            return response

        async def a_request() -> Response:
            return await inbox.request("POST", source, body=FILLING.encode())

        async def a_message() -> Response:
            return await api.call("POST", "/app/full/msg", {"eventType": "full", "payload": {"x": FILLING}})

        for ask in (an_event, a_request, a_message):
            response = await refused(ask)
            assert response.status == 503, response.body
            assert response.json()["code"] == "store_unavailable"
            assert int(response.header("retry-after") or "0") >= 1
        assert (await api.call("POST", "/app", {"name": FILLING[:200]})).status in (201, 503)
        answer.set()  # the outcome of the attempt in flight cannot be written down now
        assert (await api.rows("/event?type=held"))[0]["id"] == held

        disk.free(cramped.pid)
        assert (await eventually(an_event, lambda response: response.status == 202)).status == 202
        assert (await eventually(a_request, lambda response: response.status == 202)).status == 202
        delivered = f"/delivery?event={held}"
        await api.eventually(delivered, lambda rows: rows[0]["state"] == "delivered")
        stored = await api.rows("/event?type=full&with_content=true")
        assert {row["payload"]["n"] for row in stored if "n" in row["payload"]} == accepted
        check_whole(copied(disk.inside(cramped.pid), tmp_path / "copy"))
    assert receiver.by_id[held] == 1
    assert (await asyncio.to_thread(cramped.stop)).code == 0
    assert "Traceback" not in cramped.errors


def copied(data: Path, to: Path) -> Path:
    """Copy the database with its log: SQLite cannot open a path into another mount namespace."""
    to.mkdir()
    for name in ("posthorn.sqlite3", "posthorn.sqlite3-wal"):
        shutil.copy(data / name, to / name)
    return to / "posthorn.sqlite3"


def check_whole(file: Path) -> None:
    connection = sqlite3.connect(file)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        orphans = "SELECT count(*) FROM event WHERE request IS NOT NULL AND request NOT IN (SELECT id FROM request)"
        assert connection.execute(orphans).fetchone() == (0,)
        waiting = "SELECT count(*) FROM delivery WHERE event NOT IN (SELECT id FROM event)"
        assert connection.execute(waiting).fetchone() == (0,)
    finally:
        connection.close()
