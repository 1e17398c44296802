"""Syntax errors carry message, line and column, both counted from 1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn.errors import Invalid
from posthorn.templating import TemplateRenderFailed, TemplateSyntaxInvalid, compile_template


@pytest.mark.parametrize(
    ("text", "line", "column", "part"),
    [
        ("a\n {{ user.x", 2, 2, "never closed"),
        ("{% if user.x", 1, 1, "never closed"),
        ("{\n{% if user.x %}\n", 2, 1, "'if' is never closed: 'endif' is missing"),
        ("{% endif %}", 1, 1, "no block is open"),
        ("{% for a in b %}\n{% if c %}{% endfor %}", 2, 11, "'if' of line 2 is still open"),
        ("{% raw %}{{ x }}", 1, 1, "'raw' is never closed"),
        ("{% comment %}{% raw %}{% endcomment %}", 1, 14, "'raw' is never closed"),
        ("{{ a | }}", 1, 1, "expected word"),
        ("ab {{ a b }}", 1, 9, "expected end of expression"),
        ("{{}}", 1, 1, "expected a primitive expression"),
        ("\n\n{{ x | nofilter }}", 3, 8, "unknown filter 'nofilter'"),
        ("{{ x | truncate: 1, 2, 3 }}", 1, 8, "the filter 'truncate': too many positional arguments"),
        ("{{ x | replace }}", 1, 8, "the filter 'replace': missing a required argument"),
        ("{{ x | default: 1, nope: 2 }}", 1, 8, "the filter 'default'"),
        ("{% if x = 1 %}{% endif %}", 1, 9, ""),
        ("{% if a %}{% else if b %}{% endif %}", 1, 19, "did you mean 'elsif'?"),
        ("{% unless a %}{% else %}{% else %}{% endunless %}", 1, 28, ""),
        ("{% break %}", 1, 4, "outside of a loop"),
        ("{% if true %}{% continue %}{% endif %}", 1, 17, "outside of a loop"),
        ("{% nonsense %}", 1, 4, "unexpected tag 'nonsense'"),
    ],
)
def test_a_syntax_error_names_its_place(text: str, line: int, column: int, part: str) -> None:
    with pytest.raises(TemplateSyntaxInvalid) as invalid:
        compile_template(text, escape="json")
    assert (invalid.value.line, invalid.value.column) == (line, column)
    assert part in invalid.value.message
    assert str(invalid.value) == f"line {line}, column {column}: {invalid.value.message}"


def test_a_syntax_error_is_an_invalid_with_a_problem_that_can_be_placed() -> None:
    with pytest.raises(Invalid) as invalid:
        compile_template("{{", escape="json")
    assert [problem.type for problem in invalid.value.problems] == ["template_syntax"]
    assert isinstance(invalid.value, TemplateSyntaxInvalid)
    placed = invalid.value.problem_at("body", "steps", 0, "url")
    assert placed.loc == ("body", "steps", 0, "url")
    assert placed.msg == str(invalid.value)


@pytest.mark.parametrize(
    "tag", ["include 'x'", "render 'x'", "extends 'x'", "tablerow x in y", "ifchanged", "layout 'x'", "with a: 1"]
)
def test_tags_that_load_or_print_unescaped_do_not_exist(tag: str) -> None:
    with pytest.raises(TemplateSyntaxInvalid, match="unexpected tag"):
        compile_template(f"{{% {tag} %}}", escape="json")


@pytest.mark.parametrize("name", ["safe", "escapejs"])
def test_filters_of_html_escaping_do_not_exist(name: str) -> None:
    with pytest.raises(TemplateSyntaxInvalid, match="unknown filter"):
        compile_template(f"{{{{ user.x | {name} }}}}", escape="json")


def test_raw_and_comments_are_left_alone() -> None:
    text = "{% raw %}{{ x }}{% endraw %}{% comment %}{{ y }}{% if %}{% endcomment %}{% # note %}"
    assert compile_template(text, escape="none").render({}) == "{{ x }}"


def test_a_template_is_parsed_once() -> None:
    assert compile_template("{{ user.x }}", escape="url") is compile_template("{{ user.x }}", escape="url")
    assert compile_template("{{ user.x }}", escape="url") is not compile_template("{{ user.x }}", escape="none")


FRAGMENTS = [
    *("{{", "}}", "{%", "%}", "-", "if", "endif", "raw", "endraw", "comment", "endcomment", "for", "endfor", "liquid"),
    *("|", "'", '"', "[", "]", "(", "..", ")", ":", ",", "\\", "user", ".x", "1", "i", "in", " ", "\n"),
]


@given(pieces=st.lists(st.sampled_from(FRAGMENTS), max_size=24))
def test_any_text_renders_or_fails_with_a_place(pieces: list[str]) -> None:
    text = "".join(pieces)
    failed: TemplateSyntaxInvalid | TemplateRenderFailed | None = None
    try:
        compile_template(text, escape="json").render({"user": {"x": 1}})
    except (TemplateSyntaxInvalid, TemplateRenderFailed) as caught:
        failed = caught
    if failed:
        lines = text.split("\n")
        assert 1 <= failed.line <= len(lines)
        assert 1 <= failed.column <= len(lines[failed.line - 1]) + 1
