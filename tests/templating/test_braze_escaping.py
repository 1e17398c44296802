"""In the Braze dialect too, no value can break out of its place; what authors print bare on purpose stays bare."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.templating import TemplateRenderFailed, compile_template

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def render(text: str, escape: str = "json", **attributes: object) -> str:
    facts = {"profile": {"id": "u1", "attributes": attributes}, "now": 1_767_323_045}
    return compile_template(text, escape=escape, dialect="braze").render(facts)


@given(value=json_values)
def test_no_value_adds_structure_wherever_it_is_printed(value: object) -> None:
    text = (
        '{"in": "{{custom_attribute.${x}}}", "out": {{custom_attribute.${x}}}, '
        '{% capture c %}{"n": "{{custom_attribute.${x}}}"}{% endcapture %}"captured": {{c}}, "text": "{{c}}", '
        '"escaped": "{{custom_attribute.${x} | json_escape}}", "last": 1}'
    )
    decoded = json.loads(render(text, x=value))
    assert list(decoded) == ["in", "out", "captured", "text", "escaped", "last"]
    assert list(decoded["captured"]) == ["n"]
    if isinstance(value, str):
        assert decoded["in"] == decoded["escaped"] == decoded["captured"]["n"] == value


def test_a_captured_body_escapes_the_quotes_of_its_values() -> None:
    text = '{% capture body %}{"name": "{{${first_name}}} {{${last_name}}} {{${last_name}}}"}{% endcapture %}{{body}}'
    name = 'x", "admin": true, "y": "'
    assert json.loads(render(text, first_name=name, last_name="B")) == {"name": f"{name} B B"}


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        ("5", "5"),
        ("true", "true"),
        ('{"a":1}', '{"a":1}'),
        ('"quoted"', '"quoted"'),
        ("+371", '"+371"'),
        ("05", '"05"'),
        ("NaN", '"NaN"'),
        ('1, "admin": true', '"1, \\"admin\\": true"'),
        ("Anna", '"Anna"'),
        (",", '","'),
        ("", '""'),
        (None, "null"),
        ([1, "a"], '[1,"a"]'),
    ],
)
def test_outside_of_quotes_a_whole_json_value_is_bare_and_other_text_is_quoted(value: object, printed: str) -> None:
    assert render("{{custom_attribute.${x}}}", x=value) == printed


def test_commas_that_the_template_itself_prints_stay_commas() -> None:
    text = (
        '{% assign sep = "" %}[{% for i in custom_attribute.${x} %}{{sep}}"{{i}}"{% assign sep = "," %}{% endfor %}'
        ', {{ "friend" }}, {{ "now" | date: "%s" }}]'
    )
    assert json.loads(render(text, x=["a", 'b"'])) == ["a", 'b"', "friend", 1767323045]


def test_a_url_may_begin_with_a_whole_address_and_encodes_all_else() -> None:
    text = "{{custom_attribute.${x}}}/p/{{custom_attribute.${x}}}"
    assert render(text, "url", x="https://h/a?b=c") == "https://h/a?b=c/p/https%3A%2F%2Fh%2Fa%3Fb%3Dc"
    assert render("{% assign u = 'https://h/x' %}{{u}}?id={{${user_id}}}", "url") == "https://h/x?id=u1"
    with pytest.raises(TemplateRenderFailed, match="control character"):
        render("{{custom_attribute.${x}}}", "url", x="https://h/\r\nX: y")


def test_a_header_refuses_line_breaks() -> None:
    with pytest.raises(TemplateRenderFailed, match="control character"):
        render("Bearer {{custom_attribute.${x}}}", "header", x="a\r\nX-Evil: 1")
    assert render("Bearer {{custom_attribute.${x}}}", "header", x="a") == "Bearer a"
