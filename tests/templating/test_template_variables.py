"""Unknown variables are failures with a place; static analysis finds what a template reads."""

import pytest

from posthorn.templating import TemplateRenderFailed, TemplateSyntaxInvalid, compile_template, uses_secrets, variables

FACTS = {
    "event": {"id": "evt_1", "data": {"total": 0, "nothing": None, "items": [{"n": 1}, {"n": 2}], "a b": "x"}},
    "user": {"name": "Anna", "size": "L"},
    "secrets": {"token": "hunter2", "size": "tiny"},
}


def render(text: str) -> str:
    return compile_template(text, escape="none").render(FACTS)


@pytest.mark.parametrize(
    ("text", "name", "line", "column"),
    [
        ("{{ nope }}", "nope", 1, 4),
        ("a\nbc {{ event.data.nope }}", "event.data.nope", 2, 7),
        ("{{ event.data.total.deeper }}", "event.data.total.deeper", 1, 4),
        ("{{ event.data.nothing.deeper }}", "event.data.nothing.deeper", 1, 4),
        ("{{ event.data.items[2].n }}", "event.data.items[2].n", 1, 4),
        ("{{ event.id[0] }}", "event.id[0]", 1, 4),
        ("{{ user.name.upper }}", "user.name.upper", 1, 4),
        ("{{ user.__class__ }}", "user.__class__", 1, 4),
        ("{{ event.nope | upcase | default: 'x' }}", "event.nope", 1, 4),
        ("{{ event.id | append: event.nope }}", "event.nope", 1, 23),
        ("{% if event.nope %}x{% endif %}", "event.nope", 1, 7),
        ("{% if event.nope == nil %}x{% endif %}", "event.nope", 1, 7),
        ("{% if event.id == event.nope %}x{% endif %}", "event.nope", 1, 19),
        ("{% for x in event.nope %}{% endfor %}", "event.nope", 1, 13),
        ("{% case event.nope %}{% when 1 %}{% endcase %}", "event.nope", 1, 9),
        ("{% for i in (1..2) %}\n{{ i.x }}{% endfor %}", "i.x", 2, 4),
        ("{% for i in (1..2) %}{{ forloop.parentloop.index }}{% endfor %}", "forloop.parentloop.index", 1, 25),
        ("{{ forloop }}", "forloop", 1, 4),
        ("{{ today }}", "today", 1, 4),
        ("{{ now }}", "now", 1, 4),
        ("{{ partial }}", "partial", 1, 4),
    ],
)
def test_an_unknown_variable_is_named_with_its_place(text: str, name: str, line: int, column: int) -> None:
    with pytest.raises(TemplateRenderFailed) as failed:
        render(text)
    assert failed.value.message == f"unknown variable '{name}'"
    assert (failed.value.line, failed.value.column) == (line, column)
    assert str(failed.value).startswith(f"line {line}, column {column}: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ event.nope | default: 'x' }}", "x"),
        ("{{ nope.deeper[0] | default: event.id }}", "evt_1"),
        ("{% assign n = event.nope | default: nil %}{% if n %}1{% else %}2{% endif %}", "2"),
        ("{{ event.data.nothing | default: 'x' }}", "x"),
        ("{{ event.data.total | default: 'x' }}", "0"),
        ("{{ event.data.nothing }}", ""),
        ('{{ event.data["a b"] }}', "x"),
        ("{{ event.data.items.first.n }}{{ event.data.items.last.n }}{{ event.data.items[-1].n }}", "122"),
        ("{{ event.data.items.size }}{{ user.size }}{{ user.name.size }}", "2L4"),
        ("{% assign k = 'name' %}{{ user[k] }}", "Anna"),
        ("{% for i in event.data.items %}{{ forloop.index }}:{{ i.n }} {% endfor %}", "1:1 2:2 "),
    ],
)
def test_a_default_or_an_existing_value_is_no_failure(text: str, expected: str) -> None:
    assert render(text) == expected


def test_an_unknown_key_that_is_a_secret_is_not_named() -> None:
    with pytest.raises(TemplateRenderFailed) as failed:
        render("{{ event[secrets.token] }}")
    assert failed.value.message == "unknown variable 'event[secrets.token]'"


@pytest.mark.parametrize(
    "text",
    [
        "{{ secrets.token | divided_by: 0 }}",
        "{{ secrets.token | date: '%Y' }}",
        "{{ 1 | round: secrets.token | plus: secrets.token | slice: secrets.token }}",
        "{{ secrets.token | base64_decode }}",
        "{{ 1 | concat: secrets.token }}",
        "{{ event.data.items | compact: secrets.token }}",
        "{% if secrets.token > 1 %}{% endif %}",
        "{{ nope[secrets.token] }}",
        "{{ '\ud83d' | append: secrets.token | url_encode }}",
    ],
)
def test_no_failure_and_no_repr_tells_a_secret(text: str) -> None:
    template = compile_template(text, escape="none")
    with pytest.raises(TemplateRenderFailed) as failed:
        template.render(FACTS)
    seen = f"{failed.value!s} {failed.value!r} {failed.value.args} {template!r} {template}"
    assert "hunter2" not in seen
    assert failed.value.__cause__ is None
    assert failed.value.__context__ is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("{{ user.name }}", set()),
        ("{{ secrets.a }}{{ secrets['b c'] }}{{ ['secrets'].d }}", {"a", "b c", "d"}),
        ("{{ user.x | append: secrets.t }}", {"t"}),
        ("{% if user.x %}{% elsif secrets.q == 1 %}{% endif %}", {"q"}),
        ("{% case 1 %}{% when secrets.w %}{% endcase %}{% unless secrets.u %}{% endunless %}", {"w", "u"}),
        ("{% for i in (1..secrets.r) limit: secrets.l offset: secrets.o %}{% endfor %}", {"r", "l", "o"}),
        ("{% cycle secrets.c %}{% echo secrets.e %}{% liquid\n echo secrets.i %}", {"c", "e", "i"}),
        ("{% assign s = 1 | plus: secrets.p %}{% capture x %}{{ secrets.x }}{% endcapture %}", {"p", "x"}),
        ("{{ user[secrets.key] }}{{ user.y | default: 'a', allow_false: secrets.f }}", {"key", "f"}),
        ("{{ secrets[user.id] }}", {"*"}),
        ("{% assign s = secrets %}{{ s.token }}", {"*"}),
        ("{% for s in secrets %}{{ s }}{% endfor %}", {"*"}),
        ("{{ secrets | json }}{{ secrets.a }}", {"*", "a"}),
        ("{% comment %}{{ secrets.a }}{% endcomment %}{% raw %}{{ secrets.b }}{% endraw %}", set()),
    ],
)
def test_every_way_to_read_a_secret_is_found(text: str, names: set[str]) -> None:
    assert uses_secrets(compile_template(text, escape="json")) == names


@pytest.mark.parametrize(
    "text",
    [
        "{% assign secrets = 1 %}",
        "{% capture event %}{% endcapture %}",
        "{% for user in (1..2) %}{% endfor %}",
        "{% increment now %}",
        "{{ [user.name].token }}",
    ],
)
def test_nothing_can_shadow_a_variable_of_the_caller_or_choose_it_by_data(text: str) -> None:
    with pytest.raises(TemplateSyntaxInvalid):
        compile_template(text, escape="json")


def test_variables_lists_what_is_read_from_outside_as_written() -> None:
    text = (
        "{% assign t = event.data.total %}{% for i in event.data.items %}{{ i.n }}{{ t }}{% endfor %}"
        "{{ user['first name'] }}{{ event.data.items[0].n }}{{ connector.account | default: source.id }}"
    )
    assert variables(compile_template(text, escape="json")) == {
        "event.data.total",
        "event.data.items",
        "user['first name']",
        "event.data.items[0].n",
        "connector.account",
        "source.id",
    }


def test_masked_secrets_render_the_same_text_around_them() -> None:
    template = compile_template('{"auth": "{{ secrets.token }}", "n": {{ event.data.total }}}', escape="json")
    assert template.render(FACTS) == '{"auth": "hunter2", "n": 0}'
    assert template.render({**FACTS, "secrets": {"token": "•••"}}) == '{"auth": "•••", "n": 0}'
