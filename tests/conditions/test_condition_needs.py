"""Conditions say what they look at, so that nothing else has to be loaded."""

from typing import Any

import pytest

from posthorn.conditions import Needs, compile_conditions, decode_conditions


def needs(raw: object) -> Needs:
    return compile_conditions(decode_conditions(raw)).needs


def test_conditions_over_the_event_alone_need_nothing() -> None:
    assert needs({"all": [{"field": "event.data.total", "operator": "gt", "value": 1}]}) == Needs()
    assert needs({"cel": "event.data.total > 1 && user.id == 'a' && source.name == 'b'"}) == Needs()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"field": "profile.locale", "operator": "is_set"}, Needs(profile=True)),
        ({"field": 'counts["a.b"].count', "operator": "is_set"}, Needs(counts=frozenset({"a.b"}))),
        ({"field": "segments.vip", "operator": "is_set"}, Needs(segments=frozenset({"vip"}))),
        ({"field": "steps.lookup.status", "operator": "is_set"}, Needs(steps=frozenset({"lookup"}))),
        ({"field": "local.date", "operator": "is_set"}, Needs(local=True, times=True)),
        ({"field": "now", "operator": "after", "value": 1}, Needs(times=True)),
        ({"field": "event.data.at", "operator": "after", "value": "now"}, Needs(times=True)),
        ({"field": "event.data.at", "operator": "after", "value": "2026-01-01"}, Needs()),
        ({"field": "event.data.at", "operator": "older_than", "value": {"days": 1}}, Needs(times=True)),
        ({"count": {"event": "a", "op": "eq", "value": 1}}, Needs(counts=frozenset({"a"}))),
        ({"segment": {"is": "not_in", "segment": "vip"}}, Needs(segments=frozenset({"vip"}))),
        ({"subscription": {"channel": "email", "is": ["unknown"]}}, Needs(profile=True)),
        ({"time": {"weekdays": ["monday"]}}, Needs(local=True, times=True)),
        ({"cel": "counts['a.b'].count + counts.c.count > 3"}, Needs(counts=frozenset({"a.b", "c"}))),
        ({"cel": 'segments["vip"] || !segments.gold'}, Needs(segments=frozenset({"vip", "gold"}))),
        ({"cel": "steps.lookup.body.ok && local.weekday == 1"}, Needs(steps=frozenset({"lookup"}), local=True)),
        ({"cel": "'profile' == event.type // counts.a"}, Needs()),
        ({"cel": "event.data.profile.counts.now == 1"}, Needs()),
        ({"cel": "timestamp(now) > timestamp(profile.createdTime)"}, Needs(times=True, profile=True)),
    ],
)
def test_a_condition_names_what_it_looks_at(raw: dict[str, Any], expected: Needs) -> None:
    found = needs({"not": raw})
    assert found == (expected | Needs(times=True) if found.local else expected)


def test_needs_of_a_tree_are_those_of_all_its_parts() -> None:
    performed = {"event": "login", "atLeast": 3, "withinSeconds": 60}
    found = needs(
        {
            "any": [
                {"count": {"event": "a", "op": "eq", "value": 1}},
                {"not": {"count": {"event": "b", "op": "eq", "value": 1}}},
                {"performed": performed},
                {"all": [{"performed": performed}, {"performed": {"event": "login", "atMost": 3}}]},
                {"items": {"field": "profile.list", "match": "any", "where": {"cel": "item.x == counts.c.count"}}},
            ]
        }
    )
    assert found.counts == {"a", "b", "c"}
    assert [(need.event, need.keep, need.within_seconds) for need in found.windows] == [
        ("login", 3, 60),
        ("login", 4, None),
    ]
    assert (found.profile, found.times, found.local) == (True, True, False)


def test_a_window_without_an_end_depends_on_no_clock() -> None:
    found = needs({"performed": {"event": "login", "atLeast": 3}})
    assert found.times is False
    assert len(found.windows) == 1
