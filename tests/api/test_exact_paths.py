"""Addresses keep user ids whole, whatever is in them."""

from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.api.exact_paths import user_in, with_exact_user

PREFIX = "/api/v1"


def scope(raw: str, **more: Any) -> Any:
    return {"type": "http", "path": unquote(raw), "raw_path": raw.encode()} | more


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.sampled_from(["", "/", "/run", "/export/"]))
def test_an_encoded_user_id_stays_one_part_of_the_path(user: str, tail: str) -> None:
    path = with_exact_user(scope(f"{PREFIX}/profile/{quote(user, safe='')}{tail}"), PREFIX)["path"]
    part, slash, rest = path.removeprefix(f"{PREFIX}/profile/").partition("/")
    assert (user_in(part), slash + rest) == (user, tail)


@pytest.mark.parametrize(
    "untouched",
    [
        scope("/api/v1/app/a%2Fb"),
        scope("/api/v1/profile"),
        scope("/api/v1/profile/%ff"),
        scope("/api/v1/profile/a%2Fb", type="websocket"),
        {"type": "http", "path": "/api/v1/profile/a/b"},
        {"type": "lifespan"},
    ],
)
def test_all_else_is_left_as_it_is(untouched: Any) -> None:
    assert with_exact_user(untouched, PREFIX) is untouched
