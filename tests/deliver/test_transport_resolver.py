"""The resolver that asks the operating system on threads of its own."""

import asyncio
import threading

import pytest

from posthorn.deliver.transport import NotResolved, ResolverOptions, SystemResolver
from posthorn.deliver.transport.resolver import system_look_up
from posthorn.testing.clock import ManualClock


async def test_callers_that_ask_for_one_name_at_once_share_a_look_up_and_its_answer_is_kept(clock: ManualClock) -> None:
    asked: list[str] = []

    def look_up(host: str, port: int) -> tuple[str, ...]:
        asked.append(host)
        return (f"192.0.2.{len(asked)}",)

    resolver = SystemResolver(clock=clock, look_up=look_up)
    answers = await asyncio.gather(*(resolver.resolve("a.test", 80) for _ in range(5)))
    assert set(answers) == {("192.0.2.1",)}
    clock.advance(9.9)
    assert await resolver.resolve("a.test", 80) == ("192.0.2.1",)
    clock.advance(0.1)
    assert await resolver.resolve("a.test", 80) == ("192.0.2.2",)
    assert asked == ["a.test"] * 2
    await resolver.close()


async def test_a_name_that_is_not_found_is_asked_for_again_after_a_second(clock: ManualClock) -> None:
    answers = [NotResolved(is_temporary=False), ("192.0.2.1",)]
    resolver = SystemResolver(clock=clock, look_up=lambda _host, _port: answers.pop(0))
    assert await resolver.resolve("a.test", 80) == NotResolved(is_temporary=False)
    clock.advance(0.9)
    assert await resolver.resolve("a.test", 80) == NotResolved(is_temporary=False)
    clock.advance(0.1)
    assert await resolver.resolve("a.test", 80) == ("192.0.2.1",)
    await resolver.close()


async def test_a_slow_name_server_delays_no_other_name() -> None:
    answer = threading.Event()

    def look_up(host: str, port: int) -> tuple[str, ...]:
        if host == "slow.test":
            answer.wait(10)
        return ("192.0.2.1",)

    resolver = SystemResolver(look_up=look_up)
    slow = asyncio.create_task(resolver.resolve("slow.test", 80))
    assert await resolver.resolve("fast.test", 80) == ("192.0.2.1",)
    assert not slow.done()
    answer.set()
    assert await slow == ("192.0.2.1",)
    await resolver.close()


async def test_a_caller_that_gives_up_does_not_end_the_look_up_for_the_others() -> None:
    answer = threading.Event()
    asked: list[str] = []

    def look_up(host: str, port: int) -> tuple[str, ...]:
        asked.append(host)
        answer.wait(10)
        return ("192.0.2.1",)

    resolver = SystemResolver(look_up=look_up)
    first, second = (asyncio.create_task(resolver.resolve("a.test", 80)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    answer.set()
    assert await second == ("192.0.2.1",)
    assert asked == ["a.test"]
    await resolver.close()


async def test_closing_answers_those_who_wait_and_those_who_come_later() -> None:
    answer = threading.Event()

    def look_up(host: str, port: int) -> tuple[str, ...]:
        answer.wait(10)
        return ("192.0.2.1",)

    resolver = SystemResolver(look_up=look_up)
    waiting = asyncio.create_task(resolver.resolve("a.test", 80))
    await asyncio.sleep(0)
    await resolver.close()
    await resolver.close()
    assert await waiting == NotResolved(is_temporary=True)
    assert await resolver.resolve("a.test", 80) == NotResolved(is_temporary=True)
    answer.set()


async def test_the_cache_forgets_the_oldest_name_when_it_is_full() -> None:
    asked: list[str] = []

    def look_up(host: str, port: int) -> tuple[str, ...]:
        asked.append(host)
        return ("192.0.2.1",)

    resolver = SystemResolver(look_up=look_up, options=ResolverOptions(max_cached_hosts=2))
    for host in ("a.test", "b.test", "c.test", "b.test", "c.test", "a.test"):
        await resolver.resolve(host, 80)
    assert asked == ["a.test", "b.test", "c.test", "a.test"]
    await resolver.close()


async def test_a_look_up_that_fails_unexpectedly_raises_and_is_not_kept() -> None:
    answers = iter([RuntimeError("broken"), ("192.0.2.1",)])

    def look_up(host: str, port: int) -> tuple[str, ...]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    resolver = SystemResolver(look_up=look_up)
    with pytest.raises(RuntimeError, match="broken"):
        await resolver.resolve("a.test", 80)
    assert await resolver.resolve("a.test", 80) == ("192.0.2.1",)
    await resolver.close()


def test_the_system_answers_literals_and_says_when_a_name_cannot_be() -> None:
    assert system_look_up("127.0.0.1", 80) == ("127.0.0.1",)
    assert isinstance(system_look_up("x" * 300, 80), NotResolved)
