"""Automations' lanes: one for each host."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.engine.lanes import automation_lane


@pytest.mark.parametrize(
    ("url", "lane"),
    [
        ("https://example.test/a?b", "auto_1/example.test"),
        ("https://EXAMPLE.test:8443/", "auto_1/example.test:8443"),
        ("https://user:secret@example.test/", "auto_1/example.test"),
        ("https://[2001:db8::1]:80/", "auto_1/[2001:db8::1]:80"),
        ("no url", "auto_1/"),
        ("http://[broken", "auto_1/"),
    ],
)
def test_a_lane_is_named_by_automation_and_host_without_credentials(url: str, lane: str) -> None:
    assert automation_lane("auto_1", url) == lane


@given(st.text(max_size=400))
def test_any_text_names_a_bounded_lane_of_its_automation(url: str) -> None:
    lane = automation_lane("auto_1", url)
    assert lane.partition("/")[0] == "auto_1"
    assert len(lane) <= 6 + 1 + 256
