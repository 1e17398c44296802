import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn import ids

# The ids carry 32 bits of seconds, which last until 2150.
LAST_MS = ids.EPOCH_MS + (2**32 - 1) * 1000
INSTANTS = st.integers(min_value=ids.EPOCH_MS, max_value=LAST_MS)
PREFIXES = [
    ids.WORKSPACE, ids.API_KEY, ids.APPLICATION, ids.ENDPOINT, ids.EVENT_TYPE, ids.EVENT, ids.MESSAGE, ids.SOURCE,
    ids.REQUEST, ids.DELIVERY, ids.ATTEMPT, ids.AUTOMATION, ids.DECISION, ids.SECRET, ids.NODE,
]  # fmt: skip


def test_every_kind_has_a_prefix_of_its_own() -> None:
    assert len(set(PREFIXES)) == len(PREFIXES)


@given(at_ms=INSTANTS)
def test_an_id_is_its_prefix_and_27_base62_characters(at_ms: int) -> None:
    prefix, _, body = ids.new_id("evt", at_ms).partition("_")
    assert prefix == "evt"
    assert len(body) == 27
    assert body.isascii()
    assert body.isalnum()


@given(at_ms=INSTANTS)
def test_an_id_tells_its_instant_to_four_milliseconds(at_ms: int) -> None:
    told_ms = ids.time_of(ids.new_id("evt", at_ms))
    assert told_ms is not None
    assert 0 <= at_ms - told_ms < 4


@given(at_ms=INSTANTS)
def test_no_id_of_an_instant_sorts_before_its_first_id(at_ms: int) -> None:
    first = ids.first_id("evt", at_ms)
    assert first <= ids.new_id("evt", at_ms)
    assert ids.time_of(first) == ids.time_of(ids.new_id("evt", at_ms))


@given(earlier_ms=INSTANTS, later_ms=INSTANTS)
def test_ids_sort_as_text_by_their_instants(earlier_ms: int, later_ms: int) -> None:
    earlier_ms, later_ms = sorted((earlier_ms, later_ms))
    earlier, later = ids.new_id("evt", earlier_ms), ids.new_id("evt", later_ms)
    if ids.time_of(earlier) != ids.time_of(later):
        assert earlier < later
        assert earlier < ids.first_id("evt", later_ms)


def test_an_instant_before_the_epoch_counts_as_the_epoch() -> None:
    assert ids.time_of(ids.new_id("evt", 0)) == ids.EPOCH_MS


def test_the_layout_is_that_of_a_ksuid() -> None:
    # From the reference implementation of KSUID: the first and the last instant, without and with all random bits.
    assert ids.first_id("evt", ids.EPOCH_MS) == "evt_" + "0" * 27
    assert ids.new_id("evt", LAST_MS + 999) < "evt_aWgEPTl1tmebfsQzFP4bxwgy80V"


def test_ids_of_one_instant_differ() -> None:
    made = {ids.new_id("evt", ids.EPOCH_MS) for _ in range(10_000)}
    assert len(made) == 10_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "evt",
        "evt_",
        "_",
        "0" * 27,
        "evt_" + "0" * 26,
        "evt_" + "0" * 28,
        "evt_" + "0" * 26 + "-",
        "evt_" + "é" * 27,
    ],
)
def test_what_is_no_id_has_no_instant(text: str) -> None:
    assert ids.time_of(text) is None


def test_an_underscore_in_the_prefix_is_no_harm() -> None:
    assert ids.time_of(ids.new_id("my_kind", ids.EPOCH_MS + 4000)) == ids.EPOCH_MS + 4000


def test_a_child_process_does_not_repeat_its_parents_ids() -> None:
    # In a process of its own: forking one that has threads, as a test runner may, is not safe.
    script = """
import os
from posthorn.ids import EPOCH_MS, new_id
new_id("evt", EPOCH_MS)
ours, theirs = os.pipe()
child = os.fork()
if child == 0:
    os.write(theirs, new_id("evt", EPOCH_MS).encode())
    os._exit(0)
os.waitpid(child, 0)
assert os.read(ours, 100).decode() != new_id("evt", EPOCH_MS)
"""
    subprocess.run([sys.executable, "-c", script], check=True)
