"""The client for threads against a real server that misbehaves."""

import gc
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from intake_double import (
    API_KEY,
    CUT_SHORT,
    ERROR_500,
    GARBAGE,
    PORTAL,
    RESET,
    RESET_AFTER_STORING,
    WRITE_KEY,
    Fault,
    IntakeDouble,
)

from posthorn.client import (
    Client,
    ClientClosed,
    Counts,
    EventConflict,
    Lost,
    NotSentInTime,
    Options,
    QueueFull,
    ServerBusy,
    ServerRefused,
)

FAST: dict[str, Any] = {"first_retry_seconds": 0.01, "longest_retry_seconds": 0.02, "flush_after_seconds": 0.02}


def client_of(intake: IntakeDouble, on_lost: Callable[[Lost], None] | None = None, **options: Any) -> Client:
    return Client(
        intake.url, write_key=WRITE_KEY, api_key=API_KEY, on_lost=on_lost, options=Options(**{**FAST, **options})
    )


def test_events_arrive_by_themselves_in_order_and_batched(intake: IntakeDouble) -> None:
    with client_of(intake, batch_events=10) as client:
        sent = [client.track("x", user_id="u", properties={"n": n}) for n in range(25)]
        intake.wait_for_events(25)
    assert list(intake.events) == sent
    assert all(len(request.ids) <= 10 for request in intake.requests)


def test_both_kinds_of_events_go_their_own_way(intake: IntakeDouble) -> None:
    with client_of(intake) as client:
        client.track("x", user_id="u")
        client.publish("order.paid", {"total": 1})
        assert client.flush()
        assert client.counts == Counts(waiting=0, delivered=2, lost=0)
    assert sorted(request.path for request in intake.requests) == ["/api/v1/event", "/v1/batch"]


def test_large_bodies_are_compressed_and_small_ones_are_not(intake: IntakeDouble) -> None:
    with client_of(intake, gzip_from_bytes=1_000, flush_after_seconds=60) as client:
        client.track("x", user_id="u")
        client.flush()
        client.track("x", user_id="u", properties={"text": "x" * 1_000})
        client.flush()
    assert [request.compressed for request in intake.requests] == [False, True]


@pytest.mark.parametrize(
    "fault",
    [
        ERROR_500,
        Fault(status=429, headers={"retry-after": "0"}),
        Fault(status=408),
        RESET,
        RESET_AFTER_STORING,
        GARBAGE,
        CUT_SHORT,
        PORTAL,
    ],
    ids=["500", "429", "408", "reset", "reset after storing", "garbage", "answer cut short", "captive portal"],
)
def test_nothing_is_lost_and_nothing_gets_another_id_when_the_server(fault: Fault, intake: IntakeDouble) -> None:
    lost: list[Lost] = []
    intake.faults.extend([fault] * 3)
    with client_of(intake, lost.append, batch_events=5) as client:
        sent = [client.track("x", user_id="u", properties={"n": n}) for n in range(12)]
        published = [client.publish("x.y", {"n": n}) for n in range(3)]
        assert client.flush(20)
        assert client.counts == Counts(waiting=0, delivered=15, lost=0)
    assert lost == []
    assert {message_id for request in intake.requests for message_id in request.ids} == {*sent, *published}
    assert [one for one in intake.events if one in sent] == sent
    assert [intake.events[one]["properties"]["n"] for one in sent] == list(range(12))


def test_a_retry_is_the_same_batch_with_a_time_of_its_own(intake: IntakeDouble) -> None:
    intake.faults.append(ERROR_500)
    with client_of(intake) as client:
        client.track("x", user_id="u")
        assert client.flush(20)
    first, second = intake.requests
    assert first.ids == second.ids
    assert (first.sent_at or "") <= (second.sent_at or "")


def test_retry_after_is_waited_for(intake: IntakeDouble) -> None:
    intake.faults.append(Fault(status=429, headers={"retry-after": "1"}))
    with client_of(intake) as client:
        client.track("x", user_id="u")
        intake.wait_for_requests(1)
        began = time.monotonic()
        intake.wait_for_requests(2)
    assert time.monotonic() - began >= 0.95


def test_a_server_that_does_not_answer_is_asked_again(intake: IntakeDouble) -> None:
    release = threading.Event()
    intake.faults.append(Fault(hold=release))
    with client_of(intake, request_seconds=0.1) as client:
        sent = client.track("x", user_id="u")
        intake.wait_for_events(1)
        release.set()
        assert client.flush(20)
    assert [request.ids for request in intake.requests] == [[sent], [sent]]


def test_a_server_that_is_not_there_yet_gets_the_events_when_it_comes() -> None:
    lost: list[Lost] = []
    early = IntakeDouble()  # listens, and answers nobody until it is entered
    with Client(
        early.url, write_key=WRITE_KEY, on_lost=lost.append, options=Options(**{**FAST, "request_seconds": 0.05})
    ) as client:
        sent = client.track("x", user_id="u")
        assert not client.flush(0.2)
        with early:
            assert client.flush(20)
    assert list(early.events) == [sent]
    assert lost == []


@pytest.mark.parametrize("status", [307, 400, 401, 404])
def test_a_refusal_is_not_repeated_and_carries_the_servers_words(status: int, intake: IntakeDouble) -> None:
    lost: list[Lost] = []
    body = b'{"code":"authentication_failed","detail":"unknown write key"}'
    intake.faults.append(Fault(status=status, body=body, headers={"location": "/v1/elsewhere"}))
    with client_of(intake, lost.append) as client:
        sent = client.track("x", user_id="u", properties={"email": "a@example.com"})
        assert client.flush(20)
        assert client.counts == Counts(waiting=0, delivered=0, lost=1)
    (one,) = lost
    assert isinstance(one.reason, ServerRefused)
    assert (one.reason.status, one.reason.detail, one.message_ids) == (status, "unknown write key", (sent,))
    assert b"a@example.com" in one.bodies[0]
    assert "a@example.com" not in repr(one)
    assert len(intake.requests) == 1


def test_one_wrong_event_of_a_batch_does_not_take_the_others_with_it(intake: IntakeDouble) -> None:
    lost: list[Lost] = []
    body = b'{"detail":[{"loc":["body",1,"type"],"msg":"does not match","type":"value_error"}]}'
    intake.faults.append(Fault(status=422, body=body))
    with client_of(intake, lost.append, flush_after_seconds=60) as client:
        ids = [client.publish(f"t{n}") for n in range(3)]
        assert client.flush(20)
    assert [request.ids for request in intake.requests] == [ids, [ids[0], ids[2]]]
    assert [one.message_ids for one in lost] == [(ids[1],)]
    assert "at type: does not match" in str(lost[0].reason)


def test_an_event_that_the_server_has_with_other_content_is_reported(intake: IntakeDouble) -> None:
    lost: list[Lost] = []
    intake.faults.append(Fault(status=202, body=b'{"data":[{"status":"conflict","detail":"exists already"}]}'))
    with client_of(intake, lost.append) as client:
        client.publish("x", event_id="e1")
        assert client.flush(20)
    assert isinstance(lost[0].reason, EventConflict)


def test_losses_are_logged_when_nobody_else_hears_of_them(
    intake: IntakeDouble, caplog: pytest.LogCaptureFixture
) -> None:
    intake.faults.append(Fault(status=401, body=b'{"detail":"unknown write key"}'))
    with caplog.at_level(logging.ERROR, "posthorn.client"), client_of(intake) as client:
        client.track("x", user_id="u")
        assert client.flush(20)
    assert "1 events: the server refused with 401: unknown write key" in caplog.text
    assert WRITE_KEY not in caplog.text


def test_a_callback_that_fails_does_not_stop_the_sending(
    intake: IntakeDouble, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(lost: Lost) -> None:
        raise ValueError(lost)

    intake.faults.append(Fault(status=400))
    with client_of(intake, fail) as client:
        client.track("bad", user_id="u")
        assert client.flush(20)
        sent = client.track("good", user_id="u")
        assert client.flush(20)
    assert list(intake.events) == [sent]
    assert "on_lost_failed" in caplog.text


def test_a_full_queue_raises_and_takes_events_again_when_there_is_room(intake: IntakeDouble) -> None:
    release = threading.Event()
    intake.faults.append(Fault(hold=release, keeps=True))
    with client_of(intake, queue_events=3) as client:
        kept = [client.track("x", user_id="u") for _ in range(3)]
        with pytest.raises(QueueFull, match="3 events"):
            client.track("x", user_id="u")
        release.set()
        assert client.flush(20)
        kept.append(client.track("x", user_id="u"))
    assert list(intake.events) == kept


def test_a_full_queue_tells_the_callback_where_nobody_wants_an_exception(intake: IntakeDouble) -> None:
    lost: list[Lost] = []
    release = threading.Event()
    intake.faults.append(Fault(hold=release, keeps=True))
    with client_of(intake, lost.append, queue_events=1, raise_when_full=False) as client:
        client.track("kept", user_id="u")
        dropped = client.track("dropped", user_id="u")
        release.set()
        assert client.flush(20)
        assert client.counts == Counts(waiting=0, delivered=1, lost=1)
    assert [(one.message_ids, type(one.reason)) for one in lost] == [((dropped,), QueueFull)]


def test_a_batch_is_given_up_after_the_time_set_for_it(intake: IntakeDouble) -> None:
    lost: list[Lost] = []
    intake.faults.extend([ERROR_500] * 50)
    with client_of(intake, lost.append, give_up_after_seconds=0.05) as client:
        client.track("x", user_id="u")
        assert client.flush(20)
    assert isinstance(lost[0].reason, ServerBusy)
    assert 2 <= len(intake.requests) < 50


def test_closing_waits_for_a_slow_answer_and_then_takes_nothing_more(intake: IntakeDouble) -> None:
    release = threading.Event()
    intake.faults.append(Fault(hold=release, keeps=True))
    client = client_of(intake, flush_after_seconds=60)
    client.track("x", user_id="u")
    closer = threading.Thread(target=client.close)
    closer.start()
    intake.wait_for_requests(1)
    assert closer.is_alive()
    release.set()
    closer.join(20)
    assert client.counts == Counts(waiting=0, delivered=1, lost=0)
    client.close()
    with pytest.raises(ClientClosed):
        client.track("x", user_id="u")


def test_closing_ends_in_time_and_reports_what_was_not_accepted(intake: IntakeDouble) -> None:
    lost: list[Lost] = []
    release = threading.Event()
    intake.faults.append(Fault(hold=release))
    client = client_of(intake, lost.append, batch_events=1)
    first, second = client.track("x", user_id="u"), client.track("x", user_id="u")
    intake.wait_for_requests(1)
    began = time.monotonic()
    client.close(0.2)
    assert time.monotonic() - began < 5
    release.set()
    assert [(one.message_ids, type(one.reason)) for one in lost] == [((first, second), NotSentInTime)]


def test_closing_does_not_wait_for_a_retry_that_would_come_too_late(intake: IntakeDouble) -> None:
    lost: list[Lost] = []
    intake.faults.append(Fault(status=503, headers={"retry-after": "600"}))
    client = client_of(intake, lost.append)
    client.track("x", user_id="u")
    client.flush(0.1)
    began = time.monotonic()
    client.close(60)
    assert time.monotonic() - began < 20
    assert len(lost) == 1


def test_many_threads_share_a_client(intake: IntakeDouble) -> None:
    with client_of(intake) as client:
        made: list[str] = []

        def work() -> None:
            made.extend([client.track("x", user_id="u") for _ in range(200)])

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush(20)
    assert set(intake.events) == set(made)
    assert len(made) == 1_600
    assert sum(len(request.ids) for request in intake.requests) == 1_600


def test_a_signal_handler_may_track(intake: IntakeDouble) -> None:
    with client_of(intake) as client:
        before = signal.signal(signal.SIGUSR1, lambda *_: client.track("signal", user_id="u"))
        try:
            for _ in range(200):
                client.track("x", user_id="u")
                os.kill(os.getpid(), signal.SIGUSR1)
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert client.flush(20)
    assert len(intake.events) == 400


def test_a_client_that_nobody_closed_sends_what_it_has_and_ends_its_thread(intake: IntakeDouble) -> None:
    client = client_of(intake, flush_after_seconds=60)
    client.track("x", user_id="u")
    threads = [thread for thread in threading.enumerate() if thread.name == "posthorn-tracking"]
    del client
    gc.collect()
    intake.wait_for_events(1)
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


PREAMBLE = f"""
import asyncio, multiprocessing, os, sys
from posthorn.client import AsyncClient, Client, Options
options = Options(flush_after_seconds=60, close_seconds=15)
keys = {{"write_key": "{WRITE_KEY}", "options": options}}
url = sys.argv[1]
"""


#: Newer Pythons warn of every fork of a process with threads, which is what is tested here.
FORK_WARNING = "ignore:This process:DeprecationWarning"


def run(intake: IntakeDouble, *parts: str) -> str:
    """Run a program of its own, with warnings as errors, and return what it printed."""
    script = PREAMBLE + "".join(textwrap.dedent(part) for part in parts)
    command = [sys.executable, "-W", "error", "-W", FORK_WARNING, "-c", script, intake.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def users(intake: IntakeDouble) -> list[str]:
    return sorted(event["userId"] for event in intake.events.values())


def test_a_process_that_ends_without_closing_sends_what_waits(intake: IntakeDouble) -> None:
    intake.faults.append(ERROR_500)
    run(
        intake,
        """
        client = Client(url, **keys)
        client.track("x", user_id="u1")
        """,
    )
    assert users(intake) == ["u1"]


def test_a_process_does_not_hang_at_its_end_when_the_server_does(intake: IntakeDouble) -> None:
    release = threading.Event()
    intake.faults.extend([Fault(hold=release)] * 5)
    began = time.monotonic()
    output = run(
        intake,
        """
        options = Options(flush_after_seconds=0, close_seconds=0.5)
        client = Client(url, write_key=keys["write_key"], options=options, on_lost=lambda lost: print(lost.reason))
        client.track("x", user_id="u1")
        """,
    )
    release.set()
    assert time.monotonic() - began < 30
    assert "1 events were not accepted before the client was closed" in output


@pytest.mark.parametrize("kind", ["os.fork", "multiprocessing"])
def test_after_a_fork_each_process_sends_its_own_events_once(kind: str, intake: IntakeDouble) -> None:
    child = {
        "os.fork": """
            pid = os.fork()
            if pid == 0:
                client.track("x", user_id="child")
                sys.exit()
            assert os.waitpid(pid, 0)[1] == 0
            """,
        "multiprocessing": """
            def work():
                client.track("x", user_id="child")

            process = multiprocessing.get_context("fork").Process(target=work)
            process.start()
            process.join()
            assert process.exitcode == 0
            """,
    }[kind]
    run(
        intake,
        """
        client = Client(url, **keys)
        client.track("x", user_id="before")
        """,
        child,
        """
        client.track("x", user_id="after")
        """,
    )
    assert users(intake) == ["after", "before", "child"]
    assert sum(len(request.ids) for request in intake.requests) == 3


@pytest.mark.parametrize("name", ["Client", "AsyncClient"])
def test_settings_of_the_environment_that_cannot_be_used_are_refused_at_once(name: str, intake: IntakeDouble) -> None:
    run(
        intake,
        f"""
        from posthorn.client import InvalidCall
        os.environ["ALL_PROXY"] = "nonsense://127.0.0.1:1"
        try:
            {name}(url, **keys)
        except InvalidCall as error:
            assert "proxy" in str(error)
        else:
            raise AssertionError
        """,
    )


def test_a_closed_client_stays_closed_in_a_child(intake: IntakeDouble) -> None:
    run(
        intake,
        """
        from posthorn.client import ClientClosed
        client = Client(url, **keys)
        client.close()
        pid = os.fork()
        if pid == 0:
            try:
                client.track("x", user_id="child")
            except ClientClosed:
                os._exit(7)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
        """,
    )
    assert intake.events == {}


def test_what_a_loop_left_behind_is_sent_when_the_process_ends(intake: IntakeDouble) -> None:
    run(
        intake,
        """
        client = AsyncClient(url, **keys)

        async def main():
            client.track("x", user_id="u1")

        asyncio.run(main())
        """,
    )
    assert users(intake) == ["u1"]
