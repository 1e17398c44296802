"""Before an automation is published its author hears which variables nobody fills in."""

import pytest

from posthorn.templating import KnownNames, braze_variables, compile_template, unknown_variables

KNOWN: KnownNames = {
    "event": {"id": False, "data": {"total": False, "items": {"[]": {"n": False}}}},
    "profile": {"id": False, "attributes": {"first_name": False, "extra": True}, "subscriptions": True},
    "user": {"id": False},
    "automation": {"id": False, "name": False},
}


def unknown(text: str, dialect: str = "liquid") -> list[tuple[str, int, int]]:
    template = compile_template(text, escape="none", dialect=dialect)
    return [(found.name, found.line, found.column) for found in unknown_variables(template, KNOWN)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ event.data.total }}{{ event.data.items[0].n }}{{ event.data.items.size }}", []),
        ("{{ profile.attributes.extra.any.thing[0] }}{{ profile.subscriptions.x }}", []),
        ("{{ event.data[user.id] }}{{ event.data.items.first.n }}", []),
        ("{% assign mine = event.id %}{{ mine.x }}{% for i in event.data.items %}{{ i.q }}{% endfor %}", []),
        ("{{ event.dat.total }}", [("event.dat.total", 1, 4)]),
        ("a\n {{ event.data.totl | upcase }}", [("event.data.totl", 2, 5)]),
        ("{{ event.data.items[0].m }}", [("event.data.items[0].m", 1, 4)]),
        ("{{ event.id.deeper }}", [("event.id.deeper", 1, 4)]),
        ("{{ nope }}{{ nope }}{{ user.x | default: 1 }}", [("nope", 1, 4), ("user.x", 1, 24)]),
        ("{% if nope.a == user.b %}{% endif %}", [("nope.a", 1, 7), ("user.b", 1, 17)]),
    ],
)
def test_unknown_variables_are_listed_with_their_places(text: str, expected: list[tuple[str, int, int]]) -> None:
    assert unknown(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{${first_name}}}{{${user_id}}}{{${language}}}{{${random_bucket_number}}}", []),
        ("{{custom_attribute.${first_name}}}{{custom_attribute.first_name}}{{custom_attribute.${extra}.a}}", []),
        ("{{event_properties.${total}}}{{event_properties.total}}{{context.${total}}}{{context}}", []),
        ("{{subscribed_state.${email_global}}}{{campaign.${name}}}{{campaign.name}}{{canvas.${api_id}}}", []),
        ("{% assign r = 1 %}{{r.${x}}}{% connected_content https://h :save c %}{{c.x}}{{c.${y}}}", []),
        ("{{ ${last_name} }}", [("${last_name}", 1, 4)]),
        ("\n{% if {{custom_attribute.${frist_name}}} == 1 %}{% endif %}", [("custom_attribute.${frist_name}", 2, 9)]),
        ("{{event_properties.${items}[0].m}}", [("event_properties.${items}[0].m", 1, 3)]),
        ("{{event_properties.${total} | plus: {{custom_attribute.${x y}}}}}", [("custom_attribute.${x y}", 1, 39)]),
        ("{{ event_properties.nope }}{{ elsewhere.x }}", [("event_properties.nope", 1, 4), ("elsewhere.x", 1, 31)]),
        ("{% connected_content https://h/{{${city}}} %}", [("${city}", 1, 34)]),
    ],
)
def test_in_the_braze_dialect_they_are_named_as_they_are_written(
    text: str, expected: list[tuple[str, int, int]]
) -> None:
    assert unknown(text, "braze") == expected


def test_it_is_told_whether_a_missing_value_fails_the_rendering() -> None:
    liquid = unknown_variables(compile_template("{{ a }}{{ b | default: 1 }}", escape="none"), {})
    braze = unknown_variables(compile_template("{{ a }}{{${b}}}", escape="none", dialect="braze"), {})
    assert [found.is_optional for found in liquid] == [False, True]
    assert [found.is_optional for found in braze] == [True, True]


def test_a_name_in_a_content_block_is_placed_where_the_block_is_included() -> None:
    blocks = {"b": "line\n{{${first}}}"}
    template = compile_template("x\n {{content_blocks.${b}}}", escape="none", dialect="braze", blocks=blocks)
    (found,) = unknown_variables(template, KNOWN)
    assert (found.name, found.line, found.column) == ("${first}", 2, 2)


def test_the_variables_of_braze_are_made_from_the_facts_when_they_are_asked_for() -> None:
    facts = {
        "event": {"data": {"n": 1}},
        "profile": {"attributes": {"a": 2}, "devices": []},
        "automation": {"id": "aut_1", "name": "A"},
    }
    made = braze_variables(facts)
    assert made["event_properties"] is facts["event"]["data"]
    assert made["custom_attribute"] == {"a": 2}
    assert made["canvas"]["name"] == "A"
    assert made["event"] is facts["event"]
    assert "most_recently_used_device" not in made
    assert "nowhere" not in made
    assert {"event", "context", "campaign"} <= set(made)
    assert len(made) == len(list(made))
    assert braze_variables(made) is made
    assert "2" not in repr(made)
