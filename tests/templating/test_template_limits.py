"""A template is bounded in output, memory and work, whatever it says. Work is counted, so no test is timed."""

import pytest

from posthorn.templating import Limits, TemplateRenderFailed, TemplateSyntaxInvalid, compile_template

BIG = {"event": {"list": list(range(5_000)), "text": "x" * 100_000, "rows": [{"n": i} for i in range(3_000)]}}


def fails(text: str, limits: Limits | None = None) -> str:
    template = compile_template(text, escape="none", **({"limits": limits} if limits else {}))
    with pytest.raises(TemplateRenderFailed) as failed:
        template.render(BIG)
    assert failed.value.line >= 1
    assert failed.value.column >= 1
    return failed.value.message


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in (1..1000000000) %}x{% endfor %}",
        "{% for i in (1..1000000000) reversed %}x{% endfor %}",
        "{% for i in (1..1000000000) offset: 999999990 %}x{% endfor %}",
        "{% for i in (1..99999999999999999999999999) limit: 1 %}x{% endfor %}",
        "{{ (1..1000000000) | join: ',' }}",
        "{{ (1..1000000000) | size }}",
        "{% assign r = (1..1000000000) %}",
        "{{ 'a' | append: (1..1000000000) }}",
        "{% if (1..1000000000) contains 7 %}{% endif %}",
        "{% case 1 %}{% when (1..1000000000) %}{% endcase %}",
        "{% cycle (1..1000000000) %}",
    ],
)
def test_a_wide_range_is_refused_wherever_it_stands(text: str) -> None:
    assert fails(text) == "the range is too long"


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in (1..9000) %}{% for j in (1..9000) %}{% endfor %}{% endfor %}",
        "{% for i in event.list %}{% for j in event.list %}x{% endfor %}{% endfor %}",
        "{% for i in (1..9000) %}{% if event.text contains 'y' %}{% endif %}{% endfor %}",
        "{% for i in (1..9000) %}{% if event.rows == event.rows %}{% endif %}{% endfor %}",
        "{% for i in (1..9000) %}{% assign s = (1..9000) | sum %}{% endfor %}",
        "{% for i in (1..9000) %}{% assign s = event.list | sort %}{% endfor %}",
        "{% for i in (1..9000) %}{% capture c %}{{ event.text }}{% endcapture %}{% endfor %}",
        "{% for i in (1..9000) %}{% capture c %}" + "x" * 2_000 + "{% endcapture %}{% endfor %}",
        "{% assign a = event.list %}{% for i in (1..100) %}{% assign a = a | concat: a %}{% endfor %}",
        "{% assign s = 'ab' %}{% for i in (1..100) %}{% assign s = s | append: s | slice: 0, 999999 %}{% endfor %}",
        "{% assign c = event.list | join: '<b>' %}{% for i in (1..50) %}{% assign s = c | strip_html %}{% endfor %}",
        "{% case 1 %}{% when 1,1,1,1,1,1,1,1,1,1 %}" * 20 + "x" + "{% endcase %}" * 20,
    ],
)
def test_multiplied_work_runs_into_the_step_limit(text: str) -> None:
    assert fails(text).endswith("step limit reached: the template does too much work")


@pytest.mark.parametrize(
    "text",
    [
        "{{ event.text | replace: 'x', event.text }}",
        "{{ event.text | replace: '', event.text }}",
        "{{ event.rows | join: event.text }}",
    ],
)
def test_a_filter_that_would_build_a_huge_text_is_refused_before_it_does(text: str) -> None:
    assert "text limit reached" in fails(text)


def test_a_text_that_doubles_runs_into_the_text_limit() -> None:
    doubled = "{% assign s = 'ab' %}{% for i in (1..100) %}{% assign s = s | append: s %}{% endfor %}"
    assert fails(doubled) == "the filter 'append': text limit reached"


@pytest.mark.parametrize(
    "text",
    [
        "{% assign x = 10 %}{% for i in (1..5000) %}{% assign x = x | times: x %}{% endfor %}{{ x }}",
        "{{ '" + "9" * 4_000 + "' | plus: 1 }}",
        "{{ '1e308' | times: 10 }}",
        "{{ 'nan' | plus: 1 }}",
        "{{ 'inf' | floor }}",
        "{{ 1.0 | divided_by: 0 }}",
    ],
)
def test_a_number_stays_small_and_finite(text: str) -> None:
    assert "the filter" in fails(text)


def test_the_output_limit_counts_bytes() -> None:
    exact = Limits(output_bytes=6)
    assert compile_template("{{ 'яя' }}ab", escape="none", limits=exact).render({}) == "яяab"
    assert fails("{{ 'яя' }}abc", exact) == "output limit reached"


def test_the_default_output_limit_is_two_mebibytes() -> None:
    assert fails("{% for i in (1..22) %}{{ event.text }}{% endfor %}") == "output limit reached"


def test_a_limit_failure_names_the_place() -> None:
    template = compile_template("ab\n  {{ event.text }}", escape="none", limits=Limits(output_bytes=50))
    with pytest.raises(TemplateRenderFailed) as failed:
        template.render(BIG)
    assert (failed.value.line, failed.value.column) == (2, 6)


def test_text_of_the_template_over_the_limit_is_placed_at_its_outermost_tag() -> None:
    template = compile_template("ab\n{% if true %}\n  cdefgh{% endif %}", escape="none", limits=Limits(output_bytes=5))
    with pytest.raises(TemplateRenderFailed, match="output limit reached") as failed:
        template.render(BIG)
    assert (failed.value.line, failed.value.column) == (2, 4)


def test_an_ordinary_loop_over_a_thousand_items_is_within_the_limits() -> None:
    rows = "{% for r in event.rows limit: 1000 %}{{ r.n | plus: 1 }},{% endfor %}"
    assert compile_template(rows, escape="none").render(BIG).endswith(",1000,")


def test_a_deeply_nested_value_is_a_failure_and_not_a_crash() -> None:
    nested: object = 1
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(TemplateRenderFailed):
        compile_template("{{ event }}", escape="json").render({"event": nested})


@pytest.mark.parametrize(
    "text",
    [
        "{{ a" + "[a" * 500 + "]" * 500 + " }}",
        "{% if " + "1 > 2 or " * 300 + "true %}{% endif %}",
        "{% if true %}" * 200 + "{% endif %}" * 200,
        "x" * 65_537,
        "{{ '" + "x" * 5_000 + "' }}",
    ],
)
def test_a_template_that_is_too_deep_or_too_long_does_not_compile(text: str) -> None:
    with pytest.raises(TemplateSyntaxInvalid):
        compile_template(text, escape="json")
