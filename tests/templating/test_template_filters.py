"""Filters: Shopify's meanings, no Python notation, no clock."""

import pytest

from posthorn.templating import TemplateRenderFailed, compile_template

FACTS = {
    "event": {
        "at": "2026-03-01T10:20:30.5+02:00",
        "items": [{"n": 2, "t": "b"}, {"n": 1, "t": "A"}, {"t": "b"}],
        "mixed": [1, "1", 1.0, True, None, {"a": 1}, {"a": 1}],
        "html": "a<script>x<y</script><b class='>'>c</b><!-- d -->e < f",
    },
    "now": 1_767_323_045,
}


def render(text: str, **variables: object) -> str:
    return compile_template(text, escape="none").render({**FACTS, **variables})


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("true | append: nil | append: false", "truefalse"),
        ("event.items | first | append: ''", '{"n":2,"t":"b"}'),
        ("event.items | map: 't' | join: '+'", "b+A+b"),
        ("event.items | map: 'n' | json", "[2,1,null]"),
        ("event.items | map: 'n' | compact | sort | join", "1 2"),
        ("event.items | where: 't', 'b' | size", "2"),
        ("event.items | uniq: 't' | size", "2"),
        ("event.mixed | uniq | json", '[1,"1",1.0,true,null,{"a":1}]'),
        ("event.items | sum: 'n'", "3"),
        ("event.items | sort_natural: 't' | map: 't' | join", "A b b"),
        ("event.items | last | json", '{"t":"b"}'),
        ("(1..3) | reverse | join: ''", "321"),
        ("15 | divided_by: 2", "7"),
        ("15 | divided_by: 2.0", "7.5"),
        ("'3' | plus: 4", "7"),
        ("1.005 | round: 1", "1.0"),
        ("'google search' | url_encode", "google+search"),
        ("'blah' | base64_encode", "YmxhaA=="),
        ("'YmxhaA==' | base64_decode", "blah"),
        ("'a,b' | split: ',' | join: '-'", "a-b"),
        ("'hello' | truncate: 4", "h..."),
        ("'hello' | slice: 1, 3", "ell"),
        ("true | slice: 0, 2", "tr"),
        ("'<a>' | escape | escape_once", "&lt;a&gt;"),
        ("event.html | strip_html", "a'>ce < f"),
        ("'x' | replace: 'x', 'y' | remove: 'z'", "y"),
        ("'a\\nb' | size", "4"),
        ("false | default: 'x'", "x"),
        ("false | default: 'x', allow_false: true", "false"),
        ("empty | default: 'x'", ""),
        ("'a' | upcase | downcase | capitalize | strip | squish", "A"),
    ],
)
def test_a_filter_means_what_liquid_says(expression: str, expected: str) -> None:
    assert render(f"{{{{ {expression} }}}}") == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("event.at | date: '%Y-%m-%d %H:%M:%S %z'", "2026-03-01 10:20:30 +0200"),
        ("event.at | date: '%s'", "1772353230"),
        ("0 | date: '%Y-%m-%dT%H:%M:%S %Z'", "1970-01-01T00:00:00 UTC"),
        ("'86400' | date: '%d'", "02"),
        ("'2026-01-02' | date: '%d.%m.%y'", "02.01.26"),
        ("now | date: '%s'", "1767323045"),
        ("'now' | date: '%H:%M'", "03:04"),
        ("0 | date: '%%s%%'", "%s%"),
    ],
)
def test_a_date_is_read_without_the_machines_clock_or_time_zone(expression: str, expected: str) -> None:
    assert render(f"{{{{ {expression} }}}}") == expected


def test_now_without_the_callers_variable_is_a_failure() -> None:
    with pytest.raises(TemplateRenderFailed, match="'now' is unknown here"):
        compile_template("{{ 'now' | date: '%Y' }}", escape="none").render({})


@pytest.mark.parametrize("value", ["'10:30'", "'tomorrow'", "true", "nil", "event.items"])
def test_what_is_no_date_is_a_failure_instead_of_a_guess(value: str) -> None:
    with pytest.raises(TemplateRenderFailed, match="date"):
        render(f"{{{{ {value} | date: '%Y' }}}}")


def test_the_same_variables_always_give_the_same_text() -> None:
    text = "{% cycle 'a', 'b' %}{% increment n %}{% cycle 'a', 'b' %}{% increment n %}{{ event.at }}"
    assert render(text) == render(text) == "a0b12026-03-01T10:20:30.5+02:00"


def test_a_standard_automation_body_renders() -> None:
    text = """{
  "to": "{{ user.email }}",
  "name": "{{ user.name | default: 'friend' }}",
  "lines": [{% for item in event.items -%}
    {"n": {{ item.n | default: 0 }}}{% unless forloop.last %},{% endunless %}
  {%- endfor %}],
  "vip": {% if user.vip %}true{% else %}false{% endif %}
}"""
    user = {"email": "a@example.com", "vip": False}
    rendered = compile_template(text, escape="json").render({**FACTS, "user": user})
    assert rendered == (
        '{\n  "to": "a@example.com",\n  "name": "friend",\n  "lines": [{"n": 2},{"n": 1},{"n": 0}],\n  "vip": false\n}'
    )
