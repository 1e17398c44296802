import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.engine.shards import SHARDS, shard_of


# CRC-32 as zlib, gzip and PostgreSQL compute it; stored rows carry these numbers, so they may never change.
@pytest.mark.parametrize(("key", "shard"), [("", 0), ("123456789", 0x26), ("ep_1", 0xDC), ("ws_1/user/Анна", 0x02)])
def test_a_key_keeps_its_shard_in_every_release(key: str, shard: int) -> None:
    assert shard_of(key) == shard


@given(key=st.text(st.characters(codec="utf-8")))
def test_every_key_has_one_of_the_shards(key: str) -> None:
    assert 0 <= shard_of(key) < SHARDS


def test_keys_spread_over_all_shards() -> None:
    assert {shard_of(f"ep_{number}") for number in range(10_000)} == set(range(SHARDS))
