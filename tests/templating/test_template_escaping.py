"""No value can break out of the place where it is printed."""

import json
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.templating import TemplateRenderFailed, TemplateSyntaxInvalid, compile_template

NASTY = 'Anna "A" \\ O\'Neil\r\n\t\x00\x1f\x7f\u2028\u2029 Ünïcödé 😀 </script> \ud800'

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
any_text = st.text(alphabet=st.characters(exclude_categories=()))


def render(text: str, escape: str = "json", **variables: object) -> str:
    return compile_template(text, escape=escape).render(variables)


@given(value=json_values)
def test_outside_of_quotes_a_value_prints_as_itself_in_json(value: object) -> None:
    assert json.loads(render('{"a": {{ user.x }}, "b": 1}', user={"x": value})) == {"a": value, "b": 1}


@given(value=any_text)
def test_between_quotes_a_text_prints_as_the_inside_of_a_string(value: str) -> None:
    assert json.loads(render('{"a": "<{{ user.x }}>", "b": 1}', user={"x": value})) == {"a": f"<{value}>", "b": 1}


@given(value=json_values)
def test_between_quotes_no_value_ends_the_string(value: object) -> None:
    decoded = json.loads(render('["{{ user.x }}", "{{ user.x | json }}"]', user={"x": value}))
    assert len(decoded) == 2
    assert json.loads(decoded[1]) == value
    if isinstance(value, (dict, list)):
        assert json.loads(decoded[0]) == value


@given(
    value=json_values, chain=st.lists(st.sampled_from(["json", "upcase", "strip", "escape", "split: ','"]), max_size=4)
)
def test_no_chain_of_filters_breaks_the_json_around_it(value: object, chain: list[str]) -> None:
    filters = "".join(f" | {name}" for name in chain)
    text = f'{{"in": "{{{{ user.x{filters} }}}}", "out": {{{{ user.x{filters} }}}}, "last": 1}}'
    assert json.loads(render(text, user={"x": value})).keys() == {"in", "out", "last"}


@given(literal=any_text.filter(lambda text: "{{" not in text and "{%" not in text), value=any_text)
def test_the_position_follows_any_well_formed_string_of_the_template(literal: str, value: str) -> None:
    template = "[" + json.dumps(literal) + ', "{{ user.x }}", {{ user.x }}]'
    assert json.loads(render(template, user={"x": value})) == [literal, value, value]


def test_the_text_of_a_nasty_name_survives_in_json() -> None:
    rendered = render('{"name": "{{ user.name }}"}', user={"name": NASTY})
    assert json.loads(rendered) == {"name": NASTY}
    assert "\u2028" not in rendered
    rendered.encode("utf-8")


def test_readable_letters_are_not_turned_into_escapes() -> None:
    assert render('"{{ user.x }}"', user={"x": "Привет, 世界 😀"}) == '"Привет, 世界 😀"'


@pytest.mark.parametrize(
    ("value", "outside", "inside"),
    [
        (None, "null", ""),
        (True, "true", "true"),
        (False, "false", "false"),
        (0, "0", "0"),
        (-1.5, "-1.5", "-1.5"),
        (2**70, str(2**70), str(2**70)),
        ("", '""', ""),
        ([], "[]", "[]"),
        ({"a": "b"}, '{"a":"b"}', '{\\"a\\":\\"b\\"}'),
    ],
)
def test_each_kind_of_value_has_one_print_inside_and_one_outside_of_quotes(
    value: object, outside: str, inside: str
) -> None:
    assert render("{{ user.x }}", user={"x": value}) == outside
    assert render('"{{ user.x }}"', user={"x": value}) == f'"{inside}"'


def test_a_string_outside_of_quotes_cannot_smuggle_in_structure() -> None:
    assert json.loads(render('{"amount": {{ user.x }}}', user={"x": '1, "admin": true'})) == {
        "amount": '1, "admin": true'
    }


def test_the_json_filter_is_not_escaped_twice_outside_of_quotes() -> None:
    assert render("{{ user.x | json }}", user={"x": 'a"b'}) == '"a\\"b"'
    assert render("{% assign y = user.x | json %}{{ y }}", user={"x": [1]}) == "[1]"


def test_a_filter_after_json_makes_plain_text_that_is_escaped_again() -> None:
    assert json.loads(render("{{ user.x | json | upcase }}", user={"x": "a"})) == '"A"'


def test_unescaped_prints_what_the_author_vouches_for_and_keeps_the_position() -> None:
    assert render("[{{ user.x | unescaped }}{{ user.y }}]", user={"x": '"a', "y": '"'}) == '["a\\"]'


def test_captured_text_is_escaped_once_where_it_is_printed() -> None:
    text = '{% capture c %}{{ user.x }}!{% endcapture %}["{{ c }}", {{ c }}, "{{ c | base64_encode }}"]'
    assert json.loads(render(text, user={"x": '"'})) == ['"!', '"!', "IiE="]


def test_both_branches_of_an_if_may_open_the_string() -> None:
    text = '{"a": {% if user.x %}"{{ user.y }}{% else %}"none{% endif %}"}'
    assert json.loads(render(text, user={"x": True, "y": '"'})) == {"a": '"'}
    assert json.loads(render(text, user={"x": False, "y": '"'})) == {"a": "none"}


@pytest.mark.parametrize("literal", ["\\", "\\u", "\\u00", "\\\\\\"])
def test_a_value_after_an_unfinished_escape_is_refused(literal: str) -> None:
    with pytest.raises(TemplateRenderFailed, match="right after a backslash"):
        render('"' + literal + '{{ user.x }}"', user={"x": "n"})


@pytest.mark.parametrize("literal", ["\\\\", '\\"', "\\u0041", "\\n"])
def test_a_value_after_a_finished_escape_is_inside_the_string(literal: str) -> None:
    rendered = render('"' + literal + '{{ user.x }}"', user={"x": '"'})
    assert json.loads(rendered) == json.loads(f'"{literal}"') + '"'


@given(value=st.text().filter(lambda text: text not in {".", ".."}))
def test_a_url_value_is_percent_encoded_whole(value: str) -> None:
    rendered = render("https://host/a/{{ user.x }}/b?q={{ user.x }}", "url", user={"x": value})
    before, path, rest = rendered.split("/a/")[0], *rendered.split("/a/")[1].split("/b?q=")
    assert before == "https://host"
    assert unquote(path) == unquote(rest) == value
    assert set(rendered) <= set("https:/?=%~-._ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")


@pytest.mark.parametrize("segment", [".", ".."])
def test_a_dot_segment_is_refused_in_the_path_and_allowed_in_the_query(segment: str) -> None:
    with pytest.raises(TemplateRenderFailed, match="change the path") as failed:
        render("https://host/{{ user.x }}/b", "url", user={"x": segment})
    assert segment not in failed.value.message.replace("'.' or '..'", "")
    assert render("https://host/?q={{ user.x }}", "url", user={"x": segment}) == f"https://host/?q={segment}"


def test_a_url_value_can_opt_out_but_never_holds_a_line_break() -> None:
    assert render("{{ user.x | unescaped }}/y", "url", user={"x": "https://h/a?b"}) == "https://h/a?b/y"
    with pytest.raises(TemplateRenderFailed, match="control character"):
        render("{{ user.x | unescaped }}", "url", user={"x": "https://h/\r\nX: y"})


@pytest.mark.parametrize("character", ["\r", "\n", "\0", "\t", "\x1b", "\x7f", "\x85", "\u2028"])
@pytest.mark.parametrize("opt_out", ["", " | unescaped"])
def test_a_control_character_in_a_header_value_is_a_failure(character: str, opt_out: str) -> None:
    with pytest.raises(TemplateRenderFailed, match="control character") as failed:
        render("Bearer {{ secrets.x" + opt_out + " }}", "header", secrets={"x": f"hunter2{character}X-Evil: 1"})
    assert "hunter2" not in str(failed.value)
    assert (failed.value.line, failed.value.column) == (1, 11)


def test_a_line_break_in_a_header_template_does_not_compile() -> None:
    with pytest.raises(TemplateSyntaxInvalid, match="line break"):
        compile_template("Bearer\n{{ secrets.x }}", escape="header")


def test_a_header_prints_text_as_it_is() -> None:
    assert render('Basic {{ user.x }} "é"', "header", user={"x": "a b\u00a0c"}) == 'Basic a b\u00a0c "é"'


def test_without_escaping_values_print_as_liquid_text() -> None:
    text = "{{ user.s }}|{{ user.n }}|{{ user.t }}|{{ user.a }}|{{ user.f }}|{{ (1..3) }}"
    variables = {"s": '"', "n": None, "t": True, "a": [{"b": None}], "f": 1.0}
    assert render(text, "none", user=variables) == '"||true|[{"b":null}]|1.0|1..3'
