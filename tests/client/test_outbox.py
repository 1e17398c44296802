"""The queue without clock, socket or thread."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.client import InvalidCall, NoAnswer, NotSentInTime, Options, QueueFull, ServerBusy, ServerRefused
from posthorn.client.answers import Accepted, Outcome, Oversized, Refused, TryAgain
from posthorn.client.outbox import Batch, Counts, Finished, Outbox, Wait

REFUSAL = ServerRefused(status=400, detail="bad")
AWAY = TryAgain(reason=NoAnswer("away"))


def outbox_of(number: int = 0, *, jitter: float = 1.0, **options: Any) -> Outbox:
    outbox = Outbox(Options(**options), lambda: jitter)
    for index in range(number):
        outbox.put(f"m{index}", b"x" * 10, 0.0)
    return outbox


def ids(step: object) -> list[str]:
    assert isinstance(step, Batch)
    return [item.id for item in step.items]


def test_a_batch_is_due_when_its_first_event_is_old_enough() -> None:
    outbox = outbox_of(2, flush_after_seconds=0.5)
    assert outbox.next(0.125) == Wait(seconds=0.375)
    assert ids(outbox.next(0.5)) == ["m0", "m1"]


def test_a_batch_is_due_at_once_when_it_is_full() -> None:
    outbox = outbox_of(5, batch_events=2)
    assert ids(outbox.next(0.0)) == ["m0", "m1"]


def test_a_batch_is_cut_before_it_has_too_many_bytes() -> None:
    outbox = outbox_of(5, batch_bytes=25)
    assert ids(outbox.next(0.0)) == ["m0", "m1"]


def test_an_event_larger_than_a_batch_goes_alone() -> None:
    outbox = outbox_of(batch_bytes=5)
    outbox.put("large", b"x" * 50, 0.0)
    outbox.put("next", b"x", 0.0)
    assert ids(outbox.next(0.0)) == ["large"]


def test_the_driver_is_woken_for_the_first_event_and_for_a_full_batch() -> None:
    outbox = outbox_of(batch_events=3)
    assert [outbox.put(f"m{index}", b"x", 0.0) for index in range(4)] == [True, False, True, True]


def test_a_full_queue_takes_nothing_and_says_so() -> None:
    outbox = outbox_of(3, queue_events=3)
    with pytest.raises(QueueFull, match="3 events"):
        outbox.put("m3", b"x", 0.0)
    assert outbox.counts == Counts(waiting=3, delivered=0, lost=0)


def test_a_queue_is_full_by_bytes_too_and_counts_what_is_in_flight() -> None:
    outbox = outbox_of(3, queue_bytes=30, batch_events=3)
    outbox.next(0.0)
    with pytest.raises(QueueFull):
        outbox.put("m3", b"x", 0.0)
    outbox.settle(Accepted(), 0.0)
    outbox.put("m3", b"x", 0.0)


def test_a_failed_batch_is_the_same_batch_again_after_a_growing_wait() -> None:
    outbox = outbox_of(3, flush_after_seconds=0, first_retry_seconds=1.0, longest_retry_seconds=3.0)
    now = 0.0
    waits = []
    for _ in range(4):
        assert ids(outbox.next(now)) == ["m0", "m1", "m2"]
        outbox.settle(AWAY, now)
        outbox.put("later", b"x", now)
        wait = outbox.next(now)
        assert isinstance(wait, Wait)
        assert wait.seconds is not None
        waits.append(wait.seconds)
        now += wait.seconds
    assert waits == [1.0, 2.0, 3.0, 3.0]


def test_jitter_spreads_waits_over_their_later_half() -> None:
    outbox = outbox_of(1, flush_after_seconds=0, first_retry_seconds=1.0, jitter=0.0)
    outbox.next(0.0)
    outbox.settle(AWAY, 0.0)
    assert outbox.next(0.0) == Wait(seconds=0.5)


def test_the_servers_wish_is_a_lower_bound_within_reason() -> None:
    outbox = outbox_of(1, flush_after_seconds=0, longest_retry_after_seconds=100.0, jitter=0.0)
    busy = ServerBusy(status=429, detail="slow down")
    outbox.next(0.0)
    outbox.settle(TryAgain(reason=busy, after_seconds=30.0), 0.0)
    assert outbox.next(0.0) == Wait(seconds=30.0)
    outbox.next(30.0)
    outbox.settle(TryAgain(reason=busy, after_seconds=1e9), 30.0)
    assert outbox.next(30.0) == Wait(seconds=100.0)


def test_flushing_makes_due_what_was_put_before_and_nothing_else() -> None:
    outbox = outbox_of(2, flush_after_seconds=10)
    mark = outbox.flush()
    outbox.put("after", b"x", 0.0)
    assert not outbox.is_settled(mark)
    assert ids(outbox.next(0.0)) == ["m0", "m1", "after"]
    outbox.settle(Accepted(), 0.0)
    assert outbox.is_settled(mark)
    outbox.put("alone", b"x", 0.0)
    assert outbox.next(0.0) == Wait(seconds=10.0)


def test_a_flush_is_not_settled_by_later_events_that_are_refused_first() -> None:
    outbox = outbox_of(1, flush_after_seconds=0)
    mark = outbox.flush()
    outbox.put("after", b"x", 0.0)
    outbox.next(0.0)
    outbox.settle(Refused(reason=REFUSAL, faults=((1, REFUSAL),)), 0.0)
    assert not outbox.is_settled(mark)


def test_only_the_events_that_the_server_named_are_lost() -> None:
    outbox = outbox_of(3, flush_after_seconds=0)
    outbox.next(0.0)
    (lost,) = outbox.settle(Refused(reason=REFUSAL, faults=((1, REFUSAL),)), 0.0)
    assert lost.message_ids == ("m1",)
    assert ids(outbox.next(0.0)) == ["m0", "m2"]


def test_positions_beyond_the_batch_name_nothing() -> None:
    outbox = outbox_of(2, flush_after_seconds=0)
    outbox.next(0.0)
    (lost,) = outbox.settle(Refused(reason=REFUSAL, faults=((7, REFUSAL),)), 0.0)
    assert lost.message_ids == ("m0", "m1")


def test_too_large_a_request_is_halved_until_one_event_is_too_large() -> None:
    outbox = outbox_of(4, flush_after_seconds=0)
    sent, lost = [], []
    while isinstance(step := outbox.next(0.0), Batch):
        sent.append(ids(step))
        too_large = "m2" in sent[-1] or len(sent[-1]) > 2
        lost += outbox.settle(Oversized(reason=REFUSAL) if too_large else Accepted(), 0.0)
    assert sent == [["m0", "m1", "m2", "m3"], ["m0", "m1"], ["m2", "m3"], ["m2"], ["m3"]]
    assert [one.message_ids for one in lost] == [("m2",)]


def test_a_batch_is_given_up_after_its_time_and_the_next_one_has_its_own() -> None:
    outbox = outbox_of(2, flush_after_seconds=0, batch_events=1, give_up_after_seconds=60.0)
    outbox.next(0.0)
    assert outbox.settle(AWAY, 0.0) == ()
    outbox.next(100.0)
    (lost,) = outbox.settle(AWAY, 100.0)
    assert (lost.message_ids, lost.reason) == (("m0",), AWAY.reason)
    assert ids(outbox.next(200.0)) == ["m1"]
    assert outbox.settle(AWAY, 200.0) == ()


def test_closing_sends_everything_and_is_finished_at_once_when_a_wait_ends_too_late() -> None:
    outbox = outbox_of(3, batch_events=2, flush_after_seconds=10)
    outbox.close(5.0)
    outbox.next(0.0)
    outbox.settle(Accepted(), 0.0)
    assert ids(outbox.next(0.0)) == ["m2"]
    outbox.settle(TryAgain(reason=AWAY.reason, after_seconds=60.0), 0.0)
    assert outbox.next(0.0) == Finished()
    (lost,) = outbox.abandon()
    assert lost.message_ids == ("m2",)
    assert isinstance(lost.reason, NotSentInTime)
    assert outbox.counts == Counts(waiting=0, delivered=2, lost=1)


def test_an_outcome_that_comes_after_everything_was_abandoned_changes_nothing() -> None:
    outbox = outbox_of(1, flush_after_seconds=0)
    outbox.next(0.0)
    outbox.abandon()
    assert outbox.settle(Accepted(), 0.0) == ()
    assert outbox.counts == Counts(waiting=0, delivered=0, lost=1)


def test_a_limit_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidCall, match="batch_events"):
        Options(batch_events=0)


outcomes = st.one_of(
    st.just(Accepted()),
    st.just(AWAY),
    st.just(Oversized(reason=REFUSAL)),
    st.just(Refused(reason=REFUSAL)),
    st.builds(
        lambda at: Refused(reason=REFUSAL, faults=tuple((index, REFUSAL) for index in at)),
        st.sets(st.integers(0, 4), min_size=1),
    ),
    st.builds(
        lambda at: Accepted(faults=tuple((index, REFUSAL) for index in at)),
        st.sets(st.integers(0, 4), min_size=1),
    ),
)


@given(steps=st.lists(st.one_of(st.integers(1, 6), outcomes, st.just("put_back")), max_size=40))
def test_every_event_is_delivered_or_lost_once_and_none_is_sent_after_that(steps: list[int | Outcome | str]) -> None:
    outbox = outbox_of(batch_events=4, flush_after_seconds=0, queue_events=20, give_up_after_seconds=10_000)
    put: list[str] = []
    settled: list[str] = []
    now = 0.0
    for step in [*steps, 3, *[Accepted()] * 40]:
        now += 100
        if isinstance(step, int):
            for _ in range(step):
                if len(put) - len(settled) < 20:
                    outbox.put(f"m{len(put)}", b"x", now)
                    put.append(f"m{len(put)}")
            continue
        batch = outbox.next(now)
        if not isinstance(batch, Batch):
            continue
        assert set(ids(batch)).isdisjoint(settled)
        assert [item.number for item in batch.items] == sorted(item.number for item in batch.items)
        if isinstance(step, str):
            outbox.put_back()
            continue
        lost = [one for each in outbox.settle(step, now) for one in each.message_ids]
        settled += lost
        if isinstance(step, Accepted):
            settled += [one for one in ids(batch) if one not in lost]
    assert sorted(settled) == sorted(put)
    assert outbox.counts.waiting == 0
    assert outbox.counts.delivered + outbox.counts.lost == len(put)
