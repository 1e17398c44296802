"""From messages to units of intake: pure, and nothing is dropped."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.engine.directory import Directory
from posthorn.engine.records import Append, RequestOutcome
from posthorn.engine.resources import DedupeRule
from posthorn.receive.bridges.port import BrokerMessage, Unreadable
from posthorn.receive.bridges.units import KEPT_BYTES, bridged, unit_of
from posthorn.testing.clock import START_MS
from posthorn.testing.factories import a_source

HEADERS = ((b"kind", b"paid"), (b"content-type", b"text/csv"), (b"content-encoding", b"gzip"))


def a_message(**overrides: Any) -> BrokerMessage:
    fields: dict[str, Any] = {
        "place": "orders/3/7",
        "subject": "orders",
        "headers": HEADERS,
        "body": b'{"id": 1, "key": "body-key"}',
        "key": "own-key",
        "occurred_ms": START_MS - 5_000,
        "receipt": None,
    }
    return BrokerMessage(**(fields | overrides))


def unit(message: BrokerMessage, **source: Any) -> Append:
    bridge = bridged(a_source(id="src_1", **source), protocol="KAFKA", peer="kafka.test:9092")
    return unit_of(bridge, message, Directory(), START_MS)


def test_a_message_becomes_an_event_with_its_bytes_and_labels_untouched() -> None:
    made = unit(a_message(body=b"\x00\xff raw"))
    assert made.request is None
    assert made.event is not None
    assert (made.event.payload, made.event.type, made.event.source) == (b"\x00\xff raw", "webhook.received", "src_1")
    assert (made.event.content_type, made.event.content_encoding) == ("text/csv", "gzip")
    assert (made.event.occurred_ms, made.event.received_ms, made.event.user) == (START_MS - 5_000, START_MS, None)


def test_the_event_type_is_a_template_over_headers_subject_and_body() -> None:
    template = "{{ request.method }}.{{ request.path }}.{{ request.headers.kind }}.{{ body.id }}"
    made = unit(a_message(), event_type=template)
    assert made.event is not None
    assert made.event.type == "KAFKA.orders.paid.1"


@pytest.mark.parametrize(
    ("dedupe", "key", "expected"),
    [
        (None, "own-key", "own-key"),
        (DedupeRule(header="Kind"), "own-key", "paid"),
        (DedupeRule(header="Absent"), "own-key", "own-key"),
        (DedupeRule(field="key"), "own-key", "body-key"),
    ],
)
def test_a_message_claims_the_key_of_the_sources_rule_or_its_own(
    dedupe: DedupeRule | None, key: str, expected: str
) -> None:
    made = unit(a_message(key=key), dedupe=dedupe)
    assert [(claim.scope, claim.key) for claim in made.claims] == [("source:src_1", expected)]
    assert made.event is not None
    assert made.claims[0].event == made.event.id


def test_a_message_without_any_key_claims_its_events_id_so_that_a_batch_can_be_repeated() -> None:
    made = unit(a_message(key=None))
    assert made.event is not None
    assert made.claims[0].key == made.event.id


@pytest.mark.parametrize("key", ["nul\x00", "line\n", "half \ud800", "long" * 200])
def test_a_key_that_a_database_cannot_store_is_hashed_and_stays_distinct(key: str) -> None:
    first, second = unit(a_message(key=key)).claims[0].key, unit(a_message(key=f"{key}.")).claims[0].key
    assert first != second
    assert first == unit(a_message(key=key)).claims[0].key
    assert first.startswith("sha256:")
    assert first.isprintable()


@pytest.mark.parametrize("occurred_ms", [None, -1, 0, 10**15])
def test_a_time_that_cannot_be_one_is_replaced_by_the_arrival(occurred_ms: int | None) -> None:
    made = unit(a_message(occurred_ms=occurred_ms))
    assert made.event is not None
    assert made.event.occurred_ms == START_MS


@pytest.mark.parametrize(
    ("message", "source", "cause"),
    [
        ({"body": b"x" * 11}, {"body_limit_bytes": 10}, "body_too_large"),
        ({}, {"event_type": "{{ body.nothing }}"}, "event_type_failed"),
        ({"body": b"no json"}, {"event_type": "{{ body.id }}"}, "event_type_failed"),
        ({"headers": ((b"kind", b" "),)}, {"event_type": "{{ request.headers.kind }}"}, "event_type_failed"),
        ({"unreadable": Unreadable(cause="payload_missing", detail="no field")}, {}, "payload_missing"),
    ],
)
def test_what_no_event_can_be_made_of_is_kept_whole_with_the_cause(
    message: dict[str, Any], source: dict[str, Any], cause: str
) -> None:
    came = a_message(**message)
    made = unit(came, **source)
    assert (made.event, made.claims, made.profile) == (None, (), None)
    assert made.request is not None
    assert (made.request.outcome, made.request.cause, made.request.body) == (RequestOutcome.REJECTED, cause, came.body)
    assert (made.request.method, made.request.target) == ("KAFKA", b"orders/3/7")
    assert (made.request.peer, made.request.source) == ("kafka.test:9092", "src_1")
    assert made.request.detail


def test_only_the_beginning_of_a_huge_message_is_kept_and_that_is_said() -> None:
    made = unit(a_message(body=b"x" * (KEPT_BYTES + 1)))
    assert made.request is not None
    assert len(made.request.body) == KEPT_BYTES
    assert "only the first" in (made.request.detail or "")


def test_line_breaks_in_a_brokers_headers_make_no_header_lines() -> None:
    headers = ((b"a\r\nb", b"1\r\nevil: 2"), (b"c:d", b"3"))
    made = unit(a_message(headers=headers, body=b"x" * 11), body_limit_bytes=10)
    assert made.request is not None
    assert made.request.head == b"a__b: 1  evil: 2\r\nc_d: 3\r\n"


@given(
    body=st.binary(max_size=64),
    headers=st.lists(st.tuples(st.binary(min_size=1, max_size=8), st.binary(max_size=8)), max_size=3),
    key=st.none() | st.text(max_size=20),
    occurred_ms=st.none() | st.integers(),
)
def test_any_message_makes_exactly_one_row_that_can_be_stored(
    body: bytes, headers: list[tuple[bytes, bytes]], key: str | None, occurred_ms: int | None
) -> None:
    message = a_message(body=body, headers=tuple(headers), key=key, occurred_ms=occurred_ms)
    made = unit(message, event_type="{{ request.headers.kind }}{{ body }}", dedupe=DedupeRule(field="id"))
    assert (made.event is None) != (made.request is None)
    texts = msgspec.json.encode([made.claims, made.event and (made.event.type, made.event.content_type)])
    assert b"\\u0000" not in texts
