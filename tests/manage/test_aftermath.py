"""What became of a decision in one sentence: each state of a request, and what is not kept any more."""

from typing import Any

import pytest

from posthorn.engine.journal import DeliveryRow
from posthorn.engine.records import Decision, DecisionWork, DeliveryState, DeliveryWork, Payload, Trigger
from posthorn.manage.aftermath import Sent, told
from posthorn.testing.factories import AUTOMATION, WORKSPACE, a_decision, an_attempt, an_event

EVENT = an_event()
WORK = DeliveryWork(
    id="dlv_1",
    shard=1,
    endpoint=f"{AUTOMATION}/chat.test",
    due_ms=0,
    event=EVENT.id,
    attempts=0,
    step=0,
    trigger=Trigger.SCHEDULED,
    payload=Payload(type="a", body=b"{}"),
)


def decision(**overrides: Any) -> Decision:
    work = DecisionWork(id=EVENT.id, shard=1, profile="ws/user/ann", due_ms=0, event=EVENT)
    return a_decision(work, **({"detail": "It fired"} | overrides))


def sent(state: DeliveryState, *, attempts: int = 1, answer: dict[str, Any] | None = None, **row: Any) -> Sent:
    delivery = DeliveryRow(
        id="dlv_1", workspace=WORKSPACE, event=EVENT.id, endpoint=WORK.endpoint, application=None, state=state,
        attempts=attempts, **({"next_ms": None} | row),
    )  # fmt: skip
    return Sent(delivery=delivery, attempt=an_attempt(WORK, state=state, **answer) if answer is not None else None)


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (sent(DeliveryState.PENDING, attempts=0, next_ms=0), "is queued and due at 1970-01-01T00:00:00.000Z"),
        (
            sent(DeliveryState.PENDING, attempts=2, next_ms=0, answer={"response_status": 503}),
            "failed 2 times, the last time answered 503, and the next attempt is due at 1970-01-01T00:00:00.000Z",
        ),
        (sent(DeliveryState.DELIVERED, answer={"detail": "x"}), "was delivered, answered 200"),
        (sent(DeliveryState.DELIVERED), "was delivered"),
        (
            sent(DeliveryState.EXHAUSTED, answer={"response_status": None, "error": "timeout"}),
            "was given up after it was tried 1 time, the last time without an answer: timeout",
        ),
        (
            sent(DeliveryState.EXHAUSTED, answer={"detail": "HTTP 200: chat not found"}),
            "was given up after it was tried 1 time, the last time answered 200 (chat not found)",
        ),
        (
            sent(DeliveryState.EXHAUSTED, answer={"response_status": 400, "detail": "HTTP 400"}),
            "was given up after it was tried 1 time, the last time answered 400",
        ),
        (sent(DeliveryState.CANCELLED, reason="automation_deleted"), "was cancelled: automation_deleted"),
    ],
)
def test_a_request_is_told_as_it_stands(one: Sent, said: str) -> None:
    assert told([decision()], [], [one], []) == f"It fired; the request to chat.test {said}"


def test_of_many_requests_three_are_told_and_the_others_counted() -> None:
    sentence = told([decision()], [], [sent(DeliveryState.DELIVERED)] * 5, [])
    assert sentence.count("the request to chat.test was delivered") == 3
    assert sentence.endswith("; and 2 requests more")


def test_what_a_decision_names_and_retention_took_is_said_to_be_gone() -> None:
    assert told([decision()], [], [], ["run_1", "dlv_1"]) == (
        "It fired; run_1 is not kept any more; dlv_1 is not kept any more"
    )


def test_decisions_that_say_the_same_are_counted_and_not_repeated() -> None:
    assert told([decision(), decision()], [], [], []) == "It fired; 2 decisions about it are kept"
