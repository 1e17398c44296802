"""Patterns agree with a regular expression that means the same, and cost no more than their size."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.conditions.patterns import MAX_TEXT_CHARACTERS, pattern_fault, pattern_test


def as_regex(pattern: str) -> str:
    parts, at = [], 0
    while at < len(pattern):
        if pattern[at] == "\\":
            at += 1
            parts.append(re.escape(pattern[at]))
        else:
            parts.append({"*": ".*", "?": "."}.get(pattern[at], re.escape(pattern[at])))
        at += 1
    return "".join(parts)


PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "?", "\\*", "\\?", "\\\\", ".", "\n"]), max_size=8).map("".join)


@given(pattern=PATTERNS, text=st.text(alphabet="ab*?\\.\n", max_size=10))
def test_a_pattern_matches_what_its_regular_expression_matches(pattern: str, text: str) -> None:
    assert pattern_fault(pattern) is None
    assert pattern_test(pattern)(text) is (re.fullmatch(as_regex(pattern), text, re.DOTALL) is not None)


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*ab*ab", "abab", True),
        ("*ab*ab", "ab", False),
        ("*?x", "ax", True),
        ("**", "", True),
        ("100\\%", "100%", True),
        ("a\\*", "a*", True),
        ("a\\*", "ab", False),
    ],
)
def test_a_part_is_never_used_twice(pattern: str, text: str, *, expected: bool) -> None:
    assert pattern_test(pattern)(text) is expected


def test_a_pattern_made_to_be_slow_takes_no_longer_than_its_size_allows() -> None:
    test = pattern_test("*a?" * 80 + "b")
    started = time.process_time()
    assert test("a" * MAX_TEXT_CHARACTERS) is False
    # Backtracking would take longer than the age of the universe.
    assert time.process_time() - started < 5


def test_a_text_that_is_too_long_does_not_match() -> None:
    assert pattern_test("*")("x" * MAX_TEXT_CHARACTERS) is True
    assert pattern_test("*")("x" * (MAX_TEXT_CHARACTERS + 1)) is False
    assert pattern_test("x" * 5)("x" * (MAX_TEXT_CHARACTERS + 1)) is False
