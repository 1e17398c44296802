"""Starts that are refused, each with its reason and the way out, and stops that lose nothing."""

import asyncio
import base64
import re
from pathlib import Path
from typing import Any

import pytest
from posthorn_process import API_KEY, Ended, Launch, Posthorn
from raw_http import Api, eventually
from recording_receiver import Behaviour, Receiver

OTHER_MASTER_KEY = base64.b64encode(b"another key of thirty-two bytes!").decode()


def assert_refused(ended: Ended, *words: str, code: int = 1) -> None:
    text = re.sub(r"\s+", " ", ended.errors)
    assert ended.code == code, text
    assert "Traceback" not in text
    for word in words:
        assert word in text
    assert ended.output == ""


def first_run(posthorn: Posthorn) -> None:
    """Run once, so that the folder has a store and a master key."""
    posthorn.start()
    assert posthorn.stop().code == 0


def test_a_second_process_on_the_same_folder_is_refused_with_the_reason(launch: Launch) -> None:
    first = launch()
    first.start()
    second = Posthorn(first.data)
    second._logs = first.data.with_name("second-logs")
    assert_refused(second.refuse(), "another Posthorn", str(first.pid), "--data")
    assert first.is_healthy()


def test_after_a_power_cut_the_folder_is_free_and_its_shards_are_too(launch: Launch) -> None:
    posthorn = launch()
    posthorn.start()
    posthorn.kill()
    assert posthorn.start() < 10  # waiting for the leases of the killed process would take fifteen


def test_a_lost_master_key_is_refused(launch: Launch) -> None:
    posthorn = launch()
    first_run(posthorn)
    (posthorn.data / "master.key").unlink()
    assert_refused(posthorn.refuse(), "master.key is missing", "POSTHORN_MASTER_KEY")
    assert not (posthorn.data / "master.key").exists()


def test_a_wrong_master_key_is_refused(launch: Launch) -> None:
    posthorn = launch()
    first_run(posthorn)
    posthorn.environ["POSTHORN_MASTER_KEY"] = OTHER_MASTER_KEY
    ended = posthorn.refuse()
    assert_refused(ended, "master key")
    assert OTHER_MASTER_KEY not in ended.errors


def test_a_key_file_that_others_may_read_is_refused(launch: Launch) -> None:
    posthorn = launch()
    first_run(posthorn)
    (posthorn.data / "master.key").chmod(0o644)
    assert_refused(posthorn.refuse(), "open to other users", "chmod 600")


def test_a_malformed_master_key_is_refused_and_never_repeated(launch: Launch) -> None:
    posthorn = launch(environ={"POSTHORN_MASTER_KEY": "not-the-base64-of-32-bytes"})
    ended = posthorn.refuse()
    assert_refused(ended, "POSTHORN_MASTER_KEY", code=2 if "POSTHORN_MASTER_KEY:" in ended.errors else 1)
    assert "not-the-base64-of-32-bytes" not in ended.errors


@pytest.mark.parametrize(
    ("flags", "environ", "words"),
    [
        (["--alow-target", "10.0.0.0/8"], {}, ["--alow-target", "Did you mean --allow-target?"]),
        (["--nonsense"], {}, ["--nonsense", "--help"]),
        ([], {"POSTHORN_INBOXPORT": "1"}, ["POSTHORN_INBOXPORT", "did you mean POSTHORN_INBOX_PORT?"]),
        ([], {"POSTHORN_XYZZY": "1"}, ["POSTHORN_XYZZY", "no such setting"]),
        (["--retention-days", "-1"], {}, ["retention"]),
        ([], {"POSTHORN_DRAIN_SECONDS": "soon"}, ["POSTHORN_DRAIN_SECONDS", "soon"]),
        ([], {"POSTHORN_API_KEY": "short"}, ["POSTHORN_API_KEY", "16"]),
        (["--allow-target", "127.0.0.1/99"], {}, ["--allow-target", "127.0.0.1/99"]),
    ],
)
def test_what_is_not_a_setting_is_refused_with_a_near_miss(
    launch: Launch, flags: list[str], environ: dict[str, str], words: list[str]
) -> None:
    posthorn = launch(flags=flags, environ=environ)
    assert_refused(posthorn.refuse(), *words, code=2)
    assert not posthorn.data.exists()


def test_a_port_that_is_taken_is_refused_with_the_flag_to_change(launch: Launch, posthorn: Posthorn) -> None:
    other = launch(flags=["--port", str(posthorn.port)])
    assert_refused(other.refuse(), str(posthorn.port), "--port")


def test_a_file_that_is_no_store_is_refused_and_left_alone(launch: Launch) -> None:
    posthorn = launch()
    posthorn.data.mkdir()
    file = posthorn.data / "posthorn.sqlite3"
    file.write_bytes(b"somebody's diary, page after page " * 100)
    before = file.read_bytes()
    assert_refused(posthorn.refuse(), "not a Posthorn store")
    assert file.read_bytes() == before


def test_no_secret_is_readable_in_the_folder_or_the_logs(launch: Launch, tmp_path: Path) -> None:
    posthorn = launch()
    posthorn.start()
    asyncio.run(make_secrets(posthorn))
    assert posthorn.stop().code == 0
    for path in sorted(tmp_path.rglob("*")):
        content = path.read_bytes() if path.is_file() else b""
        for secret in (
            API_KEY,
            "a-bearer-token-to-keep",
            "the-value-of-a-secret",
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        ):
            assert secret.encode() not in content, path


async def make_secrets(posthorn: Posthorn) -> None:
    async with Api(posthorn) as api:
        await api.post("/app", {"name": "Kept", "uid": "kept"})
        endpoint = {"url": "http://127.0.0.1:1/", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
        await api.post("/app/kept/endpoint", endpoint | {"headers": {"authorization": "a-bearer-token-to-keep"}})
        await api.post(
            "/source", {"name": "S", "verification": {"type": "github"}, "secrets": ["the-value-of-a-secret"]}
        )
        await api.post("/app/kept/msg", {"eventType": "a.b", "payload": {}})
        await api.eventually("/attempt", bool)


async def test_a_stop_finishes_attempts_in_flight_and_loses_nothing(launch: Launch, receiver: Receiver) -> None:
    posthorn = launch()
    await asyncio.to_thread(posthorn.start)
    answer = asyncio.Event()
    receiver.behave("/slow", Behaviour(once=answer))
    async with Api(posthorn) as api:
        await api.post("/app", {"name": "Stop", "uid": "stop"})
        await api.post("/app/stop/endpoint", {"url": receiver.url("/slow")})
        made = [await a_message(api, number) for number in range(10)]
    await receiver.wait_for_count("/slow", 1)
    posthorn.terminate()
    ended = asyncio.create_task(asyncio.to_thread(posthorn.wait))
    await eventually(lambda: asyncio.to_thread(posthorn.is_healthy), lambda healthy: not healthy)
    assert not ended.done()  # both doors are shut, and the attempts still have their time
    answer.set()
    assert (await ended).code == 0
    await asyncio.to_thread(posthorn.start)
    await receiver.wait_for(lambda: set(receiver.by_id) == set(made))
    assert set(receiver.by_id.values()) == {1}


async def a_message(api: Api, number: int) -> Any:
    return (await api.post("/app/stop/msg", {"eventType": "a.b", "payload": {"n": number}}))["id"]


async def test_a_stop_does_not_wait_longer_than_told_for_a_receiver_that_hangs(
    launch: Launch, receiver: Receiver
) -> None:
    posthorn = launch(flags=["--allow-target", "127.0.0.0/8", "--drain-seconds", "1"])
    await asyncio.to_thread(posthorn.start)
    receiver.behave("/slow", Behaviour(answer=None))
    async with Api(posthorn) as api:
        await api.post("/app", {"name": "Stop", "uid": "stop"})
        await api.post("/app/stop/endpoint", {"url": receiver.url("/slow")})
        made = await a_message(api, 1)
    await receiver.wait_for_count("/slow", 1)
    ended = await asyncio.to_thread(posthorn.stop)
    assert ended.code == 0
    receiver.behave("/slow", Behaviour())
    await asyncio.to_thread(posthorn.start)
    await receiver.wait_for_count("/slow", 2)
    assert receiver.by_id == {made: 2}
